use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::connection::StreamHold;
use super::events::EventBoundary;
use crate::answer::with_page;
use crate::audit::RequestEvent;
use crate::cache::Cut;
use crate::telemetry::Metrics;
use crate::upstream::{AnswerBody, BodyError};

/// The body of every answer. Carries the request's event, which is written when the body is dropped.
#[derive(Debug)]
pub struct ReplyBody {
    content: Content,
    event: Option<Box<RequestEvent>>,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Upstream(AnswerBody),
    Stream(Box<StreamRelay>),
}

/// An event stream that is passed on chunk by chunk, unchanged, until it ends or is cut.
#[derive(Debug)]
pub(super) struct StreamRelay {
    upstream: Option<AnswerBody>,
    boundary: EventBoundary,
    hold: StreamHold,
    metrics: Arc<Metrics>,
}

/// The data of a cut stream's final event.
#[derive(serde::Serialize)]
struct LastEvent {
    message: String,
    code: &'static str,
}

impl ReplyBody {
    /// An answer that is all here.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self { content: Content::Whole(bytes), event: None }
    }

    /// The upstream's body as it comes.
    pub(super) fn upstream(body: AnswerBody) -> Self {
        Self { content: Content::Upstream(body), event: None }
    }

    /// The upstream's event stream, cut when its token says so.
    pub(super) fn stream(relay: StreamRelay) -> Self {
        Self { content: Content::Stream(Box::new(relay)), event: None }
    }

    /// Hands the request's event over to its answer's body.
    pub(super) fn carry(&mut self, event: Option<Box<RequestEvent>>) {
        self.event = event;
    }

    fn note(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, BodyError>>>) {
        let ended = matches!(polled, Poll::Ready(None)) || self.is_end_stream();
        let Some(event) = &mut self.event else { return };
        if let Poll::Ready(Some(Ok(frame))) = polled {
            event.sent_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        event.complete = ended && !matches!(polled, Poll::Ready(Some(Err(_))));
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Upstream(body) => Pin::new(body).poll_frame(cx),
            Content::Stream(relay) => relay.poll_frame(cx),
        };
        self.note(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Upstream(body) => body.is_end_stream(),
            Content::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Upstream(body) => body.size_hint(),
            // It may be cut, whatever length the upstream announced.
            Content::Stream(_) => SizeHint::default(),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        // A body without content is never polled.
        let ended = self.is_end_stream();
        if let Some(event) = &mut self.event {
            event.complete |= ended;
        }
    }
}

impl StreamRelay {
    pub(super) fn new(upstream: AnswerBody, hold: StreamHold, metrics: Arc<Metrics>) -> Self {
        metrics.streams.inc();
        Self { upstream: Some(upstream), boundary: EventBoundary::default(), hold, metrics }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(upstream) = &mut self.upstream else { return Poll::Ready(None) };
        let cut = self.hold.cut();
        if let Some(cut) = cut
            && self.boundary.is_between_events()
        {
            return Poll::Ready(Some(Ok(Frame::data(self.end(&[], cut)))));
        }
        let frame = std::task::ready!(Pin::new(upstream).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(chunk) = frame.data_ref()
        {
            match cut {
                None => self.boundary.pass(chunk),
                Some(cut) => {
                    if let Some(end) = self.boundary.pass_event(chunk) {
                        let rest_of_event = chunk.slice(..end.min(chunk.len()));
                        return Poll::Ready(Some(Ok(Frame::data(self.end(&rest_of_event, cut)))));
                    }
                }
            }
        }
        if !matches!(frame, Some(Ok(_))) {
            self.upstream = None;
        }
        Poll::Ready(frame)
    }

    /// The rest of the last event and the final event after it. Drops the upstream request.
    fn end(&mut self, rest_of_event: &[u8], cut: Cut) -> Bytes {
        self.upstream = None;
        self.metrics.stream_cut(cut.code());
        let data = LastEvent { message: with_page(cut.message(), cut.code()), code: cut.code() };
        let data = serde_json::to_string(&data).unwrap_or_default();
        let mut last = BytesMut::with_capacity(rest_of_event.len() + data.len() + 24);
        for part in [rest_of_event, b"event: error\ndata: ", data.as_bytes(), b"\n\n"] {
            last.extend_from_slice(part);
        }
        last.freeze()
    }
}

impl Drop for StreamRelay {
    fn drop(&mut self) {
        self.metrics.streams.dec();
    }
}
