use std::io;

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
    /// The connection broke before the answer began.
    #[error("the upstream broke the connection before it answered")]
    Broken(#[source] hyper::Error),
    /// The answer did not begin in time.
    #[error("the upstream did not begin to answer in time")]
    FirstByteTimeout,
}

impl Failure {
    /// The label of the metric.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Broken(_) => "broken",
            Self::FirstByteTimeout => "first_byte_timeout",
        }
    }

    /// Whether the upstream was too slow, rather than broken.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::FirstByteTimeout)
    }
}

impl UpstreamError {
    pub(super) fn unsent(failure: Failure) -> Self {
        Self { failure, may_have_been_sent: false }
    }

    pub(super) fn perhaps_sent(failure: Failure) -> Self {
        Self { failure, may_have_been_sent: true }
    }
}
