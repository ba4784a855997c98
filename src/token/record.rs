use std::sync::Arc;

use jiff::Timestamp;

use super::{AccountName, TokenId, TokenLimits};
use crate::policy::Grant;

/// What the store keeps of a token. Immutable: it is created once, then deleted or expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Names the token.
    pub id: TokenId,
    /// The key its text was derived with.
    pub key_id: u8,
    /// Who owns it.
    pub account: AccountName,
    /// When it was made, to the millisecond.
    pub created_at: Timestamp,
    /// The hostname exactly as the caller sent it, for the answers of the token API.
    pub hostname: Arc<str>,
    /// What it permits, where from, and until when.
    pub grant: Grant,
    /// How much may be asked with it.
    pub limits: TokenLimits,
}
