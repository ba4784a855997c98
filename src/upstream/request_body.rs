use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Why a caller's body ended early; the request must not be completed upstream.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request to the upstream.
pub struct RequestBody {
    content: Content,
    /// Set once the whole body has been handed over: until then the exchange is not regular.
    handed_over: Rc<Cell<bool>>,
}

enum Content {
    Nothing,
    Whole(Option<Bytes>),
    Streamed(Pin<Box<dyn Body<Data = Bytes, Error = BodyError>>>),
}

impl RequestBody {
    /// No body.
    #[must_use]
    pub fn nothing() -> Self {
        Self::of(Content::Nothing)
    }

    /// A body that is all here.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self::of(Content::Whole(Some(bytes)))
    }

    /// A body that is passed on as it comes.
    #[must_use]
    pub fn streamed(body: impl Body<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self::of(Content::Streamed(Box::pin(body)))
    }

    fn of(content: Content) -> Self {
        let nothing_left = matches!(content, Content::Nothing);
        Self { content, handed_over: Rc::new(Cell::new(nothing_left)) }
    }

    /// Tells, later on, whether the whole body was handed over.
    pub(super) fn handed_over(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.handed_over)
    }

    /// Whether there is nothing in it.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self.content, Content::Nothing)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.content {
            Content::Nothing => None,
            Content::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Content::Streamed(body) => std::task::ready!(body.as_mut().poll_frame(cx)),
        };
        let ended = frame.is_none() || matches!(&self.content, Content::Whole(None));
        let streamed_ended =
            matches!(&self.content, Content::Streamed(body) if body.is_end_stream());
        if ended || (streamed_ended && matches!(frame, Some(Ok(_)))) {
            self.handed_over.set(true);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Nothing | Content::Whole(None) => true,
            Content::Whole(Some(bytes)) => bytes.is_empty(),
            Content::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Nothing | Content::Whole(None) => SizeHint::with_exact(0),
            Content::Whole(Some(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Content::Streamed(body) => body.size_hint(),
        }
    }
}

impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody").field("size", &self.size_hint()).finish()
    }
}
