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

    /// Until when cached positives may be trusted, if nothing else is confirmed.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.anchor + Duration::from_nanos(self.fresh_until.load(Ordering::Acquire))
    }

    /// How long ago the last whole read of the feed began; `None` before the first.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let until = Duration::from_nanos(self.fresh_until.load(Ordering::Acquire));
        let elapsed = now.saturating_duration_since(self.anchor) + self.staleness_max;
        (!until.is_zero()).then(|| elapsed.saturating_sub(until))
    }

    /// How old knowledge may be.
    #[must_use]
    pub fn staleness_max(&self) -> Duration {
        self.staleness_max
    }

    /// Whether cached positives may be trusted at `now`.
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.anchor);
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        elapsed < self.fresh_until.load(Ordering::Acquire)
    }
}
