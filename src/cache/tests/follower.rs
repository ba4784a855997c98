use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::error::TryRecvError;

use super::super::{Cut, Follower, OpenStreams, Records};
use super::store::FakeStore;
use super::{STALENESS_MAX, fresh_records, id, records, stream_of};
use crate::clock::monotonic;
use crate::store::{Feed, FeedCursor};

fn deleted(numbers: &[u8], next: u64, has_next: bool) -> Feed {
    let ids = numbers.iter().map(|number| id(*number)).collect();
    Feed::Deletions { ids, next: FeedCursor::at(next), has_next }
}

fn follower(records: &Arc<Records<FakeStore>>) -> (Follower<FakeStore>, Arc<OpenStreams>) {
    let streams = Arc::new(OpenStreams::new());
    (Follower::new(Arc::clone(records), Arc::clone(&streams)), streams)
}

#[tokio::test]
async fn deletion_in_the_feed_is_felt_by_cache_and_streams() {
    let records = fresh_records(&[1, 2]);
    let (mut follower, streams) = follower(&records);
    let (_lease, mut cut) = streams.open(stream_of(1, 4)).unwrap();
    let (_other, mut other_cut) = streams.open(stream_of(2, 4)).unwrap();
    // The first read only finds where to begin.
    follower.catch_up().await.unwrap();
    records.find(id(1), Instant::now()).await.unwrap();
    records.store().announce(deleted(&[1], 1, false));
    follower.catch_up().await.unwrap();
    assert!(records.find(id(1), Instant::now()).await.unwrap().is_none());
    assert_eq!(cut.try_recv(), Ok(Cut::TokenRevoked));
    assert_eq!(other_cut.try_recv(), Err(TryRecvError::Empty));
}

#[tokio::test]
async fn feed_is_read_to_its_end_before_it_counts() {
    let records = fresh_records(&[]);
    let (mut follower, _) = follower(&records);
    follower.catch_up().await.unwrap();
    for number in 1..=5 {
        records.store().announce(deleted(&[number], u64::from(number), number < 5));
    }
    follower.catch_up().await.unwrap();
    assert_eq!(records.deleted().len(), 5);
}

/// Attack C-07: the time counts from the beginning of the read, and only of one that ended.
#[tokio::test]
async fn only_a_whole_read_makes_knowledge_fresh() {
    let records = records(&[]);
    let (mut follower, _) = follower(&records);
    records.store().fail(true);
    assert!(follower.catch_up().await.is_err());
    assert!(!records.freshness().is_fresh(Instant::now()));
    records.store().fail(false);
    let began = Instant::now();
    follower.catch_up().await.unwrap();
    assert!(
        records
            .freshness()
            .is_fresh(began + STALENESS_MAX.saturating_sub(Duration::from_millis(1)))
    );
    assert!(!records.freshness().is_fresh(Instant::now() + STALENESS_MAX));
}

#[tokio::test]
async fn gap_empties_the_cache_and_is_read_over() {
    let records = fresh_records(&[1, 2]);
    let (mut follower, _) = follower(&records);
    records.find(id(1), Instant::now()).await.unwrap();
    records.store().remove(id(1));
    records.store().announce(Feed::Gap { next: FeedCursor::at(9) });
    records.store().announce(deleted(&[2], 10, false));
    follower.catch_up().await.unwrap();
    assert!(records.find(id(1), Instant::now()).await.unwrap().is_none());
    assert!(records.deleted().contains(id(2)));
}

/// A stream may belong to a token whose deletion was lost in the gap.
#[tokio::test]
async fn gap_cuts_the_streams_of_tokens_that_are_gone() {
    let records = fresh_records(&[1, 2]);
    let (mut follower, streams) = follower(&records);
    let (_gone, mut gone_cut) = streams.open(stream_of(1, 4)).unwrap();
    let (_live, mut live_cut) = streams.open(stream_of(2, 4)).unwrap();
    records.store().remove(id(1));
    records.store().announce(Feed::Gap { next: FeedCursor::at(9) });
    follower.catch_up().await.unwrap();
    assert_eq!(gone_cut.try_recv(), Ok(Cut::TokenRevoked));
    assert_eq!(live_cut.try_recv(), Err(TryRecvError::Empty));
    assert!(records.deleted().contains(id(1)));
}

#[tokio::test(start_paused = true)]
async fn deleted_ids_are_given_up_in_time() {
    let records = fresh_records(&[]);
    let (mut follower, _) = follower(&records);
    records.deleted().insert(id(1), monotonic());
    tokio::time::advance(Duration::from_mins(10)).await;
    records.deleted().insert(id(2), monotonic());
    follower.catch_up().await.unwrap();
    assert!(!records.deleted().contains(id(1)));
    assert!(records.deleted().contains(id(2)));
}

/// What was looked up before there was a place to begin at may have been deleted unnoticed.
#[tokio::test]
async fn first_read_counts_as_a_gap() {
    let records = records(&[1]);
    let (mut follower, streams) = follower(&records);
    let (_gone, mut gone_cut) = streams.open(stream_of(1, 4)).unwrap();
    let generation = records.generation();
    records.store().remove(id(1));
    follower.catch_up().await.unwrap();
    assert_ne!(records.generation(), generation);
    assert_eq!(gone_cut.try_recv(), Ok(Cut::TokenRevoked));
}
