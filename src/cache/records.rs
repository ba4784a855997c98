use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use moka::Expiry;
use moka::future::Cache;

use super::interner::Interner;
use super::{DeletedIds, Found, Freshness, Front};
use crate::clock::{Clock, monotonic};
use crate::store::{DeleteOutcome, Deletion, StoreError, TokenStore};
use crate::telemetry::{CacheResult, Metrics};
use crate::token::{Record, TokenId};

/// Limits of the cache of records.
#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// How many records are held at most.
    pub entries_max: u64,
    /// How long a record is held at most; never beyond its token's expiry.
    pub lifetime_max: Duration,
    /// How long the feed may go unconfirmed before cached records are no longer trusted.
    pub staleness_max: Duration,
    /// How long a look-up in the store may take.
    pub lookup_timeout: Duration,
    /// How many cores have a cache of their own in front: each has its part of as many entries.
    pub cores: usize,
}

/// How often a token is looked up that nothing certain can be learned of, because the feed has one
/// gap after the other.
pub(super) const LOOKUPS_MAX: usize = 3;

/// Whether the token exists cannot be known now. Never a reason to let a request pass.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store cannot be asked")]
pub struct Unavailable(#[source] Arc<StoreError>);

/// What a look-up in the store found.
#[derive(Clone, Debug)]
pub(super) struct Cached {
    /// `None` = there is no such record. That cannot change: an id is told to nobody before its
    /// record is durable.
    pub(super) record: Option<Arc<Record>>,
    /// The generation at which the look-up began.
    pub(super) generation: u64,
}

/// Records by id, in front of the store, with the deletions this gate knows of.
pub struct Records<S> {
    store: Arc<S>,
    cached: Cache<TokenId, Cached>,
    /// Moves at each gap in the feed: what was looked up before is not trusted after.
    generation: AtomicU64,
    deleted: Arc<DeletedIds>,
    freshness: Arc<Freshness>,
    interner: Interner,
    settings: CacheSettings,
    metrics: Arc<Metrics>,
}

impl<S: TokenStore> Records<S> {
    /// An empty cache in front of `store`.
    pub fn new(
        store: Arc<S>,
        clock: Arc<dyn Clock>,
        settings: CacheSettings,
        metrics: Arc<Metrics>,
    ) -> Self {
        let lifetime = Lifetime { max: settings.lifetime_max, clock };
        // In the shared cache, then in a core's own, between two look-ups.
        let lifetimes = settings.lifetime_max + Front::lifetime(settings.lifetime_max);
        let retention = lifetimes + 2 * settings.lookup_timeout;
        Self {
            store,
            settings,
            cached: Cache::builder()
                .max_capacity(settings.entries_max)
                .expire_after(lifetime)
                .build(),
            generation: AtomicU64::new(0),
            interner: Interner::new(),
            deleted: Arc::new(DeletedIds::new(retention)),
            freshness: Arc::new(Freshness::new(settings.staleness_max, monotonic())),
            metrics,
        }
    }

    /// The record named `id`; `None` when it was never made, or is deleted. The deleted ids are
    /// read after the look-up, whatever it found.
    pub async fn find(
        &self,
        id: TokenId,
        now: Instant,
    ) -> Result<Option<Arc<Record>>, Unavailable> {
        if self.deleted.contains(id) {
            return Ok(None);
        }
        let found = if self.freshness.is_fresh(now) {
            // On the heap: few requests wait for it, but each would have room for it.
            Box::pin(self.find_cached(id)).await?
        } else {
            self.metrics.cache_lookup(CacheResult::Stale);
            self.load(id).await.map_err(Unavailable::from)?
        };
        Ok(found.filter(|_| !self.deleted.contains(id)))
    }

    async fn find_cached(&self, id: TokenId) -> Result<Option<Arc<Record>>, Unavailable> {
        let current = |found: &Cached| found.generation == self.generation();
        match self.cached.get(&id).await {
            Some(found) if current(&found) => {
                self.metrics.cache_lookup(CacheResult::Hit);
                return Ok(found.record);
            }
            Some(_) => self.cached.invalidate(&id).await,
            None => {}
        }
        self.metrics.cache_lookup(CacheResult::Miss);
        let load = async {
            let generation = self.generation();
            self.load(id).await.map(|record| Cached { record, generation })
        };
        let found = self.cached.try_get_with(id, load).await.map_err(Unavailable)?;
        // A look-up that somebody else began before a gap is not good enough: ask again, uncached.
        if current(&found) { Ok(found.record) } else { Ok(self.load(id).await?) }
    }

    /// Moves at each gap in the feed; whoever keeps records elsewhere must drop them when it does.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Until when it may be believed that a record exists, by a look-up that begins at `now`: what is
    /// cached, as long as the feed is; what the store says, as long as that may be old.
    #[must_use]
    pub fn believed_until(&self, now: Instant) -> Instant {
        if self.freshness.is_fresh(now) {
            self.freshness.until()
        } else {
            now + self.freshness.staleness_max()
        }
    }

    /// Whether a record that was found a while ago is still there, as far as can be known now, and
    /// until when that may be believed.
    pub async fn still_exists(
        &self,
        id: TokenId,
        found: Found,
    ) -> Result<Option<Instant>, Unavailable> {
        for _ in 0..LOOKUPS_MAX {
            let now = monotonic();
            let until = self.believed_until(now);
            // In this order: what the last read of the feed told is known when it counts as read.
            let fresh = self.freshness.is_fresh(now);
            let generation = self.generation();
            // A deletion may have been lost in a gap since then, or told so long ago that it is forgotten.
            let told =
                generation == found.generation && self.deleted.reaches_back(found.since, now);
            if fresh && told {
                return Ok((!self.deleted.contains(id)).then_some(until));
            }
            let exists = self.find(id, now).await?.is_some();
            if self.generation() == generation {
                return Ok(exists.then_some(until));
            }
        }
        Err(Unavailable::unsettled())
    }

    /// The record as the store has it now, whatever is cached.
    pub async fn find_in_store(&self, id: TokenId) -> Result<Option<Arc<Record>>, Unavailable> {
        Ok(self.load(id).await?)
    }

    /// How long a look-up in the store may take.
    #[must_use]
    pub fn lookup_timeout(&self) -> Duration {
        self.settings.lookup_timeout
    }

    /// An empty cache of one core's own, to be asked before this one.
    #[must_use]
    pub fn front(&self) -> Front {
        let cores = u64::try_from(self.settings.cores).unwrap_or(u64::MAX).max(1);
        let part = (self.settings.entries_max / cores).max(Front::PLACES_MIN);
        Front::new(part, self.settings.lifetime_max)
    }

    async fn load(&self, id: TokenId) -> Result<Option<Arc<Record>>, StoreError> {
        self.metrics.store_lookups.inc();
        let asked = tokio::time::timeout(self.lookup_timeout(), self.store.get(id)).await;
        let answered = asked.unwrap_or_else(|late| Err(StoreError::Unavailable(Box::new(late))));
        if answered.is_err() {
            self.metrics.store_failures.inc();
        }
        answered.map(|record| record.map(|record| Arc::new(self.interner.intern(record))))
    }

    /// Deletes a token. When this returns, the deletion is durable and this gate refuses the token.
    pub async fn delete(&self, deletion: Deletion) -> Result<DeleteOutcome, StoreError> {
        let id = deletion.id;
        let outcome = self.store.delete(deletion).await?;
        if outcome != DeleteOutcome::NotYours {
            self.forget(id).await;
        }
        Ok(outcome)
    }

    /// Takes note of a deletion, made here or read from the feed.
    pub async fn forget(&self, id: TokenId) {
        self.deleted.insert(id, monotonic());
        self.cached.invalidate(&id).await;
    }

    /// Forgets every cached record, after a gap in the feed.
    pub fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.cached.invalidate_all();
    }

    /// The store behind.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The deletions this gate knows of.
    #[must_use]
    pub fn deleted(&self) -> &DeletedIds {
        &self.deleted
    }

    /// How recent this gate's knowledge of the feed is.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.freshness
    }
}

/// An entry lives as long as its token, and never longer than `max`.
pub(super) struct Lifetime {
    pub(super) max: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

impl Expiry<TokenId, Cached> for Lifetime {
    fn expire_after_create(&self, _: &TokenId, found: &Cached, _: Instant) -> Option<Duration> {
        let left = |record: &Arc<Record>| left_until(record.grant.expires_at, self.clock.now());
        Some(found.record.as_ref().map_or(self.max, left).min(self.max))
    }

    /// An entry that takes an older one's place owes nothing to that one's life.
    fn expire_after_update(
        &self,
        id: &TokenId,
        found: &Cached,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(id, found, now)
    }
}

/// How long until `moment`; nothing if it has passed.
pub(super) fn left_until(moment: Timestamp, now: Timestamp) -> Duration {
    moment.duration_since(now).try_into().unwrap_or(Duration::ZERO)
}

impl Unavailable {
    /// The feed had a gap while the store was asked, again and again.
    pub(super) fn unsettled() -> Self {
        Self::from(StoreError::Unavailable(
            "the feed of deletions has one gap after the other".into(),
        ))
    }
}

impl From<StoreError> for Unavailable {
    fn from(error: StoreError) -> Self {
        Self(Arc::new(error))
    }
}
