use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much may be asked with a token. `None` = whatever holds one level up: of the token at its
/// account, of the account at the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenLimits {
    /// Requests a minute, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Event streams open at once, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_streams: Option<u32>,
    /// Longest life of a stream in seconds, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_seconds: Option<u32>,
}

impl TokenLimits {
    /// The most requests a minute that can be said; more than one machine serves.
    pub const REQUESTS_PER_MINUTE_MAX: u32 = 100_000_000;
    /// Nothing of its own.
    pub const NONE: Self =
        Self { requests_per_minute: None, concurrent_streams: None, stream_seconds: None };

    /// These, and where they say nothing, `above`.
    #[must_use]
    pub fn or(self, above: Self) -> Self {
        Self {
            requests_per_minute: self.requests_per_minute.or(above.requests_per_minute),
            concurrent_streams: self.concurrent_streams.or(above.concurrent_streams),
            stream_seconds: self.stream_seconds.or(above.stream_seconds),
        }
    }

    /// Whether all that is said is at least 1: a token that may do nothing is a mistake.
    #[must_use]
    pub fn is_usable(self) -> bool {
        let said = [self.requests_per_minute, self.concurrent_streams, self.stream_seconds];
        said.into_iter().flatten().all(|limit| limit >= 1)
    }
}
