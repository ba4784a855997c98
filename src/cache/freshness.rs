use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Until when this gate's knowledge of the feed is recent enough to trust what it has cached.
#[derive(Debug)]
pub struct Freshness {
    anchor: Instant,
    /// Nanoseconds after the anchor.
    fresh_until: AtomicU64,
    staleness_max: Duration,
}

impl Freshness {
    /// Nothing confirmed yet, so nothing fresh.
    #[must_use]
    pub fn new(staleness_max: Duration, now: Instant) -> Self {
        Self { anchor: now, fresh_until: AtomicU64::new(0), staleness_max }
    }

    /// The feed was read whole by a read that began at `read_began`.
    pub fn confirm(&self, read_began: Instant) {
        let until = (read_began + self.staleness_max).saturating_duration_since(self.anchor);
        let until = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        self.fresh_until.fetch_max(until, Ordering::AcqRel);
    }

    /// Whether cached positives may be trusted at `now`.
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.anchor);
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        elapsed < self.fresh_until.load(Ordering::Acquire)
    }
}
