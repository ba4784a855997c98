//! The time. Nothing else in the crate reads a clock: it is passed in, so that tests can move it.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, ready};

use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, Sleep, sleep_until};

/// Tells the wall-clock time. Safe to be ahead (tokens expire early), never to step back: a token
/// that has expired once must stay expired.
pub trait Clock: Send + Sync + 'static {
    /// The time now, never before an earlier answer.
    fn now(&self) -> Timestamp;
}

/// The monotonic time, which only differences are taken of. A test that pauses tokio's clock moves
/// it by hand.
#[must_use]
pub fn monotonic() -> std::time::Instant {
    Instant::now().into_std()
}

/// The system's clock with a high-water mark: a clock that is set back stands still until it has
/// caught up, so no expired token comes back to life.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest_milliseconds: AtomicI64,
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        let milliseconds = now.as_millisecond();
        let latest = self.latest_milliseconds.load(Ordering::Relaxed);
        if milliseconds > latest {
            self.latest_milliseconds.fetch_max(milliseconds, Ordering::Relaxed);
        } else if milliseconds < latest {
            return Timestamp::from_millisecond(latest).unwrap_or(now);
        }
        now
    }
}

/// A clock that a test moves by hand.
#[derive(Debug)]
pub struct ManualClock {
    milliseconds: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `start`.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self { milliseconds: AtomicI64::new(start.as_millisecond()) }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: SignedDuration) {
        let milliseconds = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.milliseconds.fetch_add(milliseconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let milliseconds = self.milliseconds.load(Ordering::SeqCst);
        Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
    }
}

/// A deadline that moves on far more often than it is reached. Its timer is set again only when it
/// has run out, or would run out too late.
#[derive(Debug)]
pub struct MovingDeadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl MovingDeadline {
    /// A deadline at this moment.
    #[must_use]
    pub fn new(at: Instant) -> Self {
        Self { at, timer: Box::pin(sleep_until(at)) }
    }

    /// When it is.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Moves it.
    pub fn set(&mut self, at: Instant) {
        self.at = at;
    }

    /// Ready when it has passed.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.at < self.timer.deadline() {
            self.timer.as_mut().reset(self.at);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// the system's clock has been set back by an hour.
    #[test]
    fn clock_that_is_set_back_stands_still_until_it_has_caught_up() {
        let clock = SystemClock::default();
        let ahead = Timestamp::now() + SignedDuration::from_hours(1);
        clock.latest_milliseconds.store(ahead.as_millisecond(), Ordering::Relaxed);
        assert_eq!(clock.now().as_millisecond(), ahead.as_millisecond());
        assert_eq!(clock.now().as_millisecond(), ahead.as_millisecond());
    }

    /// and set forward, it goes on from there.
    #[test]
    fn clock_never_answers_earlier_than_before() {
        let clock = SystemClock::default();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now.as_millisecond() >= last.as_millisecond());
            last = now;
        }
    }
}
