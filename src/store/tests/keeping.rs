//! Claims about single records: kept as given, gone when deleted, never guessed at.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::records::{
    account, agent, create_all, delete, deletion, entry, every_set_of_permissions, feed_after,
    feed_end, listed, listing, record, record_made_at, records, sweep_all,
};
use super::{Engine, at_ms, now};
use crate::policy::{BoundHost, Permission, PolicyEntry};
use crate::store::{DeleteOutcome, Deletion, ListQuery, SWEEP_LIMIT_MAX, StoreError, TokenStore};
use crate::token::TokenId;

pub(in crate::store) async fn record_comes_back_as_it_went_in(engine: &impl Engine) {
    let hostnames = [
        "https://chat.example.com",
        "HTTPS://Chat.Example.com:443/",
        "http://localhost:3000",
        "chat.example.com",
        "chat.example.com:8080",
        "https://bücher.example",
        "http://[2001:DB8::1]:8080",
        "127.0.0.1",
    ];
    for (key_id, hostname) in [0, 1, 2, 7, 127, 128, 254, 255].into_iter().zip(hostnames) {
        let mut record = record();
        record.key_id = key_id;
        record.account = account(&"a-_9".repeat(16));
        record.hostname = hostname.into();
        record.grant.host = BoundHost::parse(hostname).unwrap();
        record.grant.entries = (1..)
            .zip(every_set_of_permissions())
            .map(|(n, access)| PolicyEntry { agent: agent(n), access })
            .collect();
        engine.store().create(record.clone()).await.unwrap();
        assert_eq!(engine.store().get(record.id).await.unwrap(), Some(record));
    }
}

pub(in crate::store) async fn times_come_back_to_the_millisecond(engine: &impl Engine) {
    let end_of_time = at_ms(Timestamp::MAX.as_millisecond());
    let year_9999: Timestamp = "9999-12-30T21:59:59.999Z".parse().unwrap();
    for expires_at in [end_of_time, year_9999, at_ms(1_800_000_000_001), at_ms(1)] {
        let mut record = record_made_at(at_ms(1_799_999_999_999));
        record.grant.expires_at = expires_at;
        engine.store().create(record.clone()).await.unwrap();
        assert_eq!(engine.store().get(record.id).await.unwrap(), Some(record));
    }
}

pub(in crate::store) async fn created_record_is_seen_by_another_gate_at_once(engine: &impl Engine) {
    let other = engine.another_gate();
    for record in records(20) {
        engine.store().create(record.clone()).await.unwrap();
        assert_eq!(other.get(record.id).await.unwrap(), Some(record));
    }
}

pub(in crate::store) async fn unknown_token_is_none(engine: &impl Engine) {
    create_all(engine.store(), &records(3)).await;
    assert_eq!(engine.store().get(record().id).await.unwrap(), None);
    assert_eq!(engine.store().get(TokenId::from_bytes([0; 16])).await.unwrap(), None);
    assert_eq!(engine.store().get(TokenId::from_bytes([255; 16])).await.unwrap(), None);
}

pub(in crate::store) async fn expired_record_is_there_until_it_is_swept(engine: &impl Engine) {
    let mut record = record();
    record.grant.expires_at = at_ms(1);
    engine.store().create(record.clone()).await.unwrap();
    assert_eq!(engine.store().get(record.id).await.unwrap(), Some(record.clone()));
    engine.store().sweep(now(), 1).await.unwrap();
    assert_eq!(engine.store().get(record.id).await.unwrap(), None);
}

pub(in crate::store) async fn taken_id_is_refused_and_the_record_stays(engine: &impl Engine) {
    let first = record();
    let mut second = first.clone();
    second.account = account("other");
    second.grant.entries = [entry(agent(2), &[Permission::WriteAgent])].into();
    engine.store().create(first.clone()).await.unwrap();
    assert!(engine.store().create(second).await.is_err());
    assert_eq!(engine.store().get(first.id).await.unwrap(), Some(first));
    let of_second = ListQuery { account: account("other"), agent: Some(agent(2)), ..listing() };
    assert_eq!(listed(engine.store(), of_second).await, []);
}

