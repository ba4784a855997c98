//! Inner parsers, opened to the fuzz targets under `tests/fuzz` and to nothing else.
//!
//! Owns no behaviour: each function calls one parser of bytes that come from outside. Exists only
//! with the feature `fuzzing`, which no release is built with.

use jiff::Timestamp;

use crate::proxy::EventBoundary;
use crate::server::{HeadEnd, Malformed};
use crate::upstream::{AnswerHead, BadAnswer, Parsed};

/// Where a head ends, looking at line ends from `from` on; `None` while it is not whole.
pub fn end_of_head(bytes: &[u8], from: usize) -> Result<Option<usize>, Malformed> {
    crate::server::end_of_head(bytes, from).map(|end| match end {
        HeadEnd::At(end) => Some(end),
        HeadEnd::NotYet => None,
    })
}

/// An event stream, followed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Events(EventBoundary);

impl Events {
    /// Follows `bytes`.
    pub fn pass(&mut self, bytes: &[u8]) {
        self.0.pass(bytes);
    }

    /// Whether the last event is complete.
    #[must_use]
    pub fn is_between_events(self) -> bool {
        self.0.is_between_events()
    }

    /// Follows `bytes` up to the end of the first event; returns how many bytes that took.
    pub fn pass_event(&mut self, bytes: &[u8]) -> Option<usize> {
        self.0.pass_event(bytes)
    }
}

/// The moment that an `expires_at` means.
#[must_use]
pub fn expiry(text: &str) -> Option<Timestamp> {
    crate::token_api::parse_expiry(text).ok()
}

/// The final head at the beginning of what an upstream sent, and its length; `None` while it is not
/// whole, or only an interim answer is.
pub fn answer_head(
    bytes: &[u8],
    answers_head_request: bool,
) -> Result<Option<(AnswerHead, usize)>, BadAnswer> {
    Ok(match crate::upstream::parse_answer(bytes, answers_head_request, |_| true)? {
        Parsed::Final(head, length) => Some((head, length)),
        Parsed::Partial | Parsed::Interim(_) => None,
    })
}
