//! What is counted of each token.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use crate::policy::Permission;
use crate::store::{SWEEP_LIMIT_MAX, StoreError, Usage};
use crate::token::TokenId;

/// Adds to what is counted of tokens that exist.
pub(super) fn add(connection: &Connection, usage: &[Usage]) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(ADD)?;
    for one in usage {
        add.execute(params![
            one.id.as_bytes(),
            one.permission.index(),
            i64::try_from(one.requests).unwrap_or(i64::MAX),
            one.last_used_at.as_millisecond(),
        ])?;
    }
    Ok(())
}

/// What is counted of these tokens.
pub(super) fn of(connection: &Connection, ids: &[TokenId]) -> Result<Vec<Usage>, StoreError> {
    let mut statement = connection.prepare_cached(OF)?;
    let mut found = Vec::new();
    for id in ids {
        let mut rows = statement.query(params![id.as_bytes()])?;
        while let Some(row) = rows.next()? {
            found.push(counted(row, *id)?);
        }
    }
    Ok(found)
}

/// Forgets what is counted of a token.
pub(super) fn forget(connection: &Connection, id: &[u8; TokenId::LENGTH]) -> rusqlite::Result<()> {
    connection.prepare_cached(FORGET)?.execute(params![id]).map(drop)
}

/// Forgets what is counted of tokens that have expired.
pub(super) fn sweep(connection: &Connection, expired_before: i64) -> rusqlite::Result<()> {
    connection.prepare_cached(SWEEP)?.execute(params![expired_before, SWEEP_LIMIT_MAX]).map(drop)
}

fn counted(row: &Row<'_>, id: TokenId) -> Result<Usage, StoreError> {
    let permission: u8 = row.get(0)?;
    let permission = Permission::ALL.get(usize::from(permission)).ok_or(Fault::DamagedUsage)?;
    let requests: i64 = row.get(1)?;
    let last_used_at = Timestamp::from_millisecond(row.get(2)?).map_err(|_| Fault::DamagedUsage)?;
    Ok(Usage {
        id,
        permission: *permission,
        requests: u64::try_from(requests).unwrap_or(0),
        last_used_at,
    })
}

const ADD: &str = "INSERT INTO token_usage (id, permission, requests, last_used_at, expires_at)
         SELECT id, ?2, ?3, ?4, expires_at FROM tokens WHERE id = ?1
         ON CONFLICT (id, permission) DO UPDATE SET
             requests = requests + excluded.requests,
             last_used_at = max(last_used_at, excluded.last_used_at)";

const OF: &str = "SELECT permission, requests, last_used_at FROM token_usage WHERE id = ?1";

const FORGET: &str = "DELETE FROM token_usage WHERE id = ?1";

const SWEEP: &str = "DELETE FROM token_usage WHERE (id, permission) IN
         (SELECT id, permission FROM token_usage WHERE expires_at <= ?1
          ORDER BY expires_at LIMIT ?2)";