pub(in crate::store) async fn deleted_record_is_gone_everywhere(engine: &impl Engine) {
    let record = record();
    engine.store().create(record.clone()).await.unwrap();
    assert_eq!(delete(engine.store(), &record).await, DeleteOutcome::Deleted);
    assert_eq!(engine.store().get(record.id).await.unwrap(), None);
    assert_eq!(listed(engine.store(), listing()).await, []);
    let by_agent = ListQuery { agent: Some(agent(1)), ..listing() };
    assert_eq!(listed(engine.store(), by_agent).await, []);
    let hosts = [(); 3].map(|()| record.grant.host.serialised().to_owned());
    assert!(!engine.store().host_is_bound(hosts, now()).await.unwrap());
}

pub(in crate::store) async fn deletion_is_seen_by_another_gate_at_once(engine: &impl Engine) {
    let other = engine.another_gate();
    for record in records(20) {
        engine.store().create(record.clone()).await.unwrap();
        assert_eq!(delete(engine.store(), &record).await, DeleteOutcome::Deleted);
        assert_eq!(other.get(record.id).await.unwrap(), None);
    }
}

pub(in crate::store) async fn deleting_again_is_already_gone(engine: &impl Engine) {
    let record = record();
    engine.store().create(record.clone()).await.unwrap();
    assert_eq!(delete(engine.store(), &record).await, DeleteOutcome::Deleted);
    assert_eq!(delete(engine.store(), &record).await, DeleteOutcome::AlreadyGone);
    assert_eq!(delete(&engine.another_gate(), &record).await, DeleteOutcome::AlreadyGone);
}

pub(in crate::store) async fn deleting_anothers_is_not_yours_and_changes_nothing(
    engine: &impl Engine,
) {
    let record = record();
    engine.store().create(record.clone()).await.unwrap();
    let start = feed_end(engine.store()).await;
    let thief = Deletion { account: account("acme2"), ..deletion(&record) };
    assert_eq!(engine.store().delete(thief).await.unwrap(), DeleteOutcome::NotYours);
    assert_eq!(engine.store().get(record.id).await.unwrap(), Some(record));
    assert_eq!(feed_after(engine.store(), start).await, (vec![], start));
}

pub(in crate::store) async fn deleting_anothers_deleted_token_is_not_yours(engine: &impl Engine) {
    let record = record();
    engine.store().create(record.clone()).await.unwrap();
    delete(engine.store(), &record).await;
    let thief = Deletion { account: account("acme2"), ..deletion(&record) };
    assert_eq!(engine.store().delete(thief).await.unwrap(), DeleteOutcome::NotYours);
}

pub(in crate::store) async fn deleting_what_was_swept_is_already_gone(engine: &impl Engine) {
    let record = record();
    engine.store().create(record.clone()).await.unwrap();
    sweep_all(engine.store(), record.grant.expires_at).await;
    assert_eq!(delete(engine.store(), &record).await, DeleteOutcome::AlreadyGone);
}

pub(in crate::store) async fn one_of_many_deleters_deletes(engine: &impl Engine) {
    let stores = [Arc::new(engine.another_gate()), Arc::new(engine.another_gate())];
    for record in records(10) {
        engine.store().create(record.clone()).await.unwrap();
        let deleters: Vec<_> = (0..8)
            .map(|n| {
                let store = Arc::clone(if n % 2 == 0 { &stores[0] } else { &stores[1] });
                let deletion = deletion(&record);
                tokio::spawn(async move { store.delete(deletion).await.unwrap() })
            })
            .collect();
        let mut deleted = 0;
        for deleter in deleters {
            deleted += usize::from(deleter.await.unwrap() == DeleteOutcome::Deleted);
        }
        assert_eq!(deleted, 1);
    }
}

pub(in crate::store) async fn unreadable_record_is_an_error_and_not_none(engine: &impl Engine) {
    let (damaged, whole) = (record(), record());
    create_all(engine.store(), &[damaged.clone(), whole.clone()]).await;
    engine.damage_policy(damaged.id);
    for answer in [
        engine.store().get(damaged.id).await.map(drop),
        engine.store().list(listing()).await.map(drop),
    ] {
        assert!(matches!(answer, Err(StoreError::Unreadable { id, .. }) if id == damaged.id));
    }
    assert_eq!(engine.store().get(whole.id).await.unwrap(), Some(whole));
}

