//! Claims about lists: what is in them, in which order, and how pages join.

use jiff::SignedDuration;

use super::records::{
    account, agent, create_all, delete, entry, ids, listed, listing, newest_first, records,
};
use super::{Engine, now};
use crate::policy::Permission;
use crate::store::{ListQuery, TokenStore};
use crate::token::TokenId;

/// Every page of `query`, joined.
async fn paged(store: &impl TokenStore, query: &ListQuery) -> Vec<TokenId> {
    let mut all = Vec::new();
    loop {
        let offset = all.len() as u64;
        let page = store.list(ListQuery { offset, ..query.clone() }).await.unwrap();
        assert!(page.records.len() <= query.limit as usize);
        all.extend(ids(&page.records));
        if !page.has_next {
            return all;
        }
    }
}

pub(in crate::store) async fn list_is_newest_first(engine: &impl Engine) {
    let made = records(10);
    // The order in which they arrive must not matter.
    let (even, odd): (Vec<_>, Vec<_>) = (0..10).partition(|n| n % 2 == 0);
    for n in odd.into_iter().chain(even) {
        engine.store().create(made[n].clone()).await.unwrap();
    }
    assert_eq!(listed(engine.store(), listing()).await, newest_first(&made));
    let page = engine.store().list(listing()).await.unwrap();
    assert_eq!(page.records.first(), made.last());
}

pub(in crate::store) async fn pages_join_into_the_whole_list(engine: &impl Engine) {
    let mut made = records(23);
    // Tokens of the same millisecond too.
    made.extend(records(4));
    create_all(engine.store(), &made).await;
    let whole = listed(engine.store(), listing()).await;
    assert_eq!(whole.len(), 27);
    for limit in [1, 4, 9, 26, 27, 28] {
        assert_eq!(paged(engine.store(), &ListQuery { limit, ..listing() }).await, whole);
    }
}

pub(in crate::store) async fn pages_before_an_id_join_into_the_whole_list(engine: &impl Engine) {
    let mut made = records(9);
    // Tokens of the same millisecond too.
    made.extend(records(4));
    create_all(engine.store(), &made).await;
    for agent in [None, Some(agent(1))] {
        let whole = listed(engine.store(), ListQuery { agent, ..listing() }).await;
        let mut joined = Vec::new();
        loop {
            let before = joined.last().copied();
            let query = ListQuery { agent, before, limit: 4, ..listing() };
            let page = engine.store().list(query).await.unwrap();
            joined.extend(ids(&page.records));
            if !page.has_next {
                break;
            }
        }
        assert_eq!((joined.len(), joined), (13, whole));
    }
    let before = Some(TokenId::from_bytes([0; 16]));
    let none = engine.store().list(ListQuery { before, ..listing() }).await.unwrap();
    assert!(none.records.is_empty() && !none.has_next);
}

pub(in crate::store) async fn page_past_the_end_is_empty(engine: &impl Engine) {
    create_all(engine.store(), &records(3)).await;
    for offset in [3, 4, u64::from(u32::MAX), u64::MAX] {
        let page = engine.store().list(ListQuery { offset, ..listing() }).await.unwrap();
        assert!(page.records.is_empty() && !page.has_next);
    }
}

pub(in crate::store) async fn empty_page_tells_whether_something_follows(engine: &impl Engine) {
    let none = ListQuery { limit: 0, ..listing() };
    assert!(!engine.store().list(none.clone()).await.unwrap().has_next);
    create_all(engine.store(), &records(1)).await;
    let page = engine.store().list(none).await.unwrap();
    assert!(page.records.is_empty() && page.has_next);
}

pub(in crate::store) async fn list_names_only_the_accounts_own(engine: &impl Engine) {
    let mut made = records(6);
    for (record, name) in made.iter_mut().zip(["acme", "acme2", "acm", "acme", "_", "acme-"]) {
        record.account = account(name);
    }
    create_all(engine.store(), &made).await;
    for agent in [None, Some(agent(1))] {
        let query = ListQuery { agent, ..listing() };
        assert_eq!(listed(engine.store(), query).await, [made[3].id, made[0].id]);
    }
}

