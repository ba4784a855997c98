//! The JSON shapes of the console's API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::activity::Second;
use crate::policy::Permission;

/// The admin credential, exchanged for a session.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// The admin credential.
    pub(super) credential: String,
}

/// The state of the gate.
#[derive(Serialize, JsonSchema)]
pub struct Overview {
    /// The gate's version.
    pub(super) version: &'static str,
    /// The gate's time, ISO 8601.
    pub(super) now: String,
    /// Seconds since the console began.
    pub(super) up_seconds: u64,
    /// Whether the gate takes requests.
    pub(super) ready: bool,
    /// Whether the feed of deletions was read recently enough to trust what is cached.
    pub(super) feed_fresh: bool,
    /// How long ago the feed was last read, in milliseconds; null before the first time.
    pub(super) feed_age_ms: Option<u64>,
    /// Client connections open.
    pub(super) connections: i64,
    /// Calls to the store that failed, since the start.
    pub(super) store_failures: u64,
    /// Reads of the feed that failed, since the start.
    pub(super) feed_failures: u64,
    /// Tokens made, since the start.
    pub(super) tokens_created: u64,
    /// Tokens deleted, since the start.
    pub(super) tokens_deleted: u64,
    /// The accounts there are.
    pub(super) accounts: Vec<String>,
    /// The streams open now, by token.
    pub(super) streams: Vec<OpenStream>,
    /// The last two minutes, oldest first; seconds without a request are not listed.
    pub(super) seconds: Vec<Second>,
}

/// The open streams of one token.
#[derive(Serialize, JsonSchema)]
pub struct OpenStream {
    /// The token's id.
    pub(super) token: String,
    /// How many are open.
    pub(super) open: usize,
}

/// A live token, without its text.
#[derive(Serialize, JsonSchema)]
pub struct TokenRow {
    /// Its id.
    pub(super) id: String,
    /// Whose it is.
    pub(super) account: String,
    /// What it is bound to, as it was given.
    pub(super) hostname: String,
    /// When it was made, ISO 8601.
    pub(super) created_at: String,
    /// When it expires, ISO 8601.
    pub(super) expires_at: String,
    /// What it permits.
    pub(super) policy: Vec<PolicyRow>,
    /// When it was last used, on any gate, but for the last seconds; null if never.
    pub(super) last_used_at: Option<String>,
    /// How each permission it has was used.
    pub(super) usage: Vec<PermissionUse>,
    /// Streams open with it.
    pub(super) streams: usize,
}

/// How a permission of a token was used, on any gate, but for the last seconds.
#[derive(Serialize, JsonSchema)]
pub struct PermissionUse {
    /// The permission.
    pub(super) permission: Permission,
    /// How many requests needed it; 0: it was never used.
    pub(super) requests: u64,
    /// When the last one came, ISO 8601.
    pub(super) last_used_at: Option<String>,
}

/// What a token permits with one agent.
#[derive(Serialize, JsonSchema)]
pub struct PolicyRow {
    /// The agent.
    pub(super) agent: String,
    /// What is permitted with it.
    pub(super) access: Vec<Permission>,
}

/// A page of tokens.
#[derive(Serialize, JsonSchema)]
pub struct TokenPage {
    /// Newest first.
    pub(super) tokens: Vec<TokenRow>,
    /// How many tokens were looked at for this page.
    pub(super) looked_at: usize,
    /// `before` of the next page; null if there is none. A page may be short, or empty, before the last.
    pub(super) next: Option<String>,
}

/// What a new token needs: the account, and what the token API takes.
#[derive(Deserialize, JsonSchema)]
pub struct NewToken {
    /// The account it will belong to.
    pub(super) account: String,
    /// The body of the token API's `POST`.
    #[schemars(with = "crate::token_api::CreateBody")]
    pub(super) token: Box<serde_json::value::RawValue>,
}
