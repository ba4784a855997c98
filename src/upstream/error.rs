use std::io;

use super::answer_head::BadAnswer;

/// Why a body ended early.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A permitted request got no answer from the upstream.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
pub struct UpstreamError {
    /// What failed.
    pub failure: Failure,
    /// Whether some of the request may have reached the upstream. Safe to be wrong towards `true`.
    pub may_have_been_sent: bool,
}

/// What failed between the gate and the upstream.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No connection could be made.
    #[error("the upstream cannot be reached")]
    Connect(#[source] io::Error),
    /// No connection could be made in time.
    #[error("the upstream did not accept a connection in time")]
    ConnectTimeout,
    /// The connection broke before the head of an answer was there.
    #[error("the upstream broke the connection before it answered")]
    Broken(#[source] io::Error),
    /// What came is not an unambiguous answer.
    #[error("the upstream's answer is not valid HTTP")]
    BadAnswer(#[source] BadAnswer),
    /// The head of the answer did not come in time.
    #[error("the upstream did not begin to answer in time")]
    FirstByteTimeout,
    /// The upstream took nothing more of the request.
    #[error("the upstream did not take the request in time")]
    WriteStalled,
    /// The caller's own body ended early.
    #[error("the caller's body ended early")]
    CallersBody(#[source] BodyError),
}

impl Failure {
    /// The label of the metric.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Broken(_) => "broken",
            Self::BadAnswer(_) => "bad_answer",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::WriteStalled => "write_stalled",
            Self::CallersBody(_) => "callers_body",
        }
    }

    /// Whether the upstream was too slow, rather than broken.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::FirstByteTimeout | Self::WriteStalled)
    }
}
