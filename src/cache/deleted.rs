use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::by_id::ById;
use crate::token::TokenId;

/// The ids whose deletion this gate knows of. Deleted is for ever, so the set only has to outlive
/// whatever may still hold the record: cache entries, shared and of a core, and look-ups under way. A
/// request that waits for its body for longer asks whether the set reaches back.
#[derive(Debug)]
pub struct DeletedIds {
    known: ById<Instant>,
    epoch: AtomicU64,
    retention: Duration,
}

impl DeletedIds {
    /// A set that keeps each id for `retention`: the longest life of a cached record in both caches, and of
    /// a look-up that may still put one into them.
    #[must_use]
    pub fn new(retention: Duration) -> Self {
        Self { known: ById::default(), epoch: AtomicU64::new(0), retention }
    }

    /// Whether `id` has been deleted.
    #[must_use]
    pub fn contains(&self, id: TokenId) -> bool {
        self.known.contains_key(&id)
    }

    /// Whether every id that has been added since `moment` is still held at `now`.
    #[must_use]
    pub fn reaches_back(&self, moment: Instant, now: Instant) -> bool {
        now.saturating_duration_since(moment) < self.retention
    }

    /// Changes after each addition: whoever saw an id absent at an epoch needs not look again until
    /// the epoch moves. Reading it takes no lock and shares a cache line that hardly ever changes.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Adds an id. When this returns, every reader sees it.
    pub fn insert(&self, id: TokenId, now: Instant) {
        self.known.insert(id, now);
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets ids that nothing can bring back any more.
    pub fn prune(&self, now: Instant) {
        self.known.retain(|_, since| now.saturating_duration_since(*since) < self.retention);
    }

    /// How many ids are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no id is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}
