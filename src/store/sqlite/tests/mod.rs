//! Claims about the embedded store alone, and the contract of every store.

mod batches;
mod damage;
mod files;

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

fn settings(folder: &TempDir) -> SqliteSettings {
    SqliteSettings::at(folder.path().join("store.db"))
}

/// A connection that is not the store's, as an operator's shell would have.
fn beside(folder: &TempDir) -> Connection {
    let connection = Connection::open(settings(folder).path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

whole_contract!(Sqlite);
