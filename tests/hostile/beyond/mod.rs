//! Cases that stand in no catalogue, found by trying: other spellings, places and shapes of the same
//! classes of attacks.

mod answers;
mod bodies;
mod hosts;
mod requests;
mod token_api;