pub(in crate::store) async fn list_names_only_live_tokens(engine: &impl Engine) {
    let mut made = records(5);
    for (record, milliseconds) in made.iter_mut().zip([1, 0, -1, 3_600_000, 3_600_000]) {
        record.grant.expires_at = now() + SignedDuration::from_millis(milliseconds);
    }
    create_all(engine.store(), &made).await;
    delete(engine.store(), &made[4]).await;
    for agent in [None, Some(agent(1))] {
        let query = ListQuery { agent, ..listing() };
        assert_eq!(listed(engine.store(), query).await, [made[3].id, made[0].id]);
    }
}

pub(in crate::store) async fn list_names_only_tokens_of_the_agent(engine: &impl Engine) {
    let read = [Permission::ReadAgent];
    let mut made = records(4);
    made[1].grant.entries = [entry(agent(2), &read)].into();
    made[2].grant.entries = vec![entry(agent(3), &read), entry(agent(2), &read)].into();
    made[3].grant.entries = (3..103).map(|n| entry(agent(n), &read)).collect();
    create_all(engine.store(), &made).await;
    let cases = [
        (agent(1), vec![made[0].id]),
        (agent(2), vec![made[2].id, made[1].id]),
        (agent(3), vec![made[3].id, made[2].id]),
        (agent(102), vec![made[3].id]),
        (agent(103), vec![]),
    ];
    for (agent, expected) in cases {
        let query = ListQuery { agent: Some(agent), ..listing() };
        assert_eq!(listed(engine.store(), query).await, expected);
    }
}

pub(in crate::store) async fn list_names_only_tokens_of_the_keys(engine: &impl Engine) {
    let mut made = records(4);
    for (record, key_id) in made.iter_mut().zip([0, 1, 2, 255]) {
        record.key_id = key_id;
    }
    create_all(engine.store(), &made).await;
    for agent in [None, Some(agent(1))] {
        for (key_ids, expected) in [
            (vec![], vec![]),
            (vec![2], vec![made[2].id]),
            (vec![0, 255], vec![made[3].id, made[0].id]),
            (vec![255, 0, 1, 2, 3, 1], newest_first(&made)),
            ((0..=255).collect(), newest_first(&made)),
        ] {
            let query = ListQuery { agent, key_ids, ..listing() };
            assert_eq!(listed(engine.store(), query).await, expected);
        }
    }
}

pub(in crate::store) async fn filtered_pages_join_into_the_whole_list(engine: &impl Engine) {
    let mut made = records(30);
    for (n, record) in made.iter_mut().enumerate() {
        record.key_id = if n % 5 == 0 { 9 } else { 1 };
        if n % 3 == 0 {
            record.grant.entries = [entry(agent(2), &[Permission::ReadAgent])].into();
        }
    }
    create_all(engine.store(), &made).await;
    for agent in [None, Some(agent(1)), Some(agent(2))] {
        let query = ListQuery { agent, ..listing() };
        let whole = listed(engine.store(), query.clone()).await;
        assert_eq!(paged(engine.store(), &ListQuery { limit: 3, ..query }).await, whole);
    }
}

pub(in crate::store) async fn new_token_leaves_the_pages_behind_it_in_order(engine: &impl Engine) {
    let made = records(6);
    create_all(engine.store(), &made[..5]).await;
    let page = |offset| ListQuery { offset, limit: 2, ..listing() };
    assert_eq!(listed(engine.store(), page(0)).await, [made[4].id, made[3].id]);
    create_all(engine.store(), &made[5..]).await;
    // One new token moves everything by one place, and nothing otherwise.
    assert_eq!(listed(engine.store(), page(2)).await, [made[3].id, made[2].id]);
    assert_eq!(listed(engine.store(), page(4)).await, [made[1].id, made[0].id]);
}
