//! The JSON shapes of the token API.

use serde::{Deserialize, Serialize};

use crate::json::Object;
use crate::policy::{AgentId, Permission, PolicyEntry};
use crate::token::{KeyRing, Record, TokenText};

/// What `POST` takes. Unknown and repeated keys are errors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    pub(super) policy: Vec<Object<EntryBody>>,
    pub(super) hostname: String,
    /// JS SDK 0.x takes `expiresAt` from its caller.
    #[serde(default, alias = "expiresAt")]
    pub(super) expires_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryBody {
    pub(super) r#type: String,
    pub(super) id: String,
    pub(super) access: Vec<String>,
}

/// A token as `POST` and `GET` return it.
#[derive(Serialize)]
pub(super) struct TokenBody {
    token: String,
    hostname: String,
    #[serde(rename = "expiresAt")]
    expires_at: String,
    policy: PolicyBody,
}

#[derive(Serialize)]
struct PolicyBody {
    version: &'static str,
    data: Vec<EntryReply>,
}

#[derive(Serialize)]
struct EntryReply {
    r#type: &'static str,
    id: String,
    access: Vec<Permission>,
}

/// What `GET` returns.
#[derive(Serialize)]
pub(super) struct ListBody {
    pub(super) tokens: Vec<TokenBody>,
    #[serde(rename = "hasNextPage")]
    pub(super) has_next_page: bool,
}

impl TokenBody {
    /// The token of a record. `None` when the ring does not hold its key any more.
    pub(super) fn of(record: &Record, keys: &KeyRing) -> Option<Self> {
        let expires_at = record.grant.expires_at;
        let text: TokenText = keys.render(record.key_id, record.id, expires_at)?;
        Some(Self {
            token: text.expose().to_owned(),
            hostname: record.hostname.to_string(),
            expires_at: format!("{expires_at:.3}"),
            policy: PolicyBody {
                version: "1",
                data: record.grant.entries.iter().map(EntryReply::of).collect(),
            },
        })
    }
}

impl EntryReply {
    fn of(entry: &PolicyEntry) -> Self {
        let id: AgentId = entry.agent;
        Self { r#type: "agent", id: id.to_string(), access: entry.access.iter().collect() }
    }
}
