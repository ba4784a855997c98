mod deletions;
mod follower;
mod front;
mod interner;
mod known;
mod lifetimes;
mod lookups;
mod origins;
mod rates;
mod simulation;
mod store;
mod streams;
mod usage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use self::store::FakeStore;
use super::{CacheSettings, Limits, NewStream, Records};
use crate::clock::{ManualClock, monotonic};
use crate::policy::{BoundHost, Grant, PolicyEntries};
use crate::store::Deletion;
use crate::telemetry::Metrics;
use crate::token::{AccountName, Record, TokenId, TokenLimits};

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
const STALENESS_MAX: Duration = Duration::from_secs(3);
const LIFETIME_MAX: Duration = Duration::from_mins(1);

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn id(number: u8) -> TokenId {
    TokenId::from_bytes([number; TokenId::LENGTH])
}

fn record(number: u8) -> Record {
    Record {
        id: id(number),
        key_id: 1,
        account: AccountName::parse("default").unwrap(),
        created_at: now(),
        hostname: "app.test".into(),
        grant: Grant {
            host: BoundHost::parse("app.test").unwrap(),
            expires_at: now() + SignedDuration::from_hours(1),
            entries: PolicyEntries::new(),
        },
        limits: TokenLimits::NONE,
    }
}

fn deletion(number: u8) -> Deletion {
    Deletion {
        account: AccountName::parse("default").unwrap(),
        id: id(number),
        expires_at: now() + SignedDuration::from_hours(1),
        now: now(),
    }
}

/// A stream of the numbered token, of which there may be so many.
fn stream_of(number: u8, streams_max: usize) -> NewStream {
    NewStream { token: id(number), until: monotonic() + STALENESS_MAX, streams_max }
}

/// Limits that nobody reaches.
fn no_limits() -> Limits {
    Limits {
        requests_per_minute: None,
        concurrent_streams: 1000,
        stream_length: Duration::from_hours(1),
    }
}

/// A cache in front of a store that holds the numbered tokens.
fn records(numbers: &[u8]) -> Arc<Records<FakeStore>> {
    let store = Arc::new(FakeStore::default());
    for number in numbers {
        store.put(record(*number));
    }
    let settings = CacheSettings {
        entries_max: 100,
        lifetime_max: LIFETIME_MAX,
        staleness_max: STALENESS_MAX,
        lookup_timeout: LOOKUP_TIMEOUT,
        cores: 2,
    };
    let clock = Arc::new(ManualClock::new(now()));
    Arc::new(Records::new(store, clock, settings, Arc::new(Metrics::default())))
}

/// Like [`records`], with the feed confirmed just now.
fn fresh_records(numbers: &[u8]) -> Arc<Records<FakeStore>> {
    let records = records(numbers);
    records.freshness().confirm(Instant::now() + Duration::from_mins(10));
    records
}
