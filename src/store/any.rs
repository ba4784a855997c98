use jiff::Timestamp;

use super::{
    DeleteOutcome, Deletion, Feed, FeedCursor, ListPage, ListQuery, PostgresStore, SqliteStore,
    StoreError, TokenStore, Usage,
};
use crate::token::{Record, TokenId};

/// The engine that a gate serves from, as its configuration says.
pub enum Store {
    /// One machine's own.
    Sqlite(SqliteStore),
    /// Shared by many gates.
    Postgres(PostgresStore),
}

macro_rules! ask {
    ($store:expr, $method:ident ( $($argument:expr),* )) => {
        match $store {
            Store::Sqlite(store) => store.$method($($argument),*).await,
            Store::Postgres(store) => store.$method($($argument),*).await,
        }
    };
}

impl TokenStore for Store {
    async fn create(&self, record: Record) -> Result<(), StoreError> {
        ask!(self, create(record))
    }

    async fn get(&self, id: TokenId) -> Result<Option<Record>, StoreError> {
        ask!(self, get(id))
    }

    async fn list(&self, query: ListQuery) -> Result<ListPage, StoreError> {
        ask!(self, list(query))
    }

    async fn delete(&self, deletion: Deletion) -> Result<DeleteOutcome, StoreError> {
        ask!(self, delete(deletion))
    }

    async fn sweep(&self, expired_before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        ask!(self, sweep(expired_before, limit))
    }

    async fn deletions(&self, since: Option<FeedCursor>) -> Result<Feed, StoreError> {
        ask!(self, deletions(since))
    }

    async fn host_is_bound(&self, hosts: [String; 3], now: Timestamp) -> Result<bool, StoreError> {
        ask!(self, host_is_bound(hosts, now))
    }

    async fn add_usage(&self, usage: Vec<Usage>) -> Result<(), StoreError> {
        ask!(self, add_usage(usage))
    }

    async fn usage(&self, ids: Vec<TokenId>) -> Result<Vec<Usage>, StoreError> {
        ask!(self, usage(ids))
    }

    async fn gates(&self, gate: [u8; 16]) -> Result<u32, StoreError> {
        ask!(self, gates(gate))
    }

    async fn wakeup(&self) {
        ask!(self, wakeup());
    }

    fn is_listening(&self) -> Option<bool> {
        match self {
            Self::Sqlite(store) => store.is_listening(),
            Self::Postgres(store) => store.is_listening(),
        }
    }
}
