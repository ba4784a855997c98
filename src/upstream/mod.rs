//! The one client that speaks to the agents API: HTTP/1.1 (RFC 9112), driven in the task of the
//! request it serves.
//!
//! Owns connections to the upstream, one pool a core, every deadline on them, and the strictness of
//! what is sent and accepted. Leaves what to send to `proxy`. Must always hold: a connection is used
//! again only after an exchange that was complete and regular on both sides, and nothing that may
//! have reached the upstream is sent twice.

mod answer_body;
mod answer_head;
mod client;
mod error;
mod exchange;
mod request;
mod wire;

#[cfg(test)]
mod tests;

pub use answer_body::{AnswerBody, IdleTimeout};
pub use answer_head::{AnswerFraming, AnswerHead, BadAnswer};
#[cfg(feature = "fuzzing")]
pub(crate) use answer_head::{Parsed, parse as parse_answer};
pub use client::Client;
pub use error::{BodyError, Failure, UpstreamError};
pub use request::{HeaderLines, OutgoingBody, OutgoingRequest, Unsendable};
