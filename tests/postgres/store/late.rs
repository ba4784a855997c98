//! What only an engine with many writers at once can get wrong: transactions that commit late.

use tokio_postgres::{Client, NoTls};

use super::engine::{Postgres, server};
use super::tests::Engine as _;
use super::tests::records::{
    create_all, delete, feed_after, feed_end, ids, record, records, sorted,
};
use super::{FEED_PAGE_MAX, Feed, TokenStore as _};

/// A session of an operator's.
async fn beside(engine: &Postgres) -> Client {
    let url = server().url(&engine.database);
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

const DELETE_LATE: &str = "
    WITH gone AS (DELETE FROM tokens WHERE id = $1 RETURNING id, account, expires_at)
    INSERT INTO deletions (id, transaction, account, expires_at, deleted_at)
    SELECT id, pg_current_xact_id()::text::bigint, account, expires_at, 0 FROM gone";

/// The deletion that began first commits last: a reader that went on from the highest number it
/// had seen would never see it.
#[tokio::test]
async fn deletion_that_commits_late_is_not_missed() {
    let engine = Postgres::start();
    let made = records(3);
    create_all(engine.store(), &made).await;
    let start = feed_end(engine.store()).await;
    let late = beside(&engine).await;
    late.batch_execute("BEGIN").await.unwrap();
    let id = made[0].id.as_bytes().as_slice();
    assert_eq!(late.execute(DELETE_LATE, &[&id]).await.unwrap(), 1);
    delete(engine.store(), &made[1]).await;
    let (seen, cursor) = feed_after(engine.store(), start).await;
    assert_eq!(seen, [made[1].id], "what is committed is felt, whatever else is open");
    delete(engine.store(), &made[2]).await;
    let (seen, cursor) = feed_after(engine.store(), cursor).await;
    assert!(seen.contains(&made[2].id));
    late.batch_execute("COMMIT").await.unwrap();
    let (seen, cursor) = feed_after(engine.store(), cursor).await;
    assert!(seen.contains(&made[0].id), "the late one");
    assert_eq!(feed_after(engine.store(), cursor).await.0, []);
}

/// A transaction that stays open holds the cursor back, and nothing else.
#[tokio::test]
async fn open_transaction_does_not_hold_up_a_feed_of_many_pages() {
    let engine = Postgres::start();
    let open = beside(&engine).await;
    open.batch_execute("BEGIN; CREATE TABLE unrelated (n int)").await.unwrap();
    let start = feed_end(engine.store()).await;
    let count = 2 * FEED_PAGE_MAX + 500;
    let fill = format!(
        "DO $$ BEGIN FOR n IN 1..{count} LOOP
             INSERT INTO deletions SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'),
                 pg_current_xact_id()::text::bigint, 'acme', 1800000000000, 0;
             IF n % 100 = 0 THEN COMMIT; END IF;
         END LOOP; END $$"
    );
    beside(&engine).await.batch_execute(&fill).await.unwrap();
    for _ in 0..2 {
        let (mut cursor, mut seen, mut pages) = (start, Vec::new(), 0);
        loop {
            match engine.store().deletions(Some(cursor)).await.unwrap() {
                Feed::Deletions { ids, next, has_next } => {
                    assert!(ids.len() <= FEED_PAGE_MAX);
                    seen.extend(ids);
                    pages += 1;
                    cursor = next;
                    if !has_next {
                        break;
                    }
                }
                Feed::Gap { .. } => panic!("there is no gap"),
            }
        }
        let mut seen = sorted(seen);
        seen.dedup();
        assert_eq!((seen.len(), pages), (count, 3));
    }
    open.batch_execute("COMMIT").await.unwrap();
}

/// An operator deletes by the thousand in one transaction: more than a page.
#[tokio::test]
async fn transaction_larger_than_a_page_is_read_whole() {
    let engine = Postgres::start();
    let start = feed_end(engine.store()).await;
    let count = FEED_PAGE_MAX + 7;
    let fill = format!(
        "INSERT INTO deletions SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'),
             pg_current_xact_id()::text::bigint, 'acme', 1800000000000, 0
         FROM generate_series(1, {count}) AS n"
    );
    beside(&engine).await.batch_execute(&fill).await.unwrap();
    let after = record();
    engine.store().create(after.clone()).await.unwrap();
    delete(engine.store(), &after).await;
    let (seen, cursor) = feed_after(engine.store(), start).await;
    let mut seen = sorted(seen);
    seen.dedup();
    assert_eq!(seen.len(), count + 1);
    assert!(seen.contains(&after.id));
    assert_eq!(feed_after(engine.store(), cursor).await.0, []);
}

/// A deletion notifies once it is committed; a creation never does.
#[tokio::test]
async fn only_deletions_wake_the_other_gates() {
    let engine = Postgres::start();
    let other = engine.another_gate();
    let patience = std::time::Duration::from_secs(20);
    // Listening begins with a wake-up, for what came before.
    tokio::time::timeout(patience, other.wakeup()).await.unwrap();
    assert_eq!(other.is_listening(), Some(true));
    let made = records(20);
    create_all(engine.store(), &made).await;
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(300), other.wakeup()).await;
    assert!(quiet.is_err(), "a creation has notified");
    let start = feed_end(&other).await;
    delete(engine.store(), &made[0]).await;
    tokio::time::timeout(patience, other.wakeup()).await.unwrap();
    assert_eq!(feed_after(&other, start).await.0, ids(&made[..1]));
}
