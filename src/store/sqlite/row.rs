//! A record as a row: the only place that knows both forms.
//!
//! Must always hold: a row that is not exactly what [`policy_text`] and its neighbours write is
//! reported as unreadable, never guessed at.

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::FromSql;
use serde::{Deserialize, Serialize};

use crate::policy::{AgentId, BoundHost, Grant, Permission, PolicyEntry};
use crate::store::StoreError;
use crate::token::{AccountName, Record, TokenId};

/// The columns that [`record`] reads, in its order.
macro_rules! record_columns {
    () => {
        "id, key_id, account, created_at, expires_at, hostname, bound, policy"
    };
}
pub(super) use record_columns;

/// One entry of the policy column.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    agent: String,
    access: Vec<Permission>,
}

/// The policy column: JSON that a reviewer can read.
pub(super) fn policy_text(entries: &[PolicyEntry]) -> Result<String, rusqlite::Error> {
    let texts: Vec<EntryText> = entries
        .iter()
        .map(|entry| EntryText {
            agent: entry.agent.to_string(),
            access: entry.access.iter().collect(),
        })
        .collect();
    serde_json::to_string(&texts)
        .map_err(|problem| rusqlite::Error::ToSqlConversionFailure(Box::new(problem)))
}

/// The entries of a policy column.
pub(super) fn policy_entries(text: &str) -> Result<Vec<PolicyEntry>, &'static str> {
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

/// The bytes by which an agent is looked up.
pub(super) fn agent_key(agent: AgentId) -> [u8; 16] {
    agent.as_u128().to_be_bytes()
}

/// The record in a row of [`record_columns`].
pub(super) fn record(row: &Row<'_>) -> Result<Record, StoreError> {
    let id = TokenId::from_bytes(row.get(0)?);
    fields(row, id).map_err(|problem| StoreError::Unreadable { id, problem })
}

fn fields(row: &Row<'_>, id: TokenId) -> Result<Record, &'static str> {
    let bound_text: String = column(row, 6, "its bound host is not text")?;
    let policy: String = column(row, 7, "its policy is not text")?;
    let hostname: String = column(row, 5, "its hostname is not text")?;
    let account: String = column(row, 2, "its account is not text")?;

    let bound = BoundHost::parse(&bound_text).map_err(|_| "its bound host is not a host")?;
    if bound.serialised() != bound_text {
        return Err("its bound host is not in normal form");
    }
    Ok(Record {
        id,
        key_id: column(row, 1, "its key id is not a key id")?,
        account: AccountName::parse(&account).map_err(|_| "its account is not an account name")?,
        created_at: time(row, 3, "its creation time is not a time")?,
        hostname: hostname.into(),
        grant: Grant {
            host: bound,
            expires_at: time(row, 4, "its expiry is not a time")?,
            entries: policy_entries(&policy)?,
        },
    })
}

fn column<T: FromSql>(row: &Row<'_>, at: usize, problem: &'static str) -> Result<T, &'static str> {
    row.get(at).map_err(|_| problem)
}

fn time(row: &Row<'_>, at: usize, problem: &'static str) -> Result<Timestamp, &'static str> {
    let milliseconds: i64 = column(row, at, problem)?;
    // Not `from_millisecond`: it refuses the last 999 of the milliseconds that a timestamp can hold.
    let nanoseconds = i32::try_from(milliseconds.rem_euclid(1000) * 1_000_000);
    Timestamp::new(milliseconds.div_euclid(1000), nanoseconds.unwrap_or(0)).map_err(|_| problem)
}
