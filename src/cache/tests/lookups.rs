use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{STALENESS_MAX, fresh_records, id, records};

#[tokio::test]
async fn second_use_asks_no_store() {
    let records = fresh_records(&[1]);
    for _ in 0..3 {
        let found = records.find(id(1), Instant::now()).await.unwrap().unwrap();
        assert_eq!(found.id, id(1));
    }
    assert_eq!(records.store().lookups(), 1);
}

#[tokio::test]
async fn unknown_token_is_asked_for_once() {
    let records = fresh_records(&[]);
    for _ in 0..3 {
        assert!(records.find(id(1), Instant::now()).await.unwrap().is_none());
    }
    assert_eq!(records.store().lookups(), 1);
}

/// Attack D-06.
#[tokio::test]
async fn thousand_first_uses_at_once_make_one_lookup() {
    let records = fresh_records(&[1]);
    records.store().hold_back();
    let users: Vec<_> = (0..1000)
        .map(|_| {
            let records = Arc::clone(&records);
            tokio::spawn(async move { records.find(id(1), Instant::now()).await })
        })
        .collect();
    records.store().asked(1).await;
    records.store().answer(1);
    for user in users {
        assert!(user.await.unwrap().unwrap().is_some());
    }
    assert_eq!(records.store().lookups(), 1);
}

/// Whoever waits for somebody else's look-up is not left behind when that one gives up.
#[tokio::test]
async fn caller_that_leaves_takes_no_other_with_it() {
    let records = fresh_records(&[1]);
    records.store().hold_back();
    let find = || {
        let records = Arc::clone(&records);
        tokio::spawn(async move { records.find(id(1), Instant::now()).await })
    };
    let first = find();
    records.store().asked(1).await;
    let second = find();
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    records.store().asked(2).await;
    records.store().answer(1);
    assert!(second.await.unwrap().unwrap().is_some());
}

/// Attack C-06: unknown means 503, not 401 and not 200.
#[tokio::test]
async fn failing_store_leaves_an_unknown_token_undecided() {
    let records = fresh_records(&[1]);
    records.store().fail(true);
    assert!(records.find(id(1), Instant::now()).await.is_err());
    records.store().fail(false);
    let found = records.find(id(1), Instant::now()).await.unwrap();
    assert!(found.is_some(), "a failure is not remembered");
}

#[tokio::test]
async fn failing_store_leaves_a_cached_token_usable_while_fresh() {
    let records = fresh_records(&[1]);
    records.find(id(1), Instant::now()).await.unwrap();
    records.store().fail(true);
    assert!(records.find(id(1), Instant::now()).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn silent_store_is_given_up_after_the_lookup_timeout() {
    let records = fresh_records(&[1]);
    records.store().hold_back();
    let began = tokio::time::Instant::now();
    assert!(records.find(id(1), Instant::now()).await.is_err());
    assert_eq!(began.elapsed().as_secs(), super::LOOKUP_TIMEOUT.as_secs());
}

/// Attack C-07: without a confirmed feed nothing cached is trusted.
#[tokio::test]
async fn stale_knowledge_asks_the_store_each_time() {
    let records = records(&[1]);
    let confirmed = Instant::now();
    records.freshness().confirm(confirmed);
    let fresh = confirmed + STALENESS_MAX.saturating_sub(Duration::from_nanos(1));
    let stale = confirmed + STALENESS_MAX;
    records.find(id(1), fresh).await.unwrap();
    records.find(id(1), fresh).await.unwrap();
    assert_eq!(records.store().lookups(), 1);
    records.find(id(1), stale).await.unwrap();
    records.find(id(1), stale).await.unwrap();
    assert_eq!(records.store().lookups(), 3);
}

/// Attack C-06.
#[tokio::test]
async fn stale_knowledge_and_a_failing_store_decide_nothing() {
    let records = records(&[1]);
    let confirmed = Instant::now();
    records.freshness().confirm(confirmed);
    records.find(id(1), confirmed).await.unwrap();
    records.store().fail(true);
    assert!(records.find(id(1), confirmed).await.unwrap().is_some());
    assert!(records.find(id(1), confirmed + STALENESS_MAX).await.is_err());
}

#[tokio::test]
async fn nothing_is_fresh_before_the_first_confirmation() {
    let records = records(&[1]);
    records.find(id(1), Instant::now()).await.unwrap();
    records.find(id(1), Instant::now()).await.unwrap();
    assert_eq!(records.store().lookups(), 2);
}

#[test]
fn earlier_confirmation_never_shortens_a_later_one() {
    let records = records(&[]);
    let (earlier, later) = (Instant::now(), Instant::now() + Duration::from_secs(1));
    records.freshness().confirm(later);
    records.freshness().confirm(earlier);
    let near_the_end = later + STALENESS_MAX.saturating_sub(Duration::from_nanos(1));
    assert!(records.freshness().is_fresh(near_the_end));
    assert!(!records.freshness().is_fresh(later + STALENESS_MAX));
}
