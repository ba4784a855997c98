//! Claims about the embedded store alone, and the contract of every store.

mod batches;
mod damage;
mod files;

use std::time::Duration;

use rusqlite::Connection;
use rusqlite::params;
use tempfile::TempDir;

use super::{SqliteSettings, SqliteStore};
use crate::store::tests::{Engine, whole_contract};
use crate::token::TokenId;

/// A store in a folder of its own.
struct Sqlite {
    store: SqliteStore,
    folder: TempDir,
}

impl Engine for Sqlite {
    type Store = SqliteStore;

    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        Self { store: SqliteStore::open(&settings(&folder)).unwrap(), folder }
    }

    fn store(&self) -> &SqliteStore {
        &self.store
    }

    fn another_gate(&self) -> SqliteStore {
        SqliteStore::open(&settings(&self.folder)).unwrap()
    }

    fn damage_policy(&self, id: TokenId) {
        self.damage(id, "policy = '[{]'");
    }
}

impl Sqlite {
    fn damage(&self, id: TokenId, assignment: &str) {
        let sql = format!("UPDATE tokens SET {assignment} WHERE id = ?1");
        assert_eq!(beside(&self.folder).execute(&sql, params![id.as_bytes()]).unwrap(), 1);
    }
}

/// Waits long enough for a machine that is busy with other tests.
fn settings(folder: &TempDir) -> SqliteSettings {
    SqliteSettings {
        busy_wait: Duration::from_mins(5),
        answer_wait: Duration::from_mins(5),
        ..SqliteSettings::at(folder.path().join("store.db"))
    }
}

/// A connection that is not the store's, as an operator's shell would have.
fn beside(folder: &TempDir) -> Connection {
    let connection = Connection::open(settings(folder).path).unwrap();
    connection.busy_timeout(Duration::from_mins(1)).unwrap();
    connection
}

whole_contract!(Sqlite);
