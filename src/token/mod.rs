//! The life of a client token: its text, its id, the keys that derive one from the other, and the
//! record the store keeps.
//!
//! Owns everything secret about a token. Leaves storage to `store`, and what a live record permits
//! to `policy`. Must always hold: token text is derived from an id and a key and is kept nowhere.

mod account;
mod id;
mod keys;
mod limits;
mod record;
mod secret;
mod text;

#[cfg(test)]
mod tests;

pub use account::{AccountName, InvalidAccountName};
pub use id::TokenId;
pub use keys::{KeyRing, KeyRingError, MASTER_KEY_BYTES, MasterKey, MasterKeyError};
pub use limits::TokenLimits;
pub use record::Record;
pub use secret::Secret;
pub use text::{PREFIX, TEXT_LENGTH, TextRefusal, TokenBytes, TokenDigits, TokenText, Verified};
