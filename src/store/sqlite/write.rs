//! The thread that writes: it takes what has queued up, puts it into one transaction, syncs it to
//! disk once, and only then answers everyone.

use std::slice;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};

use super::fault::Fault;
use super::job::{SweepStep, Write};
use super::open::OpenFile;
use super::usage;
use crate::store::stored::{agent_key, limits_text, policy_entries, policy_text};
use crate::store::{DeleteOutcome, Deletion, FEED_KEPT_AFTER_EXPIRY, SWEEP_LIMIT_MAX, StoreError};
use crate::token::{Record, TokenId};

/// Time between two tries to get the lock of the file from another process.
const BUSY_STEP: Duration = Duration::from_millis(1);

/// The writer's own.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) file: Arc<OpenFile>,
    pub(super) batch_max: usize,
    pub(super) busy_wait: Duration,
}

/// Why a batch was not committed.
enum Failure {
    /// Nothing can be written at present.
    Store(Fault),
    /// One of the writes cannot be applied; the others may be fine.
    Write(Fault),
}

impl Writer {
    /// Works until the queue has no sender left.
    pub(super) fn run(self, queue: &Receiver<Write>) {
        while let Ok(first) = queue.recv() {
            let mut batch = vec![first];
            batch.extend(queue.try_iter().take(self.batch_max.saturating_sub(1)));
            self.carry_out(batch);
        }
    }

    fn carry_out(&self, mut batch: Vec<Write>) {
        match self.commit(&mut batch) {
            Ok(()) => batch.into_iter().for_each(|write| write.settle(Ok(()))),
            // Nothing of the batch was kept. Each write alone then shows which one was at fault.
            Err(Failure::Write(_)) if batch.len() > 1 => self.carry_out_singly(batch),
            Err(Failure::Write(fault) | Failure::Store(fault)) => fail(batch, &Arc::new(fault)),
        }
    }

    fn carry_out_singly(&self, batch: Vec<Write>) {
        let mut rest = batch.into_iter();
        while let Some(mut write) = rest.next() {
            match self.commit(slice::from_mut(&mut write)) {
                Ok(()) => write.settle(Ok(())),
                Err(Failure::Write(fault)) => write.settle(Err(fault.into())),
                // Trying the others as well would keep the whole queue waiting for the same answer.
                Err(Failure::Store(fault)) => {
                    let fault = Arc::new(fault);
                    write.settle(Err(Arc::clone(&fault).into()));
                    return fail(rest, &fault);
                }
            }
        }
    }

    /// Puts all of `batch` on disk, or nothing of it.
    fn commit(&self, batch: &mut [Write]) -> Result<(), Failure> {
        self.begin().map_err(|error| Failure::Store(error.into()))?;
        let outcome = self.apply_and_commit(batch);
        if outcome.is_err() && !self.connection.is_autocommit() {
            // Should this fail as well, then the next transaction cannot begin, and says so.
            drop(self.connection.execute_batch("ROLLBACK"));
        }
        outcome?;
        // After the commit: what went into a file that is no longer the store's is not kept.
        self.file.check().map_err(Failure::Store)
    }

    /// Takes the lock that only one writer of the file can have. It is tried at short intervals:
    /// `SQLite`'s own waiting slows down to ten tries a second, and starves beside a busy writer.
    fn begin(&self) -> rusqlite::Result<()> {
        let began = Instant::now();
        loop {
            match self.connection.execute_batch("BEGIN IMMEDIATE") {
                Err(rusqlite::Error::SqliteFailure(failure, _))
                    if failure.code == ErrorCode::DatabaseBusy
                        && began.elapsed() < self.busy_wait =>
                {
                    thread::sleep(BUSY_STEP);
                }
                outcome => return outcome,
            }
        }
    }

    fn apply_and_commit(&self, batch: &mut [Write]) -> Result<(), Failure> {
        for write in batch {
            write.apply(&self.connection).map_err(|error| Failure::Write(error.into()))?;
        }
        self.connection.execute_batch("COMMIT").map_err(|error| Failure::Store(error.into()))
    }
}

fn fail(writes: impl IntoIterator<Item = Write>, fault: &Arc<Fault>) {
    writes.into_iter().for_each(|write| write.settle(Err(Arc::clone(fault).into())));
}

impl Write {
    fn apply(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Create(job) => job.answer = Some(create(connection, &job.question)?),
            Self::Delete(job) => job.answer = Some(delete(connection, &job.question)?),
            Self::Sweep(job) => job.answer = Some(sweep(connection, &job.question)?),
            Self::AddUsage(job) => job.answer = Some(usage::add(connection, &job.question)?),
        }
        Ok(())
    }

    fn settle(self, verdict: Result<(), StoreError>) {
        match self {
            Self::Create(job) => job.settle(verdict),
            Self::Delete(job) => job.settle(verdict),
            Self::Sweep(job) => job.settle(verdict),
            Self::AddUsage(job) => job.settle(verdict),
        }
    }
}

fn create(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    let id = record.id.as_bytes();
    let account = record.account.as_str();
    let expires_at = record.grant.expires_at.as_millisecond();
    connection.prepare_cached(INSERT_RECORD)?.execute(params![
        id,
        record.key_id,
        account,
        record.created_at.as_millisecond(),
        expires_at,
        &*record.hostname,
        record.grant.host.serialised(),
        policy_text(&record.grant.entries).map_err(unwritable)?,
        limits_text(record.limits).map_err(unwritable)?,
    ])?;
    let mut insert_agent = connection.prepare_cached(INSERT_AGENT)?;
    for entry in &record.grant.entries {
        let agent = agent_key(entry.agent);
        insert_agent.execute(params![agent, account, id, expires_at, record.key_id])?;
    }
    Ok(())
}

