use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::sync::Cache;

use crate::token::TokenId;

type Limiter =
    RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<std::time::Instant>>;

/// A token unused for so long has its whole allowance again, and need not be remembered.
const REMEMBERED: Duration = Duration::from_mins(2);

/// How fast each token may ask, on this gate: a number of requests a minute, all of them at once if
/// it likes.
#[derive(Debug)]
pub struct Rates {
    /// `None` = any number.
    per_minute: Option<NonZeroU32>,
    by_token: Cache<TokenId, Arc<Limiter>>,
}

/// How fast one token may ask. Clones share the allowance.
#[derive(Clone, Debug)]
pub struct TokenRate(Option<Arc<Limiter>>);

/// The token has used up its allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token makes more requests a minute than it may: wait {retry_after_seconds} s")]
pub struct RateLimited {
    /// When the next request will pass, rounded up.
    pub retry_after_seconds: u64,
}

impl Rates {
    /// `per_minute` requests for each token, 0 for any number; at most `tokens_max` are remembered.
    #[must_use]
    pub fn new(per_minute: u32, tokens_max: u64) -> Self {
        let by_token = Cache::builder().max_capacity(tokens_max).time_to_idle(REMEMBERED).build();
        Self { per_minute: NonZeroU32::new(per_minute), by_token }
    }

    /// The allowance of a token.
    #[must_use]
    pub fn of(&self, token: TokenId) -> TokenRate {
        TokenRate(self.per_minute.map(|per_minute| {
            let full = || {
                Arc::new(RateLimiter::direct_with_clock(
                    Quota::per_minute(per_minute),
                    MonotonicClock,
                ))
            };
            self.by_token.get_with(token, full)
        }))
    }
}

impl TokenRate {
    /// Takes one request out of the allowance.
    pub fn take(&self) -> Result<(), RateLimited> {
        let Some(limiter) = &self.0 else { return Ok(()) };
        limiter.check().map_err(|not_until| {
            let wait = not_until.wait_time_from(MonotonicClock.now());
            RateLimited { retry_after_seconds: wait.as_secs() + 1 }
        })
    }
}
