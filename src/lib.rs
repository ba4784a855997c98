//! ckgate: client-side access tokens for any self-hosted Letta agents API.
pub mod policy;
pub mod store;
pub mod token;