fn unwritable(problem: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(problem))
}

fn delete(connection: &Connection, deletion: &Deletion) -> rusqlite::Result<DeleteOutcome> {
    let id = deletion.id.as_bytes();
    let account = deletion.account.as_str();
    let removed: Option<(i64, String)> = connection
        .prepare_cached(DELETE_RECORD)?
        .query_row(params![id, account], |row| Ok((row.get(0)?, text_or_nothing(row, 1)?)))
        .optional()?;
    let Some((expires_at, policy)) = removed else {
        return not_removed(connection, id, account);
    };
    forget_agents(connection, id, account, &policy)?;
    usage::forget(connection, id)?;
    connection.prepare_cached(INSERT_DELETION)?.execute(params![
        id,
        account,
        expires_at.max(deletion.expires_at.as_millisecond()),
        deletion.now.as_millisecond(),
    ])?;
    Ok(DeleteOutcome::Deleted)
}

/// What it means that `account` has no record `id`.
fn not_removed(
    connection: &Connection,
    id: &[u8; TokenId::LENGTH],
    account: &str,
) -> rusqlite::Result<DeleteOutcome> {
    let owner: Option<String> = connection
        .prepare_cached(OWNER)?
        .query_row(params![id], |row| text_or_nothing(row, 0))
        .optional()?;
    Ok(match owner {
        Some(owner) if owner != account => DeleteOutcome::NotYours,
        Some(_) | None => DeleteOutcome::AlreadyGone,
    })
}

fn sweep(connection: &Connection, step: &SweepStep) -> rusqlite::Result<u32> {
    let expired_before = step.expired_before.as_millisecond();
    let limit = step.limit.min(SWEEP_LIMIT_MAX);
    // Records first: a feed entry may go only after its token can no longer be looked up.
    let mut expired = connection.prepare_cached(SWEEP_RECORDS)?;
    let removed = expired
        .query_map(params![expired_before, limit], |row| {
            let id: [u8; TokenId::LENGTH] = row.get(0)?;
            Ok((id, text_or_nothing(row, 1)?, text_or_nothing(row, 2)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for (id, account, policy) in &removed {
        forget_agents(connection, id, account, policy)?;
    }
    let records = u32::try_from(removed.len()).unwrap_or(limit);
    usage::sweep(connection, expired_before)?;

    let kept = i64::try_from(FEED_KEPT_AFTER_EXPIRY.as_millis()).unwrap_or(i64::MAX);
    let entries = connection
        .prepare_cached(SWEEP_DELETIONS)?
        .execute(params![expired_before.saturating_sub(kept), limit.saturating_sub(records)])?;
    Ok(records.saturating_add(u32::try_from(entries).unwrap_or(limit)))
}

/// Removes what `create` wrote to find the token by its agents.
fn forget_agents(
    connection: &Connection,
    id: &[u8; TokenId::LENGTH],
    account: &str,
    policy: &str,
) -> rusqlite::Result<()> {
    let Ok(entries) = policy_entries(policy) else {
        // A damaged row no longer tells its agents. Slow, and hardly ever needed.
        connection.execute("DELETE FROM token_agents WHERE id = ?1", params![id])?;
        return Ok(());
    };
    let mut remove = connection.prepare_cached(DELETE_AGENT)?;
    for entry in entries {
        remove.execute(params![agent_key(entry.agent), account, id])?;
    }
    Ok(())
}

/// A text column, or nothing if it does not hold text: a damaged record must be removable too.
fn text_or_nothing(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(row.get_ref(at)?.as_str().unwrap_or_default().to_owned())
}

pub(super) const INSERT_RECORD: &str = "INSERT INTO tokens
         (id, key_id, account, created_at, expires_at, hostname, bound, policy, limits)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

pub(super) const INSERT_AGENT: &str =
    "INSERT OR IGNORE INTO token_agents (agent, account, id, expires_at, key_id)
         VALUES (?1, ?2, ?3, ?4, ?5)";

pub(super) const DELETE_RECORD: &str =
    "DELETE FROM tokens WHERE id = ?1 AND account = ?2 RETURNING expires_at, policy";

pub(super) const INSERT_DELETION: &str = "INSERT OR REPLACE INTO deletions (id, account, expires_at, deleted_at) VALUES (?1, ?2, ?3, ?4)";

pub(super) const OWNER: &str = "SELECT account FROM tokens WHERE id = ?1
         UNION ALL SELECT account FROM deletions WHERE id = ?1";

pub(super) const SWEEP_RECORDS: &str = "DELETE FROM tokens WHERE id IN
         (SELECT id FROM tokens WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
         RETURNING id, account, policy";

pub(super) const SWEEP_DELETIONS: &str = "DELETE FROM deletions WHERE sequence IN
         (SELECT sequence FROM deletions WHERE expires_at <= ?1
         ORDER BY expires_at LIMIT ?2)";

pub(super) const DELETE_AGENT: &str =
    "DELETE FROM token_agents WHERE agent = ?1 AND account = ?2 AND id = ?3";
