//! Reading a whole store: in small pieces, to move it elsewhere, and in sums.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::open::{self, OpenError, Opened};
use super::row::{record, record_columns};
use super::{SqliteSettings, usage};
use crate::store::{KeyUse, MovedDeletion, StoreError, Usage};
use crate::token::{AccountName, Record, TokenId};

/// A store that is read from its beginning to its end. A gate may go on writing to it meanwhile.
pub struct SqliteExport {
    connection: Connection,
    /// Keeps the file open as a store does.
    _opened: Opened,
}

impl SqliteExport {
    /// Opens the store of these settings, migrating its file if need be.
    pub fn open(settings: &SqliteSettings) -> Result<Self, OpenError> {
        let mut opened = open::open(settings)?;
        // The settings name at least one reader.
        let connection = opened.readers.remove(0);
        Ok(Self { connection, _opened: opened })
    }

    /// How many records there are, and how many deletions.
    pub fn counts(&self) -> Result<(u64, u64), StoreError> {
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            self.connection.query_row(&sql, [], |row| row.get::<_, i64>(0))
        };
        let unsigned = |count: i64| u64::try_from(count).unwrap_or(0);
        Ok((unsigned(count("tokens")?), unsigned(count("deletions")?)))
    }

    /// The records after this id, in the order of ids.
    pub fn records(&self, after: Option<TokenId>, limit: u32) -> Result<Vec<Record>, StoreError> {
        let after = after.map_or([0; TokenId::LENGTH], |id| *id.as_bytes());
        let mut statement = self.connection.prepare_cached(RECORDS)?;
        let mut rows = statement.query(params![after, limit])?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            records.push(record(row)?);
        }
        Ok(records)
    }

    /// The deletions after the one of this number, each with its own.
    pub fn deletions(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, MovedDeletion)>, StoreError> {
        let mut statement = self.connection.prepare_cached(DELETIONS)?;
        let rows = statement.query_map(params![after, limit], |row| {
            let account: String = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, account, row.get(3)?, row.get(4)?))
        })?;
        let mut deletions = Vec::new();
        for row in rows {
            let (number, id, account, expires_at, deleted_at) = row?;
            let id = TokenId::from_bytes(id);
            let unreadable = |problem| StoreError::Unreadable { id, problem };
            let time = |milliseconds| Timestamp::from_millisecond(milliseconds).ok();
            deletions.push((
                number,
                MovedDeletion {
                    id,
                    account: AccountName::parse(&account)
                        .map_err(|_| unreadable("its account is not an account name"))?,
                    expires_at: time(expires_at).ok_or(unreadable("its expiry is not a time"))?,
                    deleted_at: time(deleted_at).ok_or(unreadable("its deletion is not a time"))?,
                },
            ));
        }
        Ok(deletions)
    }

    /// The keys that tokens were made under which live at `now`, in the order of their ids.
    pub fn key_uses(&self, now: Timestamp) -> Result<Vec<KeyUse>, StoreError> {
        let mut statement = self.connection.prepare_cached(KEY_USES)?;
        let mut rows = statement.query(params![now.as_millisecond()])?;
        let mut uses = Vec::new();
        while let Some(row) = rows.next()? {
            let last_expiry = Timestamp::from_millisecond(row.get(2)?);
            uses.push(KeyUse {
                key_id: row.get(0)?,
                live: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
                last_expiry: last_expiry.unwrap_or(Timestamp::MAX),
            });
        }
        Ok(uses)
    }

    /// What is counted of these tokens.
    pub fn usage(&self, ids: &[TokenId]) -> Result<Vec<Usage>, StoreError> {
        usage::of(&self.connection, ids)
    }
}

const RECORDS: &str =
    concat!("SELECT ", record_columns!(), " FROM tokens WHERE id > ?1 ORDER BY id LIMIT ?2");

const DELETIONS: &str = "SELECT sequence, id, account, expires_at, deleted_at FROM deletions
     WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";

const KEY_USES: &str = "SELECT key_id, count(*), max(expires_at) FROM tokens
     WHERE expires_at > ?1 GROUP BY key_id ORDER BY key_id";
