//! Claims about the feed of deletions: nothing that matters is ever missing from it.

use std::sync::Arc;

use jiff::SignedDuration;

use super::records::{
    account, create_all, delete, deletion, feed_after, feed_end, ids, record, records, sorted,
    sweep_all,
};
use super::{Engine, now};
use crate::store::{
    Deletion, FEED_KEPT_AFTER_EXPIRY, FEED_PAGE_MAX, Feed, FeedCursor, SWEEP_LIMIT_MAX, TokenStore,
};
use crate::token::Record;

/// Creates and deletes all of these, many at a time.
async fn come_and_go<S: TokenStore>(store: &Arc<S>, records: &[Record]) {
    for some in records.chunks(500) {
        let lives = some.iter().cloned().map(|record| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                store.create(record.clone()).await.unwrap();
                delete(&*store, &record).await;
            })
        });
        for life in lives.collect::<Vec<_>>() {
            life.await.unwrap();
        }
    }
}

pub(in crate::store) async fn end_of_an_empty_feed_can_be_asked_from(engine: &impl Engine) {
    let start = feed_end(engine.store()).await;
    assert_eq!(feed_after(engine.store(), start).await, (vec![], start));
}

pub(in crate::store) async fn end_of_the_feed_skips_what_was_before(engine: &impl Engine) {
    let made = records(2);
    create_all(engine.store(), &made).await;
    delete(engine.store(), &made[0]).await;
    let start = feed_end(engine.store()).await;
    delete(engine.store(), &made[1]).await;
    assert_eq!(feed_after(engine.store(), start).await.0, [made[1].id]);
}

pub(in crate::store) async fn deletion_is_in_the_feed_of_every_gate(engine: &impl Engine) {
    let gates = [engine.another_gate(), engine.another_gate()];
    let mut cursors = [feed_end(&gates[0]).await, feed_end(&gates[1]).await];
    for record in records(20) {
        engine.store().create(record.clone()).await.unwrap();
        delete(engine.store(), &record).await;
        for (gate, cursor) in gates.iter().zip(&mut cursors) {
            let (ids, next) = feed_after(gate, *cursor).await;
            assert_eq!(ids, [record.id]);
            *cursor = next;
        }
    }
}

pub(in crate::store) async fn failed_deletions_are_not_in_the_feed(engine: &impl Engine) {
    let (own, gone) = (record(), record());
    create_all(engine.store(), &[own.clone(), gone.clone()]).await;
    delete(engine.store(), &gone).await;
    let start = feed_end(engine.store()).await;
    delete(engine.store(), &gone).await;
    delete(engine.store(), &record()).await;
    let thief = Deletion { account: account("other"), ..deletion(&own) };
    engine.store().delete(thief).await.unwrap();
    assert_eq!(feed_after(engine.store(), start).await, (vec![], start));
}

pub(in crate::store) async fn same_cursor_gives_the_same_deletions(engine: &impl Engine) {
    let made = records(5);
    let start = feed_end(engine.store()).await;
    create_all(engine.store(), &made).await;
    for record in &made {
        delete(engine.store(), record).await;
    }
    let first = feed_after(engine.store(), start).await;
    assert_eq!(sorted(first.0.clone()), sorted(ids(&made)));
    assert_eq!(feed_after(engine.store(), start).await, first);
    assert_eq!(feed_after(engine.store(), first.1).await, (vec![], first.1));
}

