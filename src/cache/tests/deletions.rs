use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::DeletedIds;
use super::{LIFETIME_MAX, LOOKUP_TIMEOUT, deletion, fresh_records, id, record};
use crate::store::DeleteOutcome;
use crate::token::AccountName;

/// Attack C-01.
#[tokio::test]
async fn deleted_token_is_refused_at_the_next_request() {
    let records = fresh_records(&[1, 2]);
    for number in [1, 2] {
        assert!(records.find(id(number), Instant::now()).await.unwrap().is_some());
    }
    assert_eq!(records.delete(deletion(1)).await.unwrap(), DeleteOutcome::Deleted);
    assert!(records.find(id(1), Instant::now()).await.unwrap().is_none());
    assert!(records.find(id(2), Instant::now()).await.unwrap().is_some());
}

/// Attack C-03: the look-up has read the record; the deletion comes before its answer, and the
/// cache keeps the dead record.
#[tokio::test]
async fn deletion_during_a_lookup_is_not_undone_by_it() {
    let records = fresh_records(&[1]);
    records.store().hold_back();
    let early = {
        let records = Arc::clone(&records);
        tokio::spawn(async move { records.find(id(1), Instant::now()).await })
    };
    records.store().asked(1).await;
    records.delete(deletion(1)).await.unwrap();
    records.store().answer(1);
    assert!(early.await.unwrap().unwrap().is_none());
    records.store().fail(true);
    assert!(records.find(id(1), Instant::now()).await.unwrap().is_none());
}

/// The same, while the feed is not confirmed and every request asks the store.
#[tokio::test]
async fn deletion_during_an_uncached_lookup_is_felt() {
    let records = super::records(&[1]);
    records.store().hold_back();
    let early = {
        let records = Arc::clone(&records);
        tokio::spawn(async move { records.find(id(1), Instant::now()).await })
    };
    records.store().asked(1).await;
    records.delete(deletion(1)).await.unwrap();
    records.store().answer(1);
    assert!(early.await.unwrap().unwrap().is_none());
}

/// Attack C-06: what was not persisted is not claimed, and changes nothing.
#[tokio::test]
async fn failed_deletion_deletes_nothing() {
    let records = fresh_records(&[1]);
    records.find(id(1), Instant::now()).await.unwrap();
    records.store().fail(true);
    assert!(records.delete(deletion(1)).await.is_err());
    assert!(records.deleted().is_empty());
    assert!(records.find(id(1), Instant::now()).await.unwrap().is_some());
}

#[tokio::test]
async fn anothers_deletion_changes_nothing() {
    let records = fresh_records(&[1]);
    let mut deletion = deletion(1);
    deletion.account = AccountName::parse("other").unwrap();
    assert_eq!(records.delete(deletion).await.unwrap(), DeleteOutcome::NotYours);
    assert!(records.find(id(1), Instant::now()).await.unwrap().is_some());
}

#[tokio::test]
async fn deletion_of_what_is_gone_is_felt_too() {
    let records = fresh_records(&[1]);
    records.find(id(1), Instant::now()).await.unwrap();
    records.store().remove(id(1));
    assert_eq!(records.delete(deletion(1)).await.unwrap(), DeleteOutcome::AlreadyGone);
    assert!(records.find(id(1), Instant::now()).await.unwrap().is_none());
}

/// After a gap in the feed nothing that was looked up before it is trusted.
#[tokio::test]
async fn gap_forgets_what_is_cached() {
    let records = fresh_records(&[1]);
    records.find(id(1), Instant::now()).await.unwrap();
    records.store().remove(id(1));
    let generation = records.generation();
    records.forget_all();
    assert_ne!(records.generation(), generation);
    assert!(records.find(id(1), Instant::now()).await.unwrap().is_none());
    assert_eq!(records.store().lookups(), 2);
}

#[tokio::test]
async fn lookup_begun_before_a_gap_is_made_again() {
    let records = fresh_records(&[1]);
    records.store().hold_back();
    let early = {
        let records = Arc::clone(&records);
        tokio::spawn(async move { records.find(id(1), Instant::now()).await })
    };
    records.store().asked(1).await;
    records.store().remove(id(1));
    records.forget_all();
    records.store().answer(10);
    assert!(early.await.unwrap().unwrap().is_none());
    assert!(records.find(id(1), Instant::now()).await.unwrap().is_none());
}

/// A deleted id is kept for longer than anything that could still bring its record back.
#[tokio::test]
async fn deleted_ids_outlive_whatever_holds_their_record() {
    let records = fresh_records(&[1]);
    let began = Instant::now();
    records.forget(id(1)).await;
    let longest_life = LOOKUP_TIMEOUT + 2 * LIFETIME_MAX;
    records.deleted().prune(began + longest_life);
    assert!(records.deleted().contains(id(1)));
    records.deleted().prune(began + longest_life + Duration::from_hours(1));
    assert!(records.deleted().is_empty());
}

#[test]
fn epoch_moves_with_every_addition() {
    let deleted = DeletedIds::new(Duration::from_secs(1));
    let now = Instant::now();
    let before = deleted.epoch();
    deleted.insert(id(1), now);
    let between = deleted.epoch();
    deleted.insert(id(1), now);
    assert!(before < between && between < deleted.epoch());
    assert_eq!(deleted.len(), 1);
}

#[test]
fn prune_takes_only_what_is_old_enough() {
    let deleted = DeletedIds::new(Duration::from_secs(10));
    let began = Instant::now();
    deleted.insert(record(1).id, began);
    deleted.insert(record(2).id, began + Duration::from_secs(1));
    deleted.prune(began + Duration::from_secs(10));
    assert!(!deleted.contains(id(1)) && deleted.contains(id(2)));
}
