//! A record in the form that every engine keeps.
//!
//! Must always hold: what is not exactly what [`policy_text`] and its neighbours write is reported as
//! unreadable, never guessed at.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::policy::{AgentId, BoundHost, Grant, Permission, PolicyEntries, PolicyEntry};
use crate::token::{AccountName, Record, TokenId, TokenLimits};

/// The columns of a record, as an engine read them.
pub(super) struct Stored {
    pub(super) key_id: u8,
    pub(super) account: String,
    /// Milliseconds since the epoch, as the other times.
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
    pub(super) hostname: String,
    pub(super) bound: String,
    pub(super) policy: String,
    pub(super) limits: Option<String>,
}

impl Stored {
    /// The record of the token `id`, or what is wrong with it.
    pub(super) fn record(self, id: TokenId) -> Result<Record, &'static str> {
        let bound = BoundHost::parse(&self.bound).map_err(|_| "its bound host is not a host")?;
        if bound.serialised() != self.bound {
            return Err("its bound host is not in normal form");
        }
        Ok(Record {
            id,
            key_id: self.key_id,
            account: AccountName::parse(&self.account)
                .map_err(|_| "its account is not an account name")?,
            created_at: time(self.created_at).ok_or("its creation time is not a time")?,
            hostname: self.hostname.into(),
            grant: Grant {
                host: bound,
                expires_at: time(self.expires_at).ok_or("its expiry is not a time")?,
                entries: policy_entries(&self.policy)?,
            },
            limits: limits(self.limits.as_deref())?,
        })
    }
}

/// One entry of the policy column.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    agent: String,
    access: Vec<Permission>,
}

/// The policy column: JSON that a reviewer can read.
pub(super) fn policy_text(entries: &[PolicyEntry]) -> serde_json::Result<String> {
    let texts: Vec<EntryText> = entries
        .iter()
        .map(|entry| EntryText {
            agent: entry.agent.to_string(),
            access: entry.access.iter().collect(),
        })
        .collect();
    serde_json::to_string(&texts)
}

/// The entries of a policy column.
pub(super) fn policy_entries(text: &str) -> Result<PolicyEntries, &'static str> {
    let texts: Vec<EntryText> =
        serde_json::from_str(text).map_err(|_| "its policy is not what this version writes")?;
    if texts.is_empty() {
        return Err("its policy is empty");
    }
    let entry = |text: EntryText| {
        let agent = AgentId::parse(&text.agent).map_err(|_| "its policy names no valid agent")?;
        if text.access.is_empty() {
            return Err("its policy has an entry that permits nothing");
        }
        Ok(PolicyEntry { agent, access: text.access.into_iter().collect() })
    };
    texts.into_iter().map(entry).collect()
}

/// The limits column: nothing where the token has none of its own, else JSON.
pub(super) fn limits_text(limits: TokenLimits) -> serde_json::Result<Option<String>> {
    (limits != TokenLimits::NONE).then(|| serde_json::to_string(&limits)).transpose()
}

fn limits(text: Option<&str>) -> Result<TokenLimits, &'static str> {
    let Some(text) = text else { return Ok(TokenLimits::NONE) };
    let limits: TokenLimits =
        serde_json::from_str(text).map_err(|_| "its limits are not what this version writes")?;
    if limits.is_usable() { Ok(limits) } else { Err("its limits leave nothing to be done") }
}

/// The bytes by which an agent is looked up.
pub(super) fn agent_key(agent: AgentId) -> [u8; 16] {
    agent.as_u128().to_be_bytes()
}

fn time(milliseconds: i64) -> Option<Timestamp> {
    // Not `from_millisecond`: it refuses the last 999 of the milliseconds that a timestamp can hold.
    let nanoseconds = i32::try_from(milliseconds.rem_euclid(1000) * 1_000_000);
    Timestamp::new(milliseconds.div_euclid(1000), nanoseconds.unwrap_or(0)).ok()
}

/// What every id of a page is less than: a given one, or one byte more than any id has.
pub(super) fn upper_id(before: Option<TokenId>) -> Vec<u8> {
    before.map_or_else(|| vec![0xff; TokenId::LENGTH + 1], |id| id.as_bytes().to_vec())
}
