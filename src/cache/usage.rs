use std::cell::Cell;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::policy::Permission;
use crate::store::Usage;
use crate::token::TokenId;

/// Most pairs of token and permission that wait to be written; what is beyond is not counted.
const WAITING_MAX: usize = 200_000;

/// What one core has counted of one token since it last told: plain cells, no atomics.
#[derive(Debug, Default)]
pub struct CoreUsage {
    requests: [Cell<u32>; Permission::ALL.len()],
    /// When last, in milliseconds since the epoch.
    last_used_at: [Cell<i64>; Permission::ALL.len()],
    remembered: Cell<bool>,
}

/// What all cores have counted, on its way to the store, in the order in which stores keep it: written in
/// any other, nearly every row is on a page of its own.
#[derive(Debug, Default)]
pub struct UsageBook {
    waiting: Mutex<BTreeMap<(TokenId, Permission), (u64, Timestamp)>>,
}

impl CoreUsage {
    /// Counts a request. True for the first since the last [`CoreUsage::take`]: somebody should
    /// remember to take.
    pub fn count(&self, permission: Permission, now: Timestamp) -> bool {
        let at = usize::from(permission.index());
        if let (Some(requests), Some(last)) = (self.requests.get(at), self.last_used_at.get(at)) {
            requests.set(requests.get().saturating_add(1));
            last.set(now.as_millisecond());
        }
        !self.remembered.replace(true)
    }

    /// Takes what was counted.
    pub fn take(&self, id: TokenId) -> impl Iterator<Item = Usage> {
        self.remembered.set(false);
        let counted = self.requests.iter().zip(&self.last_used_at);
        Permission::ALL.into_iter().zip(counted).filter_map(
            move |(permission, (requests, last))| {
                let requests = NonZeroU32::new(requests.take())?.get().into();
                let last_used_at = Timestamp::from_millisecond(last.get()).ok()?;
                Some(Usage { id, permission, requests, last_used_at })
            },
        )
    }
}

impl UsageBook {
    /// Adds what was counted.
    pub fn add(&self, usage: impl IntoIterator<Item = Usage>) {
        let mut waiting = self.waiting();
        for one in usage {
            let key = (one.id, one.permission);
            if waiting.len() >= WAITING_MAX && !waiting.contains_key(&key) {
                continue;
            }
            let (requests, last) = waiting.entry(key).or_insert((0, one.last_used_at));
            *requests = requests.saturating_add(one.requests);
            *last = one.last_used_at.max(*last);
        }
    }

    /// Takes at most so many pairs, the first in order.
    #[must_use]
    pub fn take(&self, pairs_max: usize) -> Vec<Usage> {
        let mut waiting = self.waiting();
        let first = std::iter::from_fn(|| waiting.pop_first()).take(pairs_max);
        let usage = |((id, permission), (requests, last_used_at))| Usage {
            id,
            permission,
            requests,
            last_used_at,
        };
        first.map(usage).collect()
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(TokenId, Permission), (u64, Timestamp)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
