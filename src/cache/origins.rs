use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::Unavailable;
use crate::policy::WebOrigin;
use crate::store::{StoreError, TokenStore};

/// How long an origin counts as bound after the store said so. A browser keeps a preflight's answer
/// for 600 s and then sends requests whose refusals it should be able to read; the requests
/// themselves are always held against their own token.
const REMEMBERED: Duration = Duration::from_mins(15);
/// How many origins are remembered.
const ORIGINS_MAX: u64 = 10_000;
/// How many preflights of unknown origins may ask the store at once; the others are refused.
const LOOKUPS_MAX: usize = 16;

/// The origins that some live token is bound to, as preflights ask for them.
pub struct BoundOrigins<S> {
    store: Arc<S>,
    bound: Cache<String, ()>,
    lookups: Semaphore,
}

impl<S: TokenStore> BoundOrigins<S> {
    /// Knows none yet.
    #[must_use]
    pub fn new(store: Arc<S>) -> Self {
        let bound = Cache::builder().max_capacity(ORIGINS_MAX).time_to_live(REMEMBERED).build();
        Self { store, bound, lookups: Semaphore::new(LOOKUPS_MAX) }
    }

    /// Whether a live token is bound to `origin`. "No" is never remembered: the token may be made
    /// a moment later.
    pub async fn is_bound(
        &self,
        origin: &WebOrigin<'_>,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        if self.was_bound(origin).await {
            return Ok(true);
        }
        let _permit = self.lookups.try_acquire().map_err(|_| Unavailable::overloaded())?;
        let bound = self.store.host_is_bound(origin.matching_bound_hosts(), now).await;
        let bound = bound.map_err(Unavailable::from)?;
        if bound {
            self.bound.insert(origin.serialised(), ()).await;
        }
        Ok(bound)
    }

    /// Whether a preflight lately found `origin` bound. Asks nobody.
    pub async fn was_bound(&self, origin: &WebOrigin<'_>) -> bool {
        self.bound.get(&origin.serialised()).await.is_some()
    }
}

impl Unavailable {
    fn overloaded() -> Self {
        Self::from(StoreError::Overloaded)
    }
}
