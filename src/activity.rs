//! What has lately happened, kept in memory for whoever looks at it live: decisions and rates.
//!
//! Owns nothing durable and decides nothing. Must always hold: it is bounded, it holds ids and never
//! secrets, and a gate that nobody looks at does not keep it at all.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use crate::clock::{Clock as _, SystemClock};

/// Decisions kept; the oldest go first.
const DECISIONS_MAX: usize = 500;
/// Seconds kept for the charts.
const SECONDS_MAX: usize = 300;
/// Upper bounds of the latency counts, in microseconds; the last count is of what is slower.
const LATENCY_BOUNDS_US: [u64; 8] =
    [500, 1_000, 5_000, 25_000, 100_000, 500_000, 2_000_000, 10_000_000];

/// One decision, as it was logged.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Decision {
    /// Counts up from 1 with each decision of this gate.
    pub sequence: u64,
    /// When the answer ended, ISO 8601.
    pub at: String,
    /// The request.
    pub request_id: String,
    /// Its method.
    pub method: String,
    /// Its path, where it was canonical.
    pub path: Option<String>,
    /// The operation, as the route table names it.
    pub operation: String,
    /// `permit`, `shadow`, `answer`, `deny` or `fail`.
    pub decision: &'static str,
    /// The code of the refusal or failure.
    pub reason: Option<String>,
    /// Why, in words.
    pub explanation: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// The caller's account.
    pub account: Option<String>,
    /// The token's id; never its text.
    pub token: Option<String>,
    /// The agent that was asked for.
    pub agent: Option<String>,
    /// The caller's address.
    pub client: String,
    /// From the head to the end of the answer, in microseconds.
    pub duration_us: u64,
}

/// One second of requests.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Second {
    /// Seconds since the epoch.
    pub at: i64,
    /// Requests whose answer ended in it.
    pub requests: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Of these, failed by store or upstream.
    pub failed: u64,
    /// Half of the answers took at most so many microseconds (the bound of a histogram).
    pub p50_us: u64,
    /// 95 of 100 answers took at most so many microseconds (the bound of a histogram).
    pub p95_us: u64,
    #[serde(skip)]
    #[schemars(skip)]
    latencies: [u64; LATENCY_BOUNDS_US.len() + 1],
}

/// What has lately happened on this gate.
#[derive(Debug, Default)]
pub struct Activity {
    clock: SystemClock,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    sequence: u64,
    decisions: VecDeque<Decision>,
    seconds: VecDeque<Second>,
}

impl Activity {
    /// Takes note of a decision on a request that began then.
    pub fn note(&self, mut decision: Decision, began: Instant) {
        let now = self.clock.now();
        decision.at = now.to_string();
        decision.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut recent = self.lock();
        recent.sequence += 1;
        decision.sequence = recent.sequence;
        recent.second(now.as_second()).count(&decision);
        if recent.decisions.len() >= DECISIONS_MAX {
            recent.decisions.pop_front();
        }
        recent.decisions.push_back(decision);
    }

    /// The decisions after this one, oldest first, at most so many of the newest.
    #[must_use]
    pub fn decisions_after(&self, sequence: u64, limit: usize) -> Vec<Decision> {
        let recent = self.lock();
        let after: Vec<Decision> =
            recent.decisions.iter().filter(|known| known.sequence > sequence).cloned().collect();
        let surplus = after.len().saturating_sub(limit);
        after.into_iter().skip(surplus).collect()
    }

    /// The last seconds in which anything happened, oldest first.
    #[must_use]
    pub fn seconds(&self) -> Vec<Second> {
        self.lock().seconds.iter().cloned().map(Second::with_quantiles).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        // Nothing here is left half done by a panic.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn second(&mut self, at: i64) -> &mut Second {
        if self.seconds.back().is_none_or(|last| last.at < at) {
            if self.seconds.len() >= SECONDS_MAX {
                self.seconds.pop_front();
            }
            self.seconds.push_back(Second { at, ..Second::default() });
        }
        let last = self.seconds.len().saturating_sub(1);
        // There is one: it was there, or was pushed above.
        self.seconds.range_mut(last..).next().unwrap_or_else(|| unreachable!("a second"))
    }
}

impl Second {
    fn count(&mut self, decision: &Decision) {
        self.requests += 1;
        self.refused += u64::from(decision.decision == "deny");
        self.failed += u64::from(decision.decision == "fail");
        let slot = LATENCY_BOUNDS_US.iter().position(|bound| decision.duration_us <= *bound);
        let slot = slot.unwrap_or(LATENCY_BOUNDS_US.len());
        if let Some(count) = self.latencies.get_mut(slot) {
            *count += 1;
        }
    }

    fn with_quantiles(mut self) -> Self {
        self.p50_us = self.bound_of(50);
        self.p95_us = self.bound_of(95);
        self
    }

    fn bound_of(&self, percent: u64) -> u64 {
        let mut left = (self.requests * percent).div_ceil(100);
        for (count, bound) in self.latencies.iter().zip(LATENCY_BOUNDS_US) {
            if *count >= left {
                return bound;
            }
            left -= count;
        }
        LATENCY_BOUNDS_US.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(decision: &'static str) -> Decision {
        Decision {
            sequence: 0,
            at: String::new(),
            request_id: "x".to_owned(),
            method: "GET".to_owned(),
            path: None,
            operation: "unknown".to_owned(),
            decision,
            reason: None,
            explanation: None,
            status: 200,
            account: None,
            token: None,
            agent: None,
            client: "127.0.0.1".to_owned(),
            duration_us: 0,
        }
    }

    #[test]
    fn only_so_many_decisions_are_kept_and_the_newest_are_told() {
        let activity = Activity::default();
        for _ in 0..DECISIONS_MAX + 10 {
            activity.note(decided("deny"), Instant::now());
        }
        let all = activity.decisions_after(0, usize::MAX);
        assert_eq!(all.len(), DECISIONS_MAX);
        let last = all.last().map(|decision| decision.sequence);
        assert_eq!(last, Some(DECISIONS_MAX as u64 + 10));
        let newest = activity.decisions_after(last.unwrap_or_default() - 3, 2);
        assert_eq!(newest.iter().map(|d| d.sequence).collect::<Vec<_>>(), [509, 510]);
        let seconds = activity.seconds();
        assert_eq!(seconds.iter().map(|s| s.requests).sum::<u64>(), DECISIONS_MAX as u64 + 10);
        assert_eq!(seconds.iter().map(|s| s.refused).sum::<u64>(), DECISIONS_MAX as u64 + 10);
    }

    #[test]
    fn quantiles_are_bounds_of_the_histogram() {
        let mut second = Second::default();
        for (count, duration_us) in [(90, 400), (9, 20_000), (1, 60_000_000)] {
            for _ in 0..count {
                second.count(&Decision { duration_us, ..decided("permit") });
            }
        }
        let second = second.with_quantiles();
        assert_eq!((second.p50_us, second.p95_us), (500, 25_000));
    }
}
