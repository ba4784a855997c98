//! Records to try a store with, and the few steps that claims are made of.

use jiff::{SignedDuration, Timestamp};

use super::now;
use crate::policy::{AgentId, BoundHost, Grant, Permission, Permissions, PolicyEntry};
use crate::store::{DeleteOutcome, Deletion, Feed, FeedCursor, ListQuery, TokenStore};
use crate::token::{AccountName, Record, TokenId, TokenLimits};

pub(in crate::store) fn account(name: &str) -> AccountName {
    AccountName::parse(name).unwrap()
}

/// The agent number `n`.
pub(in crate::store) fn agent(n: u64) -> AgentId {
    AgentId::parse(&format!("agent-11111111-1111-4111-8111-{n:012x}")).unwrap()
}

pub(in crate::store) fn entry(agent: AgentId, access: &[Permission]) -> PolicyEntry {
    PolicyEntry { agent, access: access.iter().copied().collect() }
}

/// An hour's token of account `acme` for agent 1, made at `created_at`.
pub(in crate::store) fn record_made_at(created_at: Timestamp) -> Record {
    Record {
        id: TokenId::generate(created_at).unwrap(),
        key_id: 1,
        account: account("acme"),
        created_at,
        hostname: "https://chat.example.com".into(),
        grant: Grant {
            host: BoundHost::parse("https://chat.example.com").unwrap(),
            expires_at: created_at + SignedDuration::from_hours(1),
            entries: [PolicyEntry {
                agent: agent(1),
                access: [Permission::ReadMessages, Permission::WriteMessages].into_iter().collect(),
            }]
            .into(),
        },
        limits: TokenLimits::NONE,
    }
}

pub(in crate::store) fn record() -> Record {
    record_made_at(now())
}

/// Records made one millisecond after the other, oldest first.
pub(in crate::store) fn records(count: usize) -> Vec<Record> {
    (0_i64..).take(count).map(|n| record_made_at(now() + SignedDuration::from_millis(n))).collect()
}

pub(in crate::store) fn every_set_of_permissions() -> impl Iterator<Item = Permissions> {
    (1..16).filter_map(Permissions::from_bits)
}

/// `acme`'s live tokens under key 1, from the newest.
pub(in crate::store) fn listing() -> ListQuery {
    ListQuery {
        account: account("acme"),
        agent: None,
        key_ids: vec![1],
        now: now(),
        before: None,
        offset: 0,
        limit: 1000,
    }
}

pub(in crate::store) async fn create_all(store: &impl TokenStore, records: &[Record]) {
    for record in records {
        store.create(record.clone()).await.unwrap();
    }
}

pub(in crate::store) async fn listed(store: &impl TokenStore, query: ListQuery) -> Vec<TokenId> {
    store.list(query).await.unwrap().records.iter().map(|record| record.id).collect()
}

pub(in crate::store) fn ids(records: &[Record]) -> Vec<TokenId> {
    records.iter().map(|record| record.id).collect()
}

pub(in crate::store) fn newest_first(records: &[Record]) -> Vec<TokenId> {
    ids(records).into_iter().rev().collect()
}

pub(in crate::store) fn deletion(record: &Record) -> Deletion {
    Deletion {
        account: record.account.clone(),
        id: record.id,
        expires_at: record.grant.expires_at,
        now: now(),
    }
}

pub(in crate::store) async fn delete(store: &impl TokenStore, record: &Record) -> DeleteOutcome {
    store.delete(deletion(record)).await.unwrap()
}

/// Calls sweep until nothing is left to do; returns how many rows went.
pub(in crate::store) async fn sweep_all(store: &impl TokenStore, expired_before: Timestamp) -> u32 {
    let mut rows = 0;
    loop {
        match store.sweep(expired_before, 1000).await.unwrap() {
            0 => return rows,
            step => rows += step,
        }
    }
}

pub(in crate::store) async fn feed_end(store: &impl TokenStore) -> FeedCursor {
    match store.deletions(None).await.unwrap() {
        Feed::Deletions { ids, next, has_next: false } if ids.is_empty() => next,
        other => panic!("asked for the end of the feed, was told {other:?}"),
    }
}

/// Everything after the cursor, page by page, and the cursor after it.
pub(in crate::store) async fn feed_after(
    store: &impl TokenStore,
    mut since: FeedCursor,
) -> (Vec<TokenId>, FeedCursor) {
    let mut all = Vec::new();
    loop {
        match store.deletions(Some(since)).await.unwrap() {
            Feed::Deletions { ids, next, has_next } => {
                all.extend(ids);
                since = next;
                if !has_next {
                    return (all, since);
                }
            }
            Feed::Gap { .. } => panic!("the feed has a gap at {since}"),
        }
    }
}

pub(in crate::store) fn sorted(mut ids: Vec<TokenId>) -> Vec<TokenId> {
    ids.sort_unstable();
    ids
}
