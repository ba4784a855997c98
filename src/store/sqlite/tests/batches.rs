//! Claims about the writer's batches, the queues and the waits.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{Engine, Sqlite, beside, settings};
use crate::store::sqlite::job::{Pending, Write};
use crate::store::sqlite::{SqliteSettings, SqliteStore, open, write};
use crate::store::tests::records::{agent, deletion, listing, record, records};
use crate::store::{DeleteOutcome, ListQuery, StoreError, TokenStore};

#[test]
fn write_that_fails_takes_no_other_of_its_batch_with_it() {
    let folder = TempDir::new().unwrap();
    let opened = open::open(&settings(&folder)).unwrap();
    let (sender, queue) = std::sync::mpsc::sync_channel(16);
    let (first, mut twin, last) = (record(), record(), record());
    twin.id = first.id;
    let mut replies = Vec::new();
    for record in [&first, &twin, &last] {
        let (reply, answer) = oneshot::channel();
        sender.send(Write::Create(Pending::new(record.clone(), reply))).unwrap();
        replies.push(answer);
    }
    let (reply, deleted) = oneshot::channel();
    sender.send(Write::Delete(Pending::new(deletion(&last), reply))).unwrap();
    drop(sender);
    // All four are queued, so they are one batch.
    let (connection, file, busy_wait) = (opened.writer, opened.file, Duration::ZERO);
    write::Writer { connection, file, batch_max: 16, busy_wait }.run(&queue);

    let outcomes: Vec<bool> =
        replies.into_iter().map(|reply| reply.blocking_recv().unwrap().is_ok()).collect();
    assert_eq!(outcomes, [true, false, true]);
    assert_eq!(deleted.blocking_recv().unwrap().unwrap(), DeleteOutcome::Deleted);
    let count = |table| {
        let sql = format!("SELECT count(*) FROM {table}");
        beside(&folder).query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!([count("tokens"), count("token_agents"), count("deletions")], [1, 1, 1]);
}

#[tokio::test]
async fn creates_of_many_callers_all_arrive() {
    let engine = Sqlite::start();
    let store = Arc::new(engine.another_gate());
    let made = records(1000);
    let creating: Vec<_> = made
        .iter()
        .cloned()
        .map(|record| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.create(record).await })
        })
        .collect();
    for create in creating {
        create.await.unwrap().unwrap();
    }
    let page = engine.store().list(ListQuery { agent: Some(agent(1)), ..listing() }).await.unwrap();
    assert!(page.records.iter().eq(made.iter().rev()));
}

#[tokio::test]
async fn full_queue_is_overload_and_what_was_accepted_is_kept() {
    let folder = TempDir::new().unwrap();
    let narrow = SqliteSettings { write_queue_max: NonZeroUsize::MIN, ..settings(&folder) };
    let store = Arc::new(SqliteStore::open(&narrow).unwrap());
    let lock = beside(&folder);
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let made = records(10);
    let creating: Vec<_> = made
        .iter()
        .cloned()
        .map(|record| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.create(record).await })
        })
        .collect();
    // Reads have a queue of their own.
    assert_eq!(store.get(made[0].id).await.unwrap(), None);
    lock.execute_batch("ROLLBACK").unwrap();
    drop(lock);

    let (mut accepted, mut overloaded) = (0, 0);
    for create in creating {
        match create.await.unwrap() {
            Ok(()) => accepted += 1,
            Err(StoreError::Overloaded) => overloaded += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(accepted >= 1 && overloaded >= 1, "{accepted} accepted, {overloaded} overloaded");
    assert_eq!(store.list(listing()).await.unwrap().records.len(), accepted);
}

#[tokio::test]
async fn writer_that_cannot_write_in_time_is_unavailable() {
    let folder = TempDir::new().unwrap();
    let hasty = SqliteSettings { busy_wait: Duration::from_millis(10), ..settings(&folder) };
    let store = SqliteStore::open(&hasty).unwrap();
    let lock = beside(&folder);
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refusal = store.create(record()).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Unavailable(_)), "{refusal:?}");
    lock.execute_batch("ROLLBACK").unwrap();
    store.create(record()).await.unwrap();
}

#[tokio::test]
async fn caller_is_not_kept_waiting_longer_than_the_answer_wait() {
    let folder = TempDir::new().unwrap();
    let hasty = SqliteSettings { answer_wait: Duration::from_millis(10), ..settings(&folder) };
    let store = SqliteStore::open(&hasty).unwrap();
    let lock = beside(&folder);
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refusal = store.create(record()).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Unavailable(_)), "{refusal:?}");
    lock.execute_batch("ROLLBACK").unwrap();
}
