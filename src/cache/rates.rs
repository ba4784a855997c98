use std::collections::HashMap;
use std::num::NonZeroU32;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::sync::Cache;
use prefetch_index::prefetch_index;

use super::Front;
use crate::clock::step_time;
use crate::token::{AccountName, Record, TokenId, TokenLimits};

type Limiter = RateLimiter<NotKeyed, InMemoryState, StepClock, NoOpMiddleware<Instant>>;

/// The time of the step under way: allowances come back over seconds.
#[derive(Clone, Copy, Debug)]
struct StepClock;

impl Clock for StepClock {
    type Instant = Instant;

    fn now(&self) -> Instant {
        step_time().into_std()
    }
}

/// A token unused for a minute has its whole allowance again, and need not be remembered; but its use is
/// seen here only when no core's front cache has it, and a request may take its part when its body has come.
const REMEMBERED: Duration = Front::LIFETIME_MAX.saturating_add(Duration::from_mins(4));

/// How much may be asked with a token, once it is known who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests a minute; `None` = any number.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Event streams open at once.
    pub concurrent_streams: u32,
    /// Longest life of a stream.
    pub stream_length: Duration,
}

/// How fast each token may ask, on this gate: a number of requests a minute, all of them at once if
/// it likes; what was used up comes back evenly over a minute. Where gates share a store each has an
/// equal part: a request counts once for each gate.
#[derive(Debug)]
pub struct Rates {
    default: Limits,
    accounts: HashMap<AccountName, TokenLimits>,
    gates: Arc<AtomicU32>,
    by_token: Cache<(TokenId, NonZeroU32), Arc<Allowance>>,
}

/// How fast one token may ask; nothing: as fast as it likes. Clones share what is left.
#[derive(Clone, Debug, Default)]
pub struct TokenRate(Option<Arc<Allowance>>);

#[derive(Debug)]
struct Allowance {
    limiter: Limiter,
    per_minute: NonZeroU32,
}

/// The token has used up its allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token makes more requests a minute than it may: wait {retry_after_seconds} s")]
pub struct RateLimited {
    /// When the next request will pass, rounded up.
    pub retry_after_seconds: u64,
}

impl TokenRate {
    /// Has what is left brought from memory, while the request is judged: it is needed then, and among many
    /// tokens nothing has touched it lately.
    pub(super) fn prefetch(&self) {
        if let Some(allowance) = self.0.as_deref() {
            prefetch_index(slice::from_ref(&allowance.limiter), 0);
            prefetch_index(slice::from_ref(&allowance.per_minute), 0);
        }
    }
}

impl Rates {
    /// `default` for each token whose account, and which itself, says nothing else; at most
    /// `tokens_max` are remembered.
    #[must_use]
    pub fn new(
        default: Limits,
        accounts: HashMap<AccountName, TokenLimits>,
        tokens_max: u64,
    ) -> Self {
        let by_token = Cache::builder().max_capacity(tokens_max).time_to_idle(REMEMBERED).build();
        Self { default, accounts, gates: Arc::new(AtomicU32::new(1)), by_token }
    }

    /// Other allowances in the place of these, shared among as many gates. What a token has used up
    /// of one that stays the same stays used up.
    #[must_use]
    pub fn renewed(&self, next: Self) -> Self {
        Self { gates: Arc::clone(&self.gates), by_token: self.by_token.clone(), ..next }
    }

    /// How many gates share what each token may ask for.
    pub fn share_among(&self, gates: u32) {
        self.gates.store(gates.max(1), Ordering::Relaxed);
    }

    /// How many of a token's streams this gate may have open: its part, and at least one.
    #[must_use]
    pub fn streams_here(&self, limits: &Limits) -> u32 {
        (limits.concurrent_streams / self.gates.load(Ordering::Relaxed)).max(1)
    }

    /// What holds for a token.
    #[must_use]
    pub fn limits_of(&self, record: &Record) -> Limits {
        let account = self.accounts.get(&record.account).copied().unwrap_or_default();
        let said = record.limits.or(account);
        let default = self.default;
        Limits {
            requests_per_minute: said
                .requests_per_minute
                .map_or(default.requests_per_minute, NonZeroU32::new),
            concurrent_streams: said.concurrent_streams.unwrap_or(default.concurrent_streams),
            stream_length: said
                .stream_seconds
                .map_or(default.stream_length, |seconds| Duration::from_secs(seconds.into())),
        }
    }

    /// The allowance of a token. A record never changes, so neither does this.
    #[must_use]
    pub fn of(&self, record: &Record) -> TokenRate {
        TokenRate(self.limits_of(record).requests_per_minute.map(|per_minute| {
            let full = || {
                let limiter =
                    RateLimiter::direct_with_clock(Quota::per_minute(per_minute), StepClock);
                Arc::new(Allowance { limiter, per_minute })
            };
            self.by_token.get_with((record.id, per_minute), full)
        }))
    }

    /// Takes one request out of a token's allowance.
    pub fn take(&self, rate: &TokenRate) -> Result<(), RateLimited> {
        let Some(Allowance { limiter, per_minute }) = rate.0.as_deref() else { return Ok(()) };
        let taken = match self.gates.load(Ordering::Relaxed) {
            0 | 1 => limiter.check(),
            gates => {
                let part = NonZeroU32::new(gates).unwrap_or(NonZeroU32::MIN);
                // More gates than requests: one each.
                match limiter.check_n(part.min(*per_minute)) {
                    Ok(taken) => taken,
                    // Not possible: the part is never more than the whole.
                    Err(_) => return Err(RateLimited { retry_after_seconds: 60 }),
                }
            }
        };
        taken.map_err(|not_until| {
            let wait = not_until.wait_time_from(StepClock.now());
            RateLimited { retry_after_seconds: wait.as_secs() + 1 }
        })
    }
}
