use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A request's body as its connection gives it, whatever the protocol.
#[derive(Debug)]
pub struct RequestBody(Incoming);

/// A request's body that breaks off, or whose framing does.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off, or its framing is malformed")]
pub struct BrokenBody(#[source] Box<dyn std::error::Error + Send + Sync>);

impl From<Incoming> for RequestBody {
    fn from(incoming: Incoming) -> Self {
        Self(incoming)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(|error| BrokenBody(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
