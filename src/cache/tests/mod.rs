mod deletions;
mod follower;
mod front;
mod lifetimes;
mod lookups;
mod origins;
mod store;
mod streams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use self::store::FakeStore;
use super::{CacheSettings, Records};
use crate::clock::ManualClock;
use crate::policy::{BoundHost, Grant};
use crate::store::Deletion;
use crate::telemetry::Metrics;
use crate::token::{AccountName, Record, TokenId};

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
            entries: Vec::new(),
        },
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
