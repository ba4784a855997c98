//! A record as a row of the server.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::fault::Fault;
use crate::store::stored::Stored;
use crate::token::{Record, TokenId};

/// The record in a row of the record's columns.
pub(super) fn record(row: &Row) -> Result<Record, Fault> {
    let id = id(row, 0)?;
    stored(row)
        .and_then(|stored| stored.record(id))
        .map_err(|problem| Fault::Unreadable { id, problem })
}

/// The id in a column.
pub(super) fn id(row: &Row, at: usize) -> Result<TokenId, Fault> {
    let bytes: &[u8] = row.try_get(at)?;
    let bytes = bytes.try_into().map_err(|_| Fault::Damaged("an id is not an id"))?;
    Ok(TokenId::from_bytes(bytes))
}

fn stored(row: &Row) -> Result<Stored, &'static str> {
    let key_id: i16 = column(row, 1, "its key id is not a key id")?;
    Ok(Stored {
        key_id: u8::try_from(key_id).map_err(|_| "its key id is not a key id")?,
        account: column(row, 2, "its account is not text")?,
        created_at: column(row, 3, "its creation time is not a time")?,
        expires_at: column(row, 4, "its expiry is not a time")?,
        hostname: column(row, 5, "its hostname is not text")?,
        bound: column(row, 6, "its bound host is not text")?,
        policy: column(row, 7, "its policy is not text")?,
        limits: column(row, 8, "its limits are not text")?,
    })
}

fn column<'r, T: FromSql<'r>>(
    row: &'r Row,
    at: usize,
    problem: &'static str,
) -> Result<T, &'static str> {
    row.try_get(at).map_err(|_| problem)
}
