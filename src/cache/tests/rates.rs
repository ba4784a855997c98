//! Allowances: whose word counts, and what gates have of them that share a store.

use std::collections::HashMap;
use std::num::NonZeroU32;

use super::{no_limits, record};
use crate::cache::{Limits, Rates};
use crate::token::{Record, TokenLimits};

/// So slow that nothing comes back while a test runs.
fn rates(per_minute: u32) -> Rates {
    let default = Limits { requests_per_minute: NonZeroU32::new(per_minute), ..no_limits() };
    Rates::new(default, HashMap::new(), 100)
}

/// How many requests pass at once.
fn burst(rates: &Rates, record: &Record) -> u32 {
    let rate = rates.of(record);
    (0..1000).take_while(|_| rates.take(&rate).is_ok()).count().try_into().unwrap()
}

#[test]
fn gates_that_share_a_store_have_equal_parts() {
    for (gates, each) in [(0, 6), (1, 6), (2, 3), (3, 2), (4, 1), (6, 1), (7, 1), (1000, 1)] {
        let rates = rates(6);
        rates.share_among(gates);
        assert_eq!(burst(&rates, &record(1)), each, "{gates} gates");
        let limits = Limits { concurrent_streams: 6, ..no_limits() };
        assert_eq!(rates.streams_here(&limits), each, "{gates} gates");
    }
}

#[test]
fn gate_that_joins_leaves_less_of_what_is_not_used_up() {
    let rates = rates(6);
    let token = rates.of(&record(1));
    assert!(rates.take(&token).is_ok());
    rates.share_among(2);
    // Five are left of six, and each request takes two of them.
    assert_eq!(burst(&rates, &record(1)), 2);
}

#[test]
fn tokens_and_cores_have_the_allowance_of_their_token_and_no_other() {
    let rates = rates(3);
    let cores = [rates.of(&record(1)), rates.of(&record(1))];
    for core in [0, 1, 0] {
        assert!(rates.take(&cores[core]).is_ok());
    }
    let refused = rates.take(&cores[1]).unwrap_err();
    assert!((1..=21).contains(&refused.retry_after_seconds), "{refused:?}");
    assert_eq!(burst(&rates, &record(2)), 3);
}

#[test]
fn another_configuration_leaves_used_what_is_used_and_gives_what_is_new() {
    let before = rates(3);
    before.share_among(3);
    assert_eq!(burst(&before, &record(1)), 1);
    let same = before.renewed(rates(3));
    assert_eq!(burst(&same, &record(1)), 0);
    let more = before.renewed(rates(6));
    assert_eq!(burst(&more, &record(1)), 2, "shared among as many gates as before");
}

#[test]
fn token_without_a_limit_is_never_refused() {
    let rates = rates(0);
    assert_eq!(burst(&rates, &record(1)), 1000);
    let mut limited = record(1);
    limited.limits = TokenLimits { requests_per_minute: Some(4), ..TokenLimits::NONE };
    assert_eq!(burst(&rates, &limited), 4);
}
