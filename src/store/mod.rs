//! Durable records and the feed of deletions.
//!
//! Owns the one trait every engine implements, and the engines. Leaves caching and freshness to
//! `cache`. Must always hold: what a call acknowledged survives `kill -9` and power loss, a deletion
//! is never undone, and the store keeps ids, never token text.

mod any;
mod postgres;
mod sqlite;
mod stored;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;

use jiff::{SignedDuration, Timestamp};

pub use any::Store;
pub use postgres::{PostgresError, PostgresSettings, PostgresStore, Tls};
pub use sqlite::{OpenError, SqliteExport, SqliteSettings, SqliteStore};

use crate::policy::{AgentId, Permission};
use crate::token::{AccountName, Record, TokenId};

/// Most deletions in one answer of the feed.
pub const FEED_PAGE_MAX: usize = 10_000;
/// How long an entry stays in the feed after its token has expired. Once every gate's own clock says
/// that the token has expired and its last stream is cut, nobody needs the entry any more; this
/// margin covers clocks that disagree and streams in their grace.
pub const FEED_KEPT_AFTER_EXPIRY: SignedDuration = SignedDuration::from_hours(1);
/// Most rows that one [`TokenStore::sweep`] removes, whatever its caller asks: creates wait for it.
pub const SWEEP_LIMIT_MAX: u32 = 1000;

/// Where records live. It is always safe to answer [`StoreError`]; it is never safe to answer
/// `Ok` before the fact is durable, or `Ok(None)` when it is only unknown.
///
/// Times are kept to the millisecond; what is finer is cut off. A call whose future is dropped, or
/// that is answered with an error, may still have been carried out.
pub trait TokenStore: Send + Sync + 'static {
    /// Keeps a new record. `Ok` = on disk. Ids are never used twice: a record whose id is there
    /// already is an error and changes nothing.
    fn create(&self, record: Record) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The record named `id`, expired or not. `None` is authoritative: deleted, swept or never made.
    fn get(&self, id: TokenId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// One page of an account's live records, newest first: by id, which begins with the creation
    /// time. A record that cannot be read fails the whole page; it is never passed over in silence.
    fn list(&self, query: ListQuery) -> impl Future<Output = Result<ListPage, StoreError>> + Send;

    /// Removes a record, readable or not, and writes the deletion to the feed in one transaction.
    /// `Ok` = on disk, and visible to every later [`TokenStore::deletions`].
    fn delete(
        &self,
        deletion: Deletion,
    ) -> impl Future<Output = Result<DeleteOutcome, StoreError>> + Send;

    /// One small step of cleaning up: removes at most `limit` rows (and [`SWEEP_LIMIT_MAX`]), first
    /// records that expire at or before `expired_before`, then feed entries of tokens that had
    /// expired [`FEED_KEPT_AFTER_EXPIRY`] earlier. Returns how many rows went; 0 = nothing is left.
    fn sweep(
        &self,
        expired_before: Timestamp,
        limit: u32,
    ) -> impl Future<Output = Result<u32, StoreError>> + Send;

    /// The deletions after `since`, at most [`FEED_PAGE_MAX`]; `None` asks for the present end of the
    /// feed without entries. A deletion is in it from the moment `delete` answers, and no cursor
    /// that was handed out can be ahead of a deletion that is not yet visible.
    ///
    /// An entry leaves the feed only when its token can no longer be admitted by anyone
    /// ([`FEED_KEPT_AFTER_EXPIRY`]), so a cursor that is older than what was removed has missed
    /// nothing that matters, and is answered without [`Feed::Gap`].
    fn deletions(
        &self,
        since: Option<FeedCursor>,
    ) -> impl Future<Output = Result<Feed, StoreError>> + Send;

    /// Whether a token that lives at `now` is bound to one of these serialised hosts.
    fn host_is_bound(
        &self,
        hosts: [String; 3],
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Adds to what is counted of tokens that still exist. Not durable at once: statistics may be
    /// lost, never a record. Every pair of token and permission is named at most once.
    fn add_usage(&self, usage: Vec<Usage>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What is counted of these tokens, in any order.
    fn usage(
        &self,
        ids: Vec<TokenId>,
    ) -> impl Future<Output = Result<Vec<Usage>, StoreError>> + Send;

    /// Says that the gate of this random id runs; returns how many gates have lately said so, itself
    /// included. An engine that no two machines can share answers 1.
    fn gates(&self, gate: [u8; 16]) -> impl Future<Output = Result<u32, StoreError>> + Send;

    /// Returns when the feed may have something new. A hint only: it may come for nothing, and it
    /// may never come.
    fn wakeup(&self) -> impl Future<Output = ()> + Send;

    /// Whether the engine would call [`TokenStore::wakeup`] now: `None` where it never does.
    fn is_listening(&self) -> Option<bool>;
}

/// A deletion that is moved from one store to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedDeletion {
    /// The token.
    pub id: TokenId,
    /// Whose it was.
    pub account: AccountName,
    /// Until when the deletion has to be remembered at least.
    pub expires_at: Timestamp,
    /// When it was asked for.
    pub deleted_at: Timestamp,
}

/// How many live tokens were made under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub key_id: u8,
    /// How many; at least 1.
    pub live: u64,
    /// When the last of them expires.
    pub last_expiry: Timestamp,
}

