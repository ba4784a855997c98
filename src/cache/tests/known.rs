use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Found, Front, NotKnown, Rates, Records, Sources};
use super::store::FakeStore;
use super::{fresh_records, id, no_limits, now, record};
use crate::clock::monotonic;
use crate::telemetry::Metrics;
use crate::token::{KeyRing, MasterKey, TokenBytes, TokenDigits};

/// One core, and a client that holds token 1.
struct Core {
    front: RefCell<Front>,
    keys: KeyRing,
    records: Arc<Records<FakeStore>>,
    rates: Rates,
    metrics: Metrics,
    token: TokenDigits,
}

impl Core {
    fn new() -> Rc<Self> {
        let keys = KeyRing::new(&[(1, MasterKey::parse(&"A".repeat(43)).unwrap())]).unwrap();
        let text = keys.render(1, id(1), record(1).grant.expires_at).unwrap();
        let records = fresh_records(&[1]);
        Rc::new(Self {
            front: RefCell::new(records.front()),
            token: TokenDigits::of(text.expose().as_bytes()).unwrap(),
            keys,
            records,
            rates: Rates::new(no_limits(), HashMap::new(), 10),
            metrics: Metrics::default(),
        })
    }

    async fn find(&self) -> Result<(), NotKnown> {
        let sources = Sources {
            front: &self.front,
            keys: &self.keys,
            records: &self.records,
            rates: &self.rates,
            metrics: &self.metrics,
        };
        sources.find(&self.token, now()).await.map(drop)
    }
}

fn found_now(records: &Records<FakeStore>) -> Found {
    Found { since: monotonic(), until: monotonic(), generation: records.generation() }
}

#[tokio::test]
async fn second_use_is_answered_by_the_core_itself() {
    let core = Core::new();
    core.find().await.unwrap();
    core.records.store().fail(true);
    core.records.forget(id(2)).await;
    core.find().await.unwrap();
    assert_eq!(core.records.store().lookups(), 1);
}

/// The feed has a gap while the record is looked up, and another while it is looked up again for
/// that reason. The deletion that was lost in the second is not admitted, nor ever cached.
#[tokio::test]
async fn deletion_lost_in_a_gap_during_a_lookup_is_felt() {
    for gaps in 1..=2 {
        let core = Core::new();
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let store = core.records.store();
                store.hold_back();
                let early = tokio::task::spawn_local({
                    let core = Rc::clone(&core);
                    async move { core.find().await }
                });
                // Each look-up has read the live record when the gap comes.
                for gap in 1..=gaps {
                    store.asked(gap).await;
                    if gap == gaps {
                        store.remove(id(1));
                    }
                    core.records.forget_all();
                    store.answer(1);
                }
                store.answer(100);
                assert!(matches!(early.await.unwrap(), Err(NotKnown::Gone)), "{gaps} gaps");
                assert!(matches!(core.find().await, Err(NotKnown::Gone)), "{gaps} gaps, later");
            })
            .await;
    }
}

/// The feed has a gap while it is asked whether a token that was found before still exists: it is asked
/// again, and what the store says then holds.
#[tokio::test]
async fn gap_while_it_is_asked_whether_a_token_still_exists_is_no_refusal() {
    for deleted in [false, true] {
        let core = Core::new();
        let before = found_now(&core.records);
        core.records.forget_all();
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let store = core.records.store();
                store.hold_back();
                let asking = tokio::task::spawn_local({
                    let core = Rc::clone(&core);
                    async move { core.records.still_exists(id(1), before).await }
                });
                store.asked(1).await;
                core.records.forget_all();
                if deleted {
                    store.remove(id(1));
                }
                store.answer(100);
                let exists = asking.await.unwrap().unwrap().is_some();
                assert_eq!(exists, !deleted);
                assert!(store.lookups() > 1, "it is asked again");
            })
            .await;
    }
}

/// A body may take longer to come than deleted ids are remembered: whoever has waited so long is told by the
/// store.
#[tokio::test(start_paused = true)]
async fn deletion_that_is_forgotten_while_a_request_waits_is_felt() {
    let core = Core::new();
    core.find().await.unwrap();
    let before = found_now(&core.records);
    core.records.store().remove(id(1));
    core.records.forget(id(1)).await;
    let mut waited = Duration::ZERO;
    while core.records.deleted().contains(id(1)) {
        assert!(core.records.still_exists(id(1), before).await.unwrap().is_none(), "{waited:?}");
        tokio::time::advance(Duration::from_secs(1)).await;
        waited += Duration::from_secs(1);
        core.records.deleted().prune(monotonic());
    }
    assert!(core.records.still_exists(id(1), before).await.unwrap().is_none(), "{waited:?}");
}

#[tokio::test]
async fn token_of_a_key_that_is_not_held_is_told_apart() {
    let core = Core::new();
    let other = KeyRing::new(&[(7, MasterKey::parse(&"A".repeat(43)).unwrap())]).unwrap();
    let text = other.render(7, id(1), record(1).grant.expires_at).unwrap();
    let token = TokenBytes::decode(text.expose().as_bytes()).unwrap();
    let refusal = core.keys.verify(&token, now()).unwrap_err();
    assert!(refusal.to_string().contains("key"), "{refusal}");
    assert!(refusal.to_string().contains('7'), "{refusal}");
}