pub(in crate::store) async fn unreadable_record_can_be_deleted_and_swept(engine: &impl Engine) {
    let (first, second) = (record(), record());
    create_all(engine.store(), &[first.clone(), second.clone()]).await;
    engine.damage_policy(first.id);
    engine.damage_policy(second.id);
    assert_eq!(delete(engine.store(), &first).await, DeleteOutcome::Deleted);
    assert_eq!(sweep_all(engine.store(), second.grant.expires_at).await, 1);
    let by_agent = ListQuery { agent: Some(agent(1)), ..listing() };
    assert_eq!(listed(engine.store(), by_agent).await, []);
}

pub(in crate::store) async fn host_is_bound_while_a_token_lives(engine: &impl Engine) {
    let record = record();
    let hosts = [(); 3].map(|()| record.grant.host.serialised().to_owned());
    assert!(!engine.store().host_is_bound(hosts.clone(), now()).await.unwrap());
    engine.store().create(record.clone()).await.unwrap();
    let last_moment = record.grant.expires_at - SignedDuration::from_millis(1);
    assert!(engine.store().host_is_bound(hosts.clone(), last_moment).await.unwrap());
    assert!(!engine.store().host_is_bound(hosts, record.grant.expires_at).await.unwrap());
}

pub(in crate::store) async fn host_is_bound_by_any_of_the_three(engine: &impl Engine) {
    engine.store().create(record()).await.unwrap();
    let bound = "https://chat.example.com";
    let others = ["https://chat.example.co", "chat.example.com", "https://chat.example.com:444"];
    let hosts = |three: [&str; 3]| three.map(str::to_owned);
    for three in [[bound, others[0], others[1]], [others[0], bound, ""], ["", "", bound]] {
        assert!(engine.store().host_is_bound(hosts(three), now()).await.unwrap());
    }
    assert!(!engine.store().host_is_bound(hosts(others), now()).await.unwrap());
}

pub(in crate::store) async fn sweep_takes_what_has_expired_and_nothing_else(engine: &impl Engine) {
    let mut three = records(3);
    for (record, milliseconds) in three.iter_mut().zip([-1, 0, 1]) {
        record.grant.expires_at = now() + SignedDuration::from_millis(milliseconds);
    }
    create_all(engine.store(), &three).await;
    assert_eq!(engine.store().sweep(now(), 1000).await.unwrap(), 2);
    assert_eq!(engine.store().sweep(now(), 1000).await.unwrap(), 0);
    let mut left = Vec::new();
    for record in &three {
        left.push(engine.store().get(record.id).await.unwrap().is_some());
    }
    assert_eq!(left, [false, false, true]);
}

/// however many expire at once.
pub(in crate::store) async fn sweep_goes_in_small_steps(engine: &impl Engine) {
    let many = records(SWEEP_LIMIT_MAX as usize + 10);
    create_all(engine.store(), &many).await;
    let later = now() + SignedDuration::from_hours(2);
    assert_eq!(engine.store().sweep(later, 0).await.unwrap(), 0);
    assert_eq!(engine.store().sweep(later, 3).await.unwrap(), 3);
    assert_eq!(engine.store().sweep(later, u32::MAX).await.unwrap(), SWEEP_LIMIT_MAX);
    assert_eq!(engine.store().sweep(later, u32::MAX).await.unwrap(), 7);
    assert_eq!(engine.store().sweep(later, u32::MAX).await.unwrap(), 0);
}

pub(in crate::store) async fn sweep_takes_agents_along(engine: &impl Engine) {
    let record = record();
    engine.store().create(record.clone()).await.unwrap();
    sweep_all(engine.store(), record.grant.expires_at).await;
    let by_agent = ListQuery { agent: Some(agent(1)), ..listing() };
    let page = engine.store().list(by_agent).await.unwrap();
    assert!(page.records.is_empty() && !page.has_next);
}
