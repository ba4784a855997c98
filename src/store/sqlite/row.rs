//! A record as a row of the file.

use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::store::StoreError;
use crate::store::stored::Stored;
use crate::token::{Record, TokenId};

/// The columns that [`record`] reads, in its order.
macro_rules! record_columns {
    () => {
        "id, key_id, account, created_at, expires_at, hostname, bound, policy, limits"
    };
}
pub(super) use record_columns;

/// The record in a row of [`record_columns`].
pub(super) fn record(row: &Row<'_>) -> Result<Record, StoreError> {
    let id = TokenId::from_bytes(row.get(0)?);
    stored(row)
        .and_then(|stored| stored.record(id))
        .map_err(|problem| StoreError::Unreadable { id, problem })
}

fn stored(row: &Row<'_>) -> Result<Stored, &'static str> {
    Ok(Stored {
        key_id: column(row, 1, "its key id is not a key id")?,
        account: column(row, 2, "its account is not text")?,
        created_at: column(row, 3, "its creation time is not a time")?,
        expires_at: column(row, 4, "its expiry is not a time")?,
        hostname: column(row, 5, "its hostname is not text")?,
        bound: column(row, 6, "its bound host is not text")?,
        policy: column(row, 7, "its policy is not text")?,
        limits: column(row, 8, "its limits are not text")?,
    })
}

fn column<T: FromSql>(row: &Row<'_>, at: usize, problem: &'static str) -> Result<T, &'static str> {
    row.get(at).map_err(|_| problem)
}
