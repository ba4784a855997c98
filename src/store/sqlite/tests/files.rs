//! Claims about the store's file: who may read it, what it may be, and what happens when it is
//! taken away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Engine, Sqlite, beside, settings};
use crate::store::sqlite::{OpenError, SqliteSettings, SqliteStore, open};
use crate::store::tests::now;
use crate::store::tests::records::{delete, deletion, listing, record, records};
use crate::store::{StoreError, TokenStore};

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn every_file_is_its_owners_alone() {
    let engine = Sqlite::start();
    engine.store().create(record()).await.unwrap();
    let mut names = Vec::new();
    for file in fs::read_dir(engine.folder.path()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
        names.push(path.file_name().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["store.db", "store.db-shm", "store.db-wal"]);
}

/// What makes an acknowledged write survive the loss of power. The tests cannot cut the power.
#[test]
fn writer_syncs_its_log_at_every_commit() {
    let folder = TempDir::new().unwrap();
    let opened = open::open(&settings(&folder)).unwrap();
    let setting = |name| {
        let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        opened.writer.pragma_query_value(None, name, read).unwrap()
    };
    // 2 is FULL.
    assert_eq!(setting("synchronous"), 2_i64.into());
    assert_eq!(setting("journal_mode"), "wal".to_owned().into());
    assert_eq!(setting("wal_autocheckpoint"), 4000_i64.into());
    assert_eq!(setting("page_size"), 4096_i64.into());
}

#[tokio::test]
async fn closed_store_is_one_file_that_opens_again() {
    let Sqlite { store, folder } = Sqlite::start();
    let (kept, gone) = (record(), record());
    store.create(kept.clone()).await.unwrap();
    store.create(gone.clone()).await.unwrap();
    delete(&store, &gone).await;
    drop(store);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let store = SqliteStore::open(&settings(&folder)).unwrap();
    assert_eq!(store.get(kept.id).await.unwrap(), Some(kept));
    assert_eq!(store.get(gone.id).await.unwrap(), None);
}

#[tokio::test]
async fn dropping_the_store_carries_out_what_was_accepted() {
    let Sqlite { store, folder } = Sqlite::start();
    let made = records(200);
    for record in &made {
        // One look is enough to hand it over; nobody waits for the answer.
        let mut creating = Box::pin(store.create(record.clone()));
        let look = std::future::poll_fn(|context| {
            std::task::Poll::Ready(creating.as_mut().poll(context).is_pending())
        });
        look.await;
    }
    drop(store);
    let store = SqliteStore::open(&settings(&folder)).unwrap();
    assert_eq!(store.list(listing()).await.unwrap().records.len(), 200);
}

#[test]
fn empty_file_becomes_a_store() {
    let folder = TempDir::new().unwrap();
    fs::write(settings(&folder).path, "").unwrap();
    SqliteStore::open(&settings(&folder)).unwrap();
}

#[test]
fn store_that_was_marked_but_never_migrated_is_migrated() {
    let folder = TempDir::new().unwrap();
    let mark = "PRAGMA application_id = 0x636b6774;
         CREATE TABLE refinery_schema_history
             (version INT PRIMARY KEY, name TEXT, applied_on TEXT, checksum TEXT);";
    beside(&folder).execute_batch(mark).unwrap();
    SqliteStore::open(&settings(&folder)).unwrap();
    let count = "SELECT count(*) FROM sqlite_schema WHERE name = 'tokens'";
    let tables: i64 = beside(&folder).query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[test]
fn newer_store_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    drop(SqliteStore::open(&settings(&folder)).unwrap());
    let newer = "INSERT INTO refinery_schema_history VALUES (7, 'later', '', '0')";
    beside(&folder).execute(newer, []).unwrap();
    let before = fs::read(settings(&folder).path).unwrap();
    let refusal = SqliteStore::open(&settings(&folder)).err().unwrap();
    assert!(matches!(refusal, OpenError::Newer { found: 7, known: 2, .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("has schema 7"));
    assert_eq!(fs::read(settings(&folder).path).unwrap(), before);
}

#[test]
fn file_of_another_program_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = settings(&folder).path;
    let database = |sql: &str| {
        fs::remove_file(&path).ok();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    };
    for write in [
        &|| database("CREATE TABLE tokens (id)"),
        &|| database("PRAGMA application_id = 7"),
        &|| fs::write(&path, "[listen]\npublic = \"127.0.0.1:8284\"\n".repeat(100)).unwrap(),
    ] as [&dyn Fn(); 3]
    {
        write();
        let before = fs::read(&path).unwrap();
        let refusal = SqliteStore::open(&settings(&folder)).err().unwrap();
        assert!(matches!(refusal, OpenError::Foreign { .. }), "{refusal:?}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn path_that_cannot_be_a_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let missing = SqliteSettings::at(folder.path().join("missing/store.db"));
    assert!(matches!(SqliteStore::open(&missing), Err(OpenError::File { .. })));
    let is_folder = SqliteSettings::at(folder.path());
    assert!(matches!(SqliteStore::open(&is_folder), Err(OpenError::Engine { .. })));
}

/// Nothing is acknowledged, and nothing said about any token, once the path leads elsewhere.
async fn check_unavailable(engine: &Sqlite, known: &crate::token::Record) {
    let store = engine.store();
    for answer in [
        store.create(record()).await,
        store.delete(deletion(known)).await.map(drop),
        store.sweep(now(), 1000).await.map(drop),
        store.get(known.id).await.map(drop),
        store.get(record().id).await.map(drop),
        store.list(listing()).await.map(drop),
        store.deletions(None).await.map(drop),
        store.host_is_bound([(); 3].map(|()| String::new()), now()).await.map(drop),
    ] {
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn deleted_file_makes_the_store_unavailable() {
    for name in ["store.db", "store.db-wal"] {
        let engine = Sqlite::start();
        let known = record();
        engine.store().create(known.clone()).await.unwrap();
        fs::remove_file(engine.folder.path().join(name)).unwrap();
        check_unavailable(&engine, &known).await;
    }
}

#[tokio::test]
async fn replaced_file_makes_the_store_unavailable() {
    let engine = Sqlite::start();
    let known = record();
    engine.store().create(known.clone()).await.unwrap();
    let (path, backup) = (settings(&engine.folder).path, engine.folder.path().join("backup"));
    fs::copy(&path, &backup).unwrap();
    fs::rename(&backup, &path).unwrap();
    check_unavailable(&engine, &known).await;
}

#[tokio::test]
async fn full_store_refuses_creates_and_goes_on_reading() {
    let folder = TempDir::new().unwrap();
    let small = SqliteSettings { pages_max: 60, ..settings(&folder) };
    let store = SqliteStore::open(&small).unwrap();
    let mut kept = Vec::new();
    let refusal = loop {
        let record = record();
        match store.create(record.clone()).await {
            Ok(()) => kept.push(record),
            Err(refusal) => break refusal,
        }
        assert!(kept.len() < 10_000);
    };
    assert!(matches!(refusal, StoreError::Unavailable(_)), "{refusal:?}");
    for record in &kept {
        assert_eq!(store.get(record.id).await.unwrap().as_ref(), Some(record));
    }
    drop(store);
    let store = SqliteStore::open(&settings(&folder)).unwrap();
    store.create(record()).await.unwrap();
}

#[tokio::test]
async fn swept_rows_make_room_in_a_full_store() {
    let folder = TempDir::new().unwrap();
    let small = SqliteSettings { pages_max: 60, ..settings(&folder) };
    let store = SqliteStore::open(&small).unwrap();
    while store.create(record()).await.is_ok() {}
    assert!(store.sweep(record().grant.expires_at, 1000).await.unwrap() > 0);
    store.create(record()).await.unwrap();
}
