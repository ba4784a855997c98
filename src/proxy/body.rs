use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep, sleep};

use crate::server::{BrokenBody, RequestBody};

/// Limits of a caller's body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes of the whole body.
    pub bytes_max: u64,
    /// Time for the whole body; none for a body that is only as slow as the minimum rate.
    pub time_max: Option<Duration>,
    /// Bytes a second that must come on average, after the first 10 s.
    pub rate_min: u32,
}

impl BodyLimits {
    /// A body that is here whole, unless it is too large.
    pub fn admit(self, body: Bytes) -> Result<Bytes, BodyProblem> {
        if body.len() as u64 > self.bytes_max {
            return Err(BodyProblem::TooLarge(self.bytes_max));
        }
        Ok(body)
    }
}

/// How long a body may be slow at its beginning.
const RATE_GRACE: Duration = Duration::from_secs(10);

/// Why a caller's body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyProblem {
    /// More bytes than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(u64),
    /// Too slow.
    #[error("the body came too slowly")]
    TooSlow,
    /// The connection broke, or the framing did.
    #[error(transparent)]
    Broken(BrokenBody),
}

/// A caller's body with its limits held: bytes, time, and rate. The deadline moves on as bytes come.
#[derive(Debug)]
pub struct MeteredBody {
    incoming: RequestBody,
    limits: BodyLimits,
    began: Instant,
    received: u64,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl MeteredBody {
    /// Holds `incoming` to `limits`; refuses at once a length that is known to be too large.
    pub fn new(incoming: RequestBody, limits: BodyLimits) -> Result<Self, BodyProblem> {
        if incoming.size_hint().lower() > limits.bytes_max {
            return Err(BodyProblem::TooLarge(limits.bytes_max));
        }
        Ok(Self { incoming, limits, began: Instant::now(), received: 0, deadline: None })
    }

    fn time_left(&self) -> Duration {
        let by_rate = Duration::from_secs(self.received / u64::from(self.limits.rate_min.max(1)));
        let allowed = (RATE_GRACE + by_rate).min(self.limits.time_max.unwrap_or(Duration::MAX));
        allowed.saturating_sub(self.began.elapsed())
    }
}

impl Body for MeteredBody {
    type Data = Bytes;
    type Error = BodyProblem;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyProblem>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            let left = this.time_left();
            let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep(left)));
            return deadline.as_mut().poll(cx).map(|()| Some(Err(BodyProblem::TooSlow)));
        };
        this.deadline = None;
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyProblem::Broken(error)))),
            None => return Poll::Ready(None),
        };
        this.received += frame.data_ref().map_or(0, |data| data.len() as u64);
        if this.received > this.limits.bytes_max {
            return Poll::Ready(Some(Err(BodyProblem::TooLarge(this.limits.bytes_max))));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Reads a body whole.
pub async fn collect(incoming: RequestBody, limits: BodyLimits) -> Result<Bytes, BodyProblem> {
    let incoming = match incoming.try_into_whole() {
        Ok(body) => return limits.admit(body),
        Err(arriving) => arriving,
    };
    let body = MeteredBody::new(incoming, limits)?;
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    Ok(body.collect().await?.to_bytes())
}
