use super::reader::Section;
use super::{days, hours, millis, minutes, seconds};
use std::time::Duration;

pub use crate::policy::WithoutOrigin;

/// How requests are held to the hostname of their token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostnameRules {
    /// What becomes of a request that has no `Origin` and another `Host`. Default refuse.
    pub without_origin: WithoutOrigin,
}

/// How browsers' preflights are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Which origins are answered. Default those of live tokens.
    pub preflight: Preflight,
}

/// Which origins' preflights are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// Those that at least one live token is bound to.
    LiveOrigins,
    /// All.
    Any,
}

/// What is remembered of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// Most records remembered, and about the places of all cores' own caches. Default 100 000.
    pub entries_max: u64,
    /// Longest time a record is remembered; a core uses what it found for as long again, at most a
    /// minute. Default 60 s.
    pub lifetime_max: Duration,
}

/// How far a gate may be behind the feed of deletions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Age of the last confirmation from which on nothing remembered is trusted. Default 3 s.
    pub max_staleness: Duration,
}

/// How long event streams may live, and how many at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    /// How long an open stream may outlive its token. Default 30 s.
    pub expiry_grace: Duration,
    /// Longest life of a stream. Default 1 h.
    pub length_max: Duration,
    /// Most streams open at once for one token. Default 16.
    pub per_token_max: u32,
}

impl HostnameRules {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let words = [("refuse", WithoutOrigin::Refuse), ("allow", WithoutOrigin::Allow)];
        Self { without_origin: section.word("without_origin", WithoutOrigin::Refuse, &words) }
    }
}

impl Cors {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let words = [("live_origins", Preflight::LiveOrigins), ("any", Preflight::Any)];
        Self { preflight: section.word("preflight", Preflight::LiveOrigins, &words) }
    }
}

impl Cache {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            entries_max: section.integer("entries_max", 100_000, 1..=100_000_000),
            lifetime_max: section.duration("lifetime_max", seconds(60), seconds(1)..=hours(1)),
        }
    }
}

impl Revocation {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        // The feed is read every second: less than a little more would never be fresh.
        let range = millis(1500)..=minutes(1);
        Self { max_staleness: section.duration("max_staleness", seconds(3), range) }
    }
}

impl Streams {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self {
            expiry_grace: section.duration("expiry_grace", seconds(30), seconds(0)..=hours(1)),
            length_max: section.duration("length_max", hours(1), seconds(1)..=days(1)),
            per_token_max: section.integer("per_token_max", 16, 1..=10_000),
        }
    }
}
