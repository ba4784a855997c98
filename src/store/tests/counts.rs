//! Claims about what is counted of tokens.

use jiff::SignedDuration;

use super::records::{create_all, delete, record, records, sweep_all};
use super::{Engine, at_ms, now};
use crate::policy::Permission;
use crate::store::{TokenStore as _, Usage};
use crate::token::TokenId;

fn used(id: TokenId, permission: Permission, requests: u64, last_used_ms: i64) -> Usage {
    Usage { id, permission, requests, last_used_at: at_ms(last_used_ms) }
}

/// What is counted of these, in order.
async fn counted(engine: &impl Engine, ids: &[TokenId]) -> Vec<Usage> {
    let mut counted = engine.store().usage(ids.to_vec()).await.unwrap();
    counted.sort_by_key(|one| (one.id, one.permission.index()));
    counted
}

pub(in crate::store) async fn unused_token_has_no_counts(engine: &impl Engine) {
    let made = record();
    engine.store().create(made.clone()).await.unwrap();
    assert_eq!(counted(engine, &[made.id]).await, []);
    assert_eq!(counted(engine, &[]).await, []);
}

pub(in crate::store) async fn counts_of_all_gates_add_up(engine: &impl Engine) {
    let made = records(2);
    create_all(engine.store(), &made).await;
    let other = engine.another_gate();
    let [one, two] = [made[0].id, made[1].id];
    let read = Permission::ReadMessages;
    engine
        .store()
        .add_usage(vec![used(one, read, 3, 1000), used(two, read, 1, 1000)])
        .await
        .unwrap();
    let write = used(one, Permission::WriteMessages, 2, 1500);
    other.add_usage(vec![used(one, read, 4, 2000), write]).await.unwrap();
    let expected = [used(one, read, 7, 2000), write, used(two, read, 1, 1000)];
    assert_eq!(counted(engine, &[one, two]).await, expected);
    assert_eq!(counted(engine, &[two]).await, expected[2..]);
}

pub(in crate::store) async fn last_use_never_goes_back(engine: &impl Engine) {
    let made = record();
    engine.store().create(made.clone()).await.unwrap();
    let read = Permission::ReadMessages;
    for last in [2000, 1000] {
        engine.store().add_usage(vec![used(made.id, read, 1, last)]).await.unwrap();
    }
    assert_eq!(counted(engine, &[made.id]).await, [used(made.id, read, 2, 2000)]);
}

pub(in crate::store) async fn counts_of_what_does_not_exist_are_dropped(engine: &impl Engine) {
    let made = records(2);
    engine.store().create(made[0].clone()).await.unwrap();
    let read = Permission::ReadMessages;
    let both = vec![used(made[1].id, read, 5, 1000), used(made[0].id, read, 1, 1000)];
    engine.store().add_usage(both).await.unwrap();
    engine.store().create(made[1].clone()).await.unwrap();
    let ids = [made[0].id, made[1].id];
    assert_eq!(counted(engine, &ids).await, [used(made[0].id, read, 1, 1000)]);
}

pub(in crate::store) async fn deletion_takes_counts_along(engine: &impl Engine) {
    let made = records(2);
    create_all(engine.store(), &made).await;
    let both: Vec<Usage> =
        made.iter().map(|made| used(made.id, Permission::ReadAgent, 1, 1000)).collect();
    engine.store().add_usage(both.clone()).await.unwrap();
    delete(engine.store(), &made[0]).await;
    let ids = [made[0].id, made[1].id];
    assert_eq!(counted(engine, &ids).await, both[1..]);
    // What a gate had counted before it heard of the deletion.
    engine.store().add_usage(both).await.unwrap();
    assert_eq!(counted(engine, &ids[..1]).await, []);
}

pub(in crate::store) async fn sweep_takes_counts_along(engine: &impl Engine) {
    let mut made = records(2);
    made[1].grant.expires_at = now() + SignedDuration::from_hours(5);
    create_all(engine.store(), &made).await;
    let both: Vec<Usage> =
        made.iter().map(|made| used(made.id, Permission::WriteAgent, 1, 1000)).collect();
    engine.store().add_usage(both.clone()).await.unwrap();
    sweep_all(engine.store(), now() + SignedDuration::from_hours(2)).await;
    assert_eq!(counted(engine, &[made[0].id, made[1].id]).await, both[1..]);
}

pub(in crate::store) async fn many_counts_at_once_are_each_kept(engine: &impl Engine) {
    let made = records(300);
    create_all(engine.store(), &made).await;
    let mut all = Vec::new();
    for permission in Permission::ALL {
        all.extend(made.iter().map(|made| used(made.id, permission, 1, 1000)));
    }
    engine.store().add_usage(all.clone()).await.unwrap();
    // In another order, as another gate would.
    all.reverse();
    engine.store().add_usage(all).await.unwrap();
    let ids: Vec<TokenId> = made.iter().map(|made| made.id).collect();
    let counted = counted(engine, &ids).await;
    assert_eq!(counted.len(), 4 * 300);
    assert!(counted.iter().all(|one| one.requests == 2));
}