pub(in crate::store) async fn feed_misses_nothing_of_concurrent_deleters(engine: &impl Engine) {
    let made = records(400);
    let mut cursor = feed_end(engine.store()).await;
    let gates = [Arc::new(engine.another_gate()), Arc::new(engine.another_gate())];
    let deleters: Vec<_> = made
        .chunks(25)
        .enumerate()
        .map(|(n, some)| {
            let (gate, some) = (Arc::clone(&gates[n % 2]), some.to_vec());
            tokio::spawn(async move {
                for record in &some {
                    gate.create(record.clone()).await.unwrap();
                    delete(&*gate, record).await;
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    while !deleters.iter().all(tokio::task::JoinHandle::is_finished) {
        let (ids, next) = feed_after(engine.store(), cursor).await;
        seen.extend(ids);
        cursor = next;
    }
    for deleter in deleters {
        deleter.await.unwrap();
    }
    seen.extend(feed_after(engine.store(), cursor).await.0);
    let mut seen = sorted(seen);
    seen.dedup();
    assert_eq!(seen, sorted(ids(&made)));
}

pub(in crate::store) async fn long_feed_comes_in_bounded_pages(engine: &impl Engine) {
    let made = records(FEED_PAGE_MAX + 1);
    let start = feed_end(engine.store()).await;
    let gate = Arc::new(engine.another_gate());
    come_and_go(&gate, &made).await;
    match engine.store().deletions(Some(start)).await.unwrap() {
        Feed::Deletions { ids: page, next, has_next: true } => {
            assert!(page.len() <= FEED_PAGE_MAX);
            assert!(next > start);
        }
        other => panic!("a longer feed than one page was answered with {other:?}"),
    }
    let mut seen = sorted(feed_after(engine.store(), start).await.0);
    seen.dedup();
    assert_eq!(seen, sorted(ids(&made)));
}

pub(in crate::store) async fn cursor_of_another_history_is_a_gap(engine: &impl Engine) {
    let end = feed_end(engine.store()).await;
    let ahead = FeedCursor::at(u64::MAX);
    assert_eq!(engine.store().deletions(Some(ahead)).await.unwrap(), Feed::Gap { next: end });
}

pub(in crate::store) async fn deletion_outlives_its_token_in_the_feed(engine: &impl Engine) {
    let record = record();
    let start = feed_end(engine.store()).await;
    engine.store().create(record.clone()).await.unwrap();
    // The expiry in the token's text is the later one here: it counts.
    let text_expiry = record.grant.expires_at + SignedDuration::from_millis(500);
    let deletion = Deletion { expires_at: text_expiry, ..deletion(&record) };
    engine.store().delete(deletion).await.unwrap();

    let forgotten = text_expiry + FEED_KEPT_AFTER_EXPIRY;
    let too_early = forgotten - SignedDuration::from_millis(1);
    assert_eq!(sweep_all(engine.store(), too_early).await, 0);
    assert_eq!(feed_after(engine.store(), start).await.0, [record.id]);
    assert_eq!(sweep_all(engine.store(), forgotten).await, 1);
    assert_eq!(feed_after(engine.store(), start).await.0, []);
}

pub(in crate::store) async fn pruned_feed_never_goes_backwards(engine: &impl Engine) {
    let start = feed_end(engine.store()).await;
    let mut last = start;
    for record in records(3) {
        engine.store().create(record.clone()).await.unwrap();
        delete(engine.store(), &record).await;
        let (ids, next) = feed_after(engine.store(), last).await;
        assert_eq!(ids, [record.id]);
        assert!(next > last);
        last = next;
        let forgotten = record.grant.expires_at + FEED_KEPT_AFTER_EXPIRY;
        assert_eq!(sweep_all(&engine.another_gate(), forgotten).await, 1);
        assert!(feed_end(engine.store()).await >= last);
        assert!(feed_end(&engine.another_gate()).await >= last);
    }
}

pub(in crate::store) async fn cursor_older_than_what_was_pruned_misses_nothing_that_matters(
    engine: &impl Engine,
) {
    let (mut short, long) = (record(), record());
    short.grant.expires_at = now() - SignedDuration::from_hours(2);
    let start = feed_end(engine.store()).await;
    create_all(engine.store(), &[short.clone(), long.clone()]).await;
    delete(engine.store(), &short).await;
    delete(engine.store(), &long).await;
    assert_eq!(sweep_all(engine.store(), now()).await, 1);
    assert_eq!(feed_after(engine.store(), start).await.0, [long.id]);
}

pub(in crate::store) async fn feed_is_pruned_in_small_steps(engine: &impl Engine) {
    let made = records(SWEEP_LIMIT_MAX as usize + 5);
    come_and_go(&Arc::new(engine.another_gate()), &made).await;
    let left = record();
    engine.store().create(left.clone()).await.unwrap();
    let later = now() + SignedDuration::from_hours(3);
    // The record and the entries share the step's limit.
    assert_eq!(engine.store().sweep(later, 2).await.unwrap(), 2);
    assert_eq!(engine.store().get(left.id).await.unwrap(), None);
    assert_eq!(engine.store().sweep(later, u32::MAX).await.unwrap(), SWEEP_LIMIT_MAX);
    assert_eq!(engine.store().sweep(later, u32::MAX).await.unwrap(), 4);
    assert_eq!(engine.store().sweep(later, u32::MAX).await.unwrap(), 0);
}
