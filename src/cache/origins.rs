use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::Unavailable;
use crate::clock::monotonic;
use crate::policy::WebOrigin;
use crate::store::{StoreError, TokenStore};

/// How long an origin counts as bound after the store said so. A browser keeps a preflight's answer
/// for 600 s and then sends requests whose refusals it should be able to read; the requests
/// themselves are always held against their own token.
const REMEMBERED: Duration = Duration::from_mins(15);
/// How many origins are remembered.
const ORIGINS_MAX: usize = 10_000;
/// How many preflights of unknown origins may ask the store at once; the others are refused.
const LOOKUPS_MAX: usize = 16;

/// The origins that some live token is bound to, as preflights ask for them.
pub struct BoundOrigins<S> {
    store: Arc<S>,
    /// Until when each is remembered. Only whoever can make tokens adds to it.
    bound: DashMap<String, Instant>,
    lookups: Semaphore,
}

impl<S: TokenStore> BoundOrigins<S> {
    /// Knows none yet.
    #[must_use]
    pub fn new(store: Arc<S>) -> Self {
        Self { store, bound: DashMap::new(), lookups: Semaphore::new(LOOKUPS_MAX) }
    }

    /// Whether a live token is bound to `origin`. "No" is never remembered: the token may be made
    /// a moment later.
    pub async fn is_bound(
        &self,
        origin: &WebOrigin<'_>,
        now: Timestamp,
    ) -> Result<bool, Unavailable> {
        if self.was_bound(origin) {
            return Ok(true);
        }
        let _permit = self.lookups.try_acquire().map_err(|_| Unavailable::overloaded())?;
        let bound = self.store.host_is_bound(origin.matching_bound_hosts(), now).await;
        let bound = bound.map_err(Unavailable::from)?;
        if bound {
            self.remember(origin.serialised().into_owned());
        }
        Ok(bound)
    }

    /// Whether a preflight lately found `origin` bound. Asks nobody.
    #[must_use]
    pub fn was_bound(&self, origin: &WebOrigin<'_>) -> bool {
        self.bound.get(&*origin.serialised()).is_some_and(|until| monotonic() < *until)
    }

    fn remember(&self, origin: String) {
        let now = monotonic();
        if self.bound.len() >= ORIGINS_MAX {
            self.bound.retain(|_, until| now < *until);
        }
        // When there is no room, the store is asked at each preflight.
        if self.bound.len() < ORIGINS_MAX {
            self.bound.insert(origin, now + REMEMBERED);
        }
    }
}

impl Unavailable {
    fn overloaded() -> Self {
        Self::from(StoreError::Overloaded)
    }
}
