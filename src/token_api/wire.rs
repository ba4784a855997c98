//! The JSON shapes of the token API.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::Object;
use crate::policy::{AgentId, Permission, PolicyEntry};
use crate::store::Usage;
use crate::token::{KeyRing, Record, TokenLimits, TokenText};

/// What `POST` takes. Unknown and repeated keys are errors.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// 1 to 100 entries.
    #[schemars(with = "Vec<EntryBody>", length(min = 1, max = 100))]
    pub(super) policy: Vec<Object<EntryBody>>,
    /// An origin such as `https://chat.example.com`, or a host.
    #[schemars(length(min = 1, max = 512))]
    pub(super) hostname: String,
    /// ISO 8601; five minutes from now unless given.
    // JS SDK 0.x takes `expiresAt` from its caller.
    #[serde(default, alias = "expiresAt")]
    pub(super) expires_at: Option<String>,
    /// Of ours: SDKs pass it on as an extra field.
    #[serde(default)]
    #[schemars(with = "Option<TokenLimits>")]
    pub(super) limits: Option<Object<TokenLimits>>,
}

/// One line of a token's policy.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryBody {
    /// Always `agent`.
    #[schemars(extend("const" = "agent"))]
    pub(super) r#type: String,
    /// The agent's id.
    #[schemars(regex(
        pattern = r"^agent-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
    ))]
    pub(super) id: String,
    /// What is permitted with it.
    #[schemars(with = "Vec<Permission>", length(min = 1))]
    pub(super) access: Vec<String>,
}

/// A token as `POST` and `GET` return it.
#[derive(Serialize, JsonSchema)]
pub struct TokenBody {
    token: String,
    hostname: String,
    #[serde(rename = "expiresAt")]
    expires_at: String,
    policy: PolicyBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<TokenLimits>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<BTreeMap<Permission, UsageBody>>,
}

/// What is counted of one permission of a token.
#[derive(Serialize, JsonSchema)]
struct UsageBody {
    requests: u64,
    last_used_at: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct PolicyBody {
    version: &'static str,
    data: Vec<EntryReply>,
}

#[derive(Serialize, JsonSchema)]
struct EntryReply {
    r#type: &'static str,
    id: String,
    access: Vec<Permission>,
}

/// What `GET` returns.
#[derive(Serialize, JsonSchema)]
pub struct ListBody {
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
            limits: (record.limits != TokenLimits::NONE).then_some(record.limits),
            usage: None,
        })
    }

    /// The same, with what is counted of each permission that the token has.
    pub(super) fn with_usage(mut self, record: &Record, counted: &[Usage]) -> Self {
        let unused = || UsageBody { requests: 0, last_used_at: None };
        let granted = record.grant.entries.iter().flat_map(|entry| entry.access.iter());
        let mut usage: BTreeMap<_, _> = granted.map(|access| (access, unused())).collect();
        for one in counted.iter().filter(|one| one.id == record.id) {
            let last_used_at = Some(format!("{:.3}", one.last_used_at));
            usage.insert(one.permission, UsageBody { requests: one.requests, last_used_at });
        }
        self.usage = Some(usage);
        self
    }
}

impl EntryReply {
    fn of(entry: &PolicyEntry) -> Self {
        let id: AgentId = entry.agent;
        Self { r#type: "agent", id: id.to_string(), access: entry.access.iter().collect() }
    }
}
