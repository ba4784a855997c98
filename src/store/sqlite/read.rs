//! The threads that read, each with a read-only connection. Every question is one statement, so no
//! snapshot is held between two of them and the log can always be folded.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, Statement, ToSql, params};

use super::fault::Fault;
use super::job::{BoundQuery, Read};
use super::open::OpenFile;
use super::row::{record, record_columns};
use super::usage;
use crate::store::stored::{agent_key, upper_id};
use crate::store::{FEED_PAGE_MAX, Feed, FeedCursor, ListPage, ListQuery, StoreError};
use crate::token::{Record, TokenId};

/// A reader's own.
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) file: Arc<OpenFile>,
}

impl Reader {
    /// Works until the queue has no sender left.
    pub(super) fn run(self, queue: &Mutex<Receiver<Read>>) {
        while let Some(read) = next(queue) {
            match read {
                Read::Get(job) => job.answer(|id| self.get(id)),
                Read::List(job) => job.answer(|query| self.list(&query)),
                Read::Deletions(job) => job.answer(|since| self.deletions(since)),
                Read::HostIsBound(job) => job.answer(|query| self.host_is_bound(&query)),
                Read::Usage(job) => job.answer(|ids| {
                    self.file.check()?;
                    usage::of(&self.connection, &ids)
                }),
            }
        }
    }

    fn get(&self, id: TokenId) -> Result<Option<Record>, StoreError> {
        self.file.check()?;
        let mut statement = self.connection.prepare_cached(GET)?;
        let mut rows = statement.query(params![id.as_bytes()])?;
        rows.next()?.map(record).transpose()
    }

    fn list(&self, query: &ListQuery) -> Result<ListPage, StoreError> {
        self.file.check()?;
        let account = query.account.as_str();
        let now = query.now.as_millisecond();
        let key_ids = serde_json::Value::from(query.key_ids.clone()).to_string();
        // One more than asked for shows whether another page follows.
        let limit = i64::from(query.limit).saturating_add(1);
        let offset = i64::try_from(query.offset).unwrap_or(i64::MAX);
        let before = upper_id(query.before);
        let mut records = match query.agent {
            None => records(
                &mut *self.connection.prepare_cached(LIST_ACCOUNT)?,
                params![account, now, key_ids, limit, offset, before],
            ),
            Some(agent) => records(
                &mut *self.connection.prepare_cached(LIST_AGENT)?,
                params![account, now, key_ids, limit, offset, before, agent_key(agent)],
            ),
        }?;
        let asked = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let has_next = records.len() > asked;
        records.truncate(asked);
        Ok(ListPage { records, has_next })
    }

    fn deletions(&self, since: Option<FeedCursor>) -> Result<Feed, StoreError> {
        self.file.check()?;
        let end: i64 = self.connection.prepare_cached(FEED_END)?.query_row([], |row| row.get(0))?;
        let end = FeedCursor::at(u64::try_from(end).unwrap_or(0));
        let Some(since) = since else {
            return Ok(Feed::Deletions { ids: Vec::new(), next: end, has_next: false });
        };
        // Numbers only grow, and only in the order of commits, because one writer at a time holds
        // the file. A cursor past the end is therefore from another history of it.
        if since > end {
            return Ok(Feed::Gap { next: end });
        }
        self.deletions_after(since)
    }

    fn deletions_after(&self, since: FeedCursor) -> Result<Feed, StoreError> {
        let mut statement = self.connection.prepare_cached(FEED_PAGE)?;
        let limit = i64::try_from(FEED_PAGE_MAX).unwrap_or(i64::MAX);
        let after = i64::try_from(since.position).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![after, limit.saturating_add(1)])?;
        let mut ids = Vec::new();
        let mut next = since;
        while let Some(row) = rows.next()? {
            if ids.len() == FEED_PAGE_MAX {
                return Ok(Feed::Deletions { ids, next, has_next: true });
            }
            let sequence: i64 = row.get(0)?;
            let id: [u8; TokenId::LENGTH] = row.get(1).map_err(|_| Fault::DamagedId)?;
            next = FeedCursor::at(u64::try_from(sequence).unwrap_or(since.position));
            ids.push(TokenId::from_bytes(id));
        }
        Ok(Feed::Deletions { ids, next, has_next: false })
    }

    fn host_is_bound(&self, query: &BoundQuery) -> Result<bool, StoreError> {
        self.file.check()?;
        let [first, second, third] = &query.hosts;
        let bound = self
            .connection
            .prepare_cached(HOST_IS_BOUND)?
            .query_row(params![first, second, third, query.now.as_millisecond()], |row| {
                row.get(0)
            })?;
        Ok(bound)
    }
}

fn records(
    statement: &mut Statement<'_>,
    parameters: &[&dyn ToSql],
) -> Result<Vec<Record>, StoreError> {
    let mut rows = statement.query(parameters)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(record(row)?);
    }
    Ok(records)
}

/// The next question, for whichever reader is free.
fn next(queue: &Mutex<Receiver<Read>>) -> Option<Read> {
    queue.lock().ok()?.recv().ok()
}

pub(super) const GET: &str = concat!("SELECT ", record_columns!(), " FROM tokens WHERE id = ?1");

/// The ids are found in an index alone, so that an offset skips rows without reading them.
pub(super) const LIST_ACCOUNT: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM tokens WHERE id IN
         (SELECT id FROM tokens
          WHERE account = ?1 AND id < ?6 AND expires_at > ?2
                AND key_id IN (SELECT value FROM json_each(?3))
          ORDER BY id DESC LIMIT ?4 OFFSET ?5)
     ORDER BY id DESC"
);

pub(super) const LIST_AGENT: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM tokens WHERE id IN
         (SELECT id FROM token_agents
          WHERE agent = ?7 AND account = ?1 AND id < ?6 AND expires_at > ?2
                AND key_id IN (SELECT value FROM json_each(?3))
          ORDER BY id DESC LIMIT ?4 OFFSET ?5)
     ORDER BY id DESC"
);

pub(super) const FEED_END: &str =
    "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'deletions'";

pub(super) const FEED_PAGE: &str =
    "SELECT sequence, id FROM deletions WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";

pub(super) const HOST_IS_BOUND: &str =
    "SELECT EXISTS (SELECT 1 FROM tokens WHERE bound IN (?1, ?2, ?3) AND expires_at > ?4)";