/// How often a permission of a token was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The token.
    pub id: TokenId,
    /// What was done.
    pub permission: Permission,
    /// How many requests.
    pub requests: u64,
    /// When the last one came, to the millisecond.
    pub last_used_at: Timestamp,
}

/// Which records [`TokenStore::list`] returns.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Only this account's.
    pub account: AccountName,
    /// Only those whose policy names this agent.
    pub agent: Option<AgentId>,
    /// Only those made under these keys: the others' text cannot be derived any more.
    pub key_ids: Vec<u8>,
    /// Only those that expire after this moment.
    pub now: Timestamp,
    /// Only those made before this one: what a page costs does not grow with its place.
    pub before: Option<TokenId>,
    /// How many to pass over.
    pub offset: u64,
    /// How many to return at most.
    pub limit: u32,
}

/// One page of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage {
    /// Newest first.
    pub records: Vec<Record>,
    /// Whether a record follows the last of these.
    pub has_next: bool,
}

/// What to delete: this token, if it is this account's.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// The account that asks.
    pub account: AccountName,
    /// The token.
    pub id: TokenId,
    /// The early expiry in the token's text: how long the deletion has to be remembered at least
    /// (until the later of this and the record's own).
    pub expires_at: Timestamp,
    /// When the deletion was asked for.
    pub now: Timestamp,
}

/// What a deletion found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The record was there and is gone, durably.
    Deleted,
    /// The account's own record was deleted before; or nothing is known of the token, which a
    /// caller who verified its tag knows to mean: it expired, and was swept.
    AlreadyGone,
    /// The record, live or deleted, belongs to another account. Nothing was changed.
    NotYours,
}

/// A place in the feed of deletions; only the engine that made it can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedCursor {
    /// Which history of the data it is a place in, for an engine that can be put back or replaced.
    history: u64,
    /// Everything before it has been read.
    position: u64,
    /// In the middle of a read that takes several pages.
    page: Option<FeedPage>,
}

/// Where a read that takes several pages goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FeedPage {
    /// Where the next page begins.
    from: u64,
    /// How far everything was settled when the first page was read.
    settled: u64,
}

impl FeedCursor {
    /// The place behind the entry of this number, in a feed with one history.
    #[must_use]
    pub const fn at(position: u64) -> Self {
        Self { history: 0, position, page: None }
    }
}

/// An answer of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// The deletions since the cursor, and the cursor to ask with next.
    Deletions {
        /// The deleted ids, in any order; repeats are harmless.
        ids: Vec<TokenId>,
        /// Ask with this next.
        next: FeedCursor,
        /// Whether more deletions follow now: the feed is confirmed only when none does.
        has_next: bool,
    },
    /// The cursor is not of this feed (a backup was put back, an engine lost its history): whoever
    /// asks must forget what it has cached.
    Gap {
        /// Ask with this next.
        next: FeedCursor,
    },
}

/// The store could not do what was asked. Nothing may be concluded from it about any token.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not do it: out of reach, too slow, full, damaged, or against its rules. The source
    /// says which.
    #[error("the store is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored record cannot be read.
    #[error("the stored record of token {id} cannot be read: {problem}")]
    Unreadable {
        /// The token.
        id: TokenId,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Its queue is full.
    #[error("the store is overloaded")]
    Overloaded,
}

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.history, self.position)
    }
}
