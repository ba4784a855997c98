use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use moka::Expiry as _;

use super::super::records::{Cached, Lifetime, left_until};
use super::{LIFETIME_MAX, id, now, record};
use crate::clock::ManualClock;

/// How long a record is cached whose token expires in so many milliseconds.
#[track_caller]
fn check(expires_in_ms: i64, cached_for: Duration) {
    let mut record = record(1);
    record.grant.expires_at = now() + SignedDuration::from_millis(expires_in_ms);
    check_found(Some(Arc::new(record)), cached_for);
}

#[track_caller]
fn check_found(record: Option<Arc<crate::token::Record>>, cached_for: Duration) {
    let lifetime = Lifetime { max: LIFETIME_MAX, clock: Arc::new(ManualClock::new(now())) };
    let found = Cached { record, generation: 0 };
    let instant = Instant::now();
    assert_eq!(lifetime.expire_after_create(&id(1), &found, instant), Some(cached_for));
    let left_over = Some(Duration::from_secs(9999));
    let updated = lifetime.expire_after_update(&id(1), &found, instant, left_over);
    assert_eq!(updated, Some(cached_for), "in the place of an older entry");
}

/// Attack C-04.
#[test]
fn record_is_never_cached_beyond_its_tokens_expiry() {
    check(300, Duration::from_millis(300));
    check(59_999, Duration::from_millis(59_999));
    check(0, Duration::ZERO);
    check(-1, Duration::ZERO);
    check(-3_600_000, Duration::ZERO);
}

#[test]
fn record_is_never_cached_longer_than_configured() {
    check(60_000, LIFETIME_MAX);
    check(30 * 24 * 3_600_000, LIFETIME_MAX);
    check_found(None, LIFETIME_MAX);
}

#[test]
fn nothing_is_left_of_the_past() {
    let at = |seconds| now() + SignedDuration::from_secs(seconds);
    assert_eq!(left_until(at(5), at(0)), Duration::from_secs(5));
    assert_eq!(left_until(at(0), at(0)), Duration::ZERO);
    assert_eq!(left_until(at(0), at(5)), Duration::ZERO);
    assert_eq!(left_until(jiff::Timestamp::MIN, jiff::Timestamp::MAX), Duration::ZERO);
}
