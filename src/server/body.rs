use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::head::Framing;

/// A request's body as its connection gives it.
#[derive(Debug)]
pub struct RequestBody(Source);

#[derive(Debug)]
enum Source {
    /// All of it is here, or there is none.
    Whole(Bytes),
    /// It is still on its way.
    Arriving(Rc<Arrivals>),
    /// It comes over HTTP/2, whose library reads it.
    Http2(Incoming),
}

/// A request's body that breaks off, or whose framing does.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off, or its framing is malformed")]
pub struct BrokenBody(#[source] Box<dyn std::error::Error + Send + Sync>);

/// What passes between a body and the connection that reads it. Nothing is read before it is asked
/// for.
#[derive(Debug)]
pub(super) struct Arrivals {
    state: RefCell<State>,
    framing: Framing,
}

#[derive(Debug)]
struct State {
    asked_by: Option<Waker>,
    next: Option<Result<Bytes, BrokenBody>>,
    received: u64,
    ended: bool,
}

impl BrokenBody {
    pub(super) fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl RequestBody {
    /// A body that is all here.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self(Source::Whole(bytes))
    }

    /// All of the body if it is here already, or else the body.
    pub fn try_into_whole(self) -> Result<Bytes, Self> {
        match self.0 {
            Source::Whole(bytes) => Ok(bytes),
            arriving => Err(Self(arriving)),
        }
    }

    /// A body that its connection reads when it is asked for.
    pub(super) fn arriving(framing: Framing) -> (Self, Rc<Arrivals>) {
        let state = State { asked_by: None, next: None, received: 0, ended: false };
        let arrivals = Rc::new(Arrivals { state: RefCell::new(state), framing });
        (Self(Source::Arriving(Rc::clone(&arrivals))), arrivals)
    }
}

impl From<Incoming> for RequestBody {
    fn from(incoming: Incoming) -> Self {
        Self(Source::Http2(incoming))
    }
}

impl Arrivals {
    /// Whether the body has been asked for its next piece.
    pub(super) fn is_asked_for(&self) -> bool {
        self.state.borrow().asked_by.is_some()
    }

    /// Hands on what has come, and whether nothing comes after it.
    pub(super) fn hand_on(
        &self,
        piece: Option<Result<Bytes, BrokenBody>>,
        ended: bool,
        cx: &Context<'_>,
    ) {
        let mut state = self.state.borrow_mut();
        state.ended = ended;
        state.next = piece;
        // Whoever asked is part of the task that reads, and is polled next; another task is told.
        if let Some(waker) = state.asked_by.take()
            && !waker.will_wake(cx.waker())
        {
            waker.wake();
        }
    }

    fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        let mut state = self.state.borrow_mut();
        if let Some(piece) = state.next.take() {
            state.received += piece.as_ref().map_or(0, |data| data.len() as u64);
            return Poll::Ready(Some(piece));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.asked_by = Some(cx.waker().clone());
        Poll::Pending
    }

    fn left(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length.saturating_sub(self.state.borrow().received)),
            Framing::Chunked => None,
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match &mut self.0 {
            Source::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Arriving(arrivals) => {
                arrivals.poll_next(cx).map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
            Source::Http2(incoming) => Pin::new(incoming).poll_frame(cx).map(|frame| {
                frame.map(|frame| match frame {
                    Ok(frame) if frame.is_trailers() => Err(BrokenBody::new("it has trailers")),
                    frame => frame.map_err(BrokenBody::new),
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Arriving(arrivals) => {
                let state = arrivals.state.borrow();
                state.ended && state.next.is_none()
            }
            Source::Http2(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Arriving(arrivals) => {
                arrivals.left().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Source::Http2(incoming) => incoming.size_hint(),
        }
    }
}
