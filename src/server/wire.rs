//! A client's socket: what comes is taken apart into heads and bodies, what goes out is written
//! within its time.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem::Finder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::body::BrokenBody;
use super::chunked::ChunkedFraming;
use super::head::{Framing, HeadEnd, Malformed, RequestHead, end_of_head, read_first_head};
use super::settings::ConnectionSettings;
use crate::clock::{MovingDeadline, step_time};

/// Bytes read from a socket at once.
const READ_BYTES: usize = 16 << 10;
/// What is read and thrown away at most after the last answer, so that it is not lost to a reset.
const LINGER_BYTES: usize = 64 << 10;
/// How long that may take.
const LINGER_TIME: Duration = Duration::from_millis(500);
/// What is kept at most of requests that come before the one under way has been answered.
const AHEAD_BYTES_MAX: usize = 64 << 10;
/// What comes at once is taken for one head up to this size: it is copied whole, also where there are
/// several in it.
const USUAL_HEAD_BYTES_MAX: usize = 4 << 10;
/// Finds the end of a line, and an empty one behind it.
static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// One core's buffers, shared by its connections: nothing of a connection stays in them while it
/// waits.
#[derive(Debug, Default)]
pub struct Buffers {
    pub(super) read: RefCell<Vec<u8>>,
    pub(super) write: RefCell<Vec<u8>>,
}

/// A client's socket, read strictly.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    settings: ConnectionSettings,
    buffers: Rc<Buffers>,
    /// What has come and has not been taken yet.
    held: BytesMut,
    /// How much of a head in `held` is known to have no end.
    scanned: usize,
    at: At,
    /// Until when the next head must be whole, or begin.
    deadline: MovingDeadline,
    stall: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

#[derive(Debug)]
enum At {
    Head,
    Body {
        left: u64,
    },
    Chunks(ChunkedFraming),
    /// The framing is in doubt: nothing more is read.
    Lost,
}

/// The next thing on a connection.
#[derive(Debug)]
pub(super) enum Next {
    /// A request.
    Head(RequestHead),
    /// A head that is refused; nothing behind it is read. Whether it asks for a head only.
    Refused(Malformed, bool),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S, settings: ConnectionSettings, buffers: Rc<Buffers>) -> Self {
        let deadline = MovingDeadline::new(step_time() + settings.header_timeout);
        Self {
            stream,
            settings,
            buffers,
            held: BytesMut::new(),
            scanned: 0,
            at: At::Head,
            deadline,
            stall: None,
            ended: false,
        }
    }

    /// Whether the whole of the request under way has come.
    pub(super) fn is_at_head(&self) -> bool {
        matches!(self.at, At::Head)
    }

    /// The next request may begin: from now on it has the keep-alive time to do so.
    pub(super) fn await_head(&mut self) {
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        self.deadline.set(step_time() + self.settings.keep_alive_timeout);
    }

    /// A request that has not begun yet must begin until then, if it had longer.
    pub(super) fn await_head_until(&mut self, latest: Instant) {
        if self.held.is_empty() {
            self.deadline.set(self.deadline.at().min(latest));
        }
    }

    /// The next request; `None` when the connection has ended, or did not bring one in time.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Option<Next>> {
        loop {
            if !self.held.is_empty()
                && let Some(next) = self.take_held_head()
            {
                return Poll::Ready(Some(next));
            }
            match self.poll_read(cx, Self::take_fresh_head) {
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(Some(None))) => {}
                Poll::Ready(Ok(Some(next))) => return Poll::Ready(next),
                Poll::Pending => return self.deadline.poll(cx).map(|()| None),
            }
        }
    }

    /// Takes a head from what is held.
    fn take_held_head(&mut self) -> Option<Next> {
        let mut held = std::mem::take(&mut self.held);
        let taken = self.take_head(&held);
        held.advance(taken.as_ref().map_or(0, |(_, used)| *used));
        self.held = held;
        taken.map(|(next, _)| next)
    }

    /// Takes a head from bytes that were just read: the usual one is whole at once, and never held.
    fn take_fresh_head(&mut self, read: &[u8]) -> Option<Next> {
        if !self.held.is_empty() {
            self.hold(read);
            return None;
        }
        let taken = self.take_head(read);
        let used = taken.as_ref().map_or(0, |(_, used)| *used);
        self.hold(read.get(used..).unwrap_or_default());
        taken.map(|(next, _)| next)
    }

    /// Takes a head from the beginning of `bytes`, if it is whole or cannot become one: and how many
    /// of them that takes.
    fn take_head(&mut self, bytes: &[u8]) -> Option<(Next, usize)> {
        let refusal = match self.find_end(bytes) {
            Ok(HeadEnd::At(end)) if end > self.settings.head.head_bytes_max => {
                Some(Malformed::HeadTooLarge)
            }
            Ok(HeadEnd::At(end)) => {
                self.scanned = 0;
                let heads = bytes.get(..end).unwrap_or_default();
                return Some(match read_first_head(heads, self.settings.head) {
                    Ok((head, length)) => {
                        self.at = match head.framing {
                            Framing::Length(0) => At::Head,
                            Framing::Length(left) => At::Body { left },
                            Framing::Chunked => At::Chunks(ChunkedFraming::default()),
                        };
                        (Next::Head(head), length)
                    }
                    Err(refusal) => (self.refuse(refusal, bytes), end),
                });
            }
            Ok(HeadEnd::NotYet) => self.grows_too_large(bytes),
            Err(refusal) => Some(refusal),
        };
        if let Some(refusal) = refusal {
            return Some((self.refuse(refusal, bytes), bytes.len()));
        }
        if self.scanned == 0 {
            // Its first bytes: from now on it has the time of a head.
            let late = step_time() + self.settings.header_timeout;
            self.deadline.set(self.deadline.at().min(late));
        }
        self.scanned = bytes.len();
        None
    }

    /// Where a head ends: the first one, or one behind it.
    fn find_end(&self, bytes: &[u8]) -> Result<HeadEnd, Malformed> {
        let fits = bytes.len() <= self.settings.head.head_bytes_max.min(USUAL_HEAD_BYTES_MAX);
        if self.scanned == 0 && fits && bytes.ends_with(b"\r\n\r\n") {
            // What came ends with an empty line. The usual request has no other.
            return Ok(HeadEnd::At(bytes.len()));
        }
        if self.scanned == 0
            && let Some(empty_line) = EMPTY_LINE.find(bytes)
        {
            // The usual head is whole at once. A line end before that is none is refused as it is read.
            return Ok(HeadEnd::At(empty_line + 4));
        }
        // Two steps back: the line end may have come in halves.
        end_of_head(bytes, self.scanned.saturating_sub(2))
    }

    fn refuse(&mut self, refusal: Malformed, bytes: &[u8]) -> Next {
        self.at = At::Lost;
        Next::Refused(refusal, bytes.starts_with(b"HEAD "))
    }

    fn grows_too_large(&self, bytes: &[u8]) -> Option<Malformed> {
        let limits = self.settings.head;
        let in_request_line = memchr::memchr(b'\n', bytes).is_none();
        // A method and a version stand beside the target.
        if in_request_line && bytes.len() > limits.target_bytes_max + 32 {
            return Some(Malformed::TargetTooLong);
        }
        (bytes.len() > limits.head_bytes_max).then_some(Malformed::HeadTooLarge)
    }

    /// The body of the request under way, if all of it is here.
    pub(super) fn take_whole_body(&mut self) -> Option<Bytes> {
        let At::Body { left } = self.at else {
            return self.is_at_head().then(Bytes::new);
        };
        let left = usize::try_from(left).ok().filter(|left| *left <= self.held.len())?;
        self.at = At::Head;
        let body = if left == self.held.len() {
            std::mem::take(&mut self.held)
        } else {
            self.held.split_to(left)
        };
        Some(body.freeze())
    }

    /// The next piece of the body of the request under way; `None` at its end.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BrokenBody>>> {
        loop {
            match self.take_body() {
                Ok(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(None) if self.is_at_head() => return Poll::Ready(None),
                Ok(None) => {}
                Err(broken) => return Poll::Ready(Some(Err(self.lose(broken)))),
            }
            let broken = match ready!(self.poll_fill(cx)) {
                Ok(0) => BrokenBody::new(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(_) => continue,
                Err(error) => BrokenBody::new(error),
            };
            return Poll::Ready(Some(Err(self.lose(broken))));
        }
    }

    fn lose(&mut self, broken: BrokenBody) -> BrokenBody {
        self.at = At::Lost;
        broken
    }

    fn take_body(&mut self) -> Result<Option<Bytes>, BrokenBody> {
        match &mut self.at {
            At::Head => Ok(None),
            At::Lost => Err(BrokenBody::new("its framing is in doubt")),
            At::Body { left } => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(self.held.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.at = At::Head;
                }
                Ok((taken > 0).then(|| self.held.split_to(taken).freeze()))
            }
            At::Chunks(framing) => {
                let piece = framing.take_data(&mut self.held).map_err(BrokenBody::new)?;
                if framing.has_ended() {
                    self.at = At::Head;
                }
                Ok(piece)
            }
        }
    }

    /// Reads ahead while a request is being answered; ready when the client has gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_at_head() {
            return Poll::Pending;
        }
        while self.held.len() < AHEAD_BYTES_MAX {
            match ready!(self.poll_fill(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Reads into what is held; 0 is the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let hold = |this: &mut Self, read: &[u8]| {
            this.hold(read);
            read.len()
        };
        self.poll_read(cx, hold).map_ok(|read| read.unwrap_or(0))
    }

    /// Reads, through the core's buffer, and hands on what was read; `None` at the end.
    fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Self, &[u8]) -> T,
    ) -> Poll<io::Result<Option<T>>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let buffers = Rc::clone(&self.buffers);
        let mut scratch = buffers.read.borrow_mut();
        scratch.resize(READ_BYTES, 0);
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        self.ended = read.is_empty();
        Poll::Ready(Ok((!self.ended).then(|| take(self, read))))
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.held.is_empty() {
            self.held = BytesMut::from(bytes);
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    /// Writes from the beginning of `bytes`; an error also when the client takes nothing for too
    /// long.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                self.stall = None;
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_stalled(cx).map(Err),
        }
    }

    /// Flushes what a layer between this and the socket may still have.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => self.poll_stalled(cx).map(Err),
            flushed @ Poll::Ready(_) => flushed,
        }
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let timeout = self.settings.write_stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        stall.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }

    /// Ends the sending side, then reads on for a moment: closing a socket that still has unread
    /// bytes would reset it, and the client might never see the answer.
    pub(super) async fn close(mut self) {
        let reading_on = async {
            poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
            let mut left = LINGER_BYTES;
            while left > 0 {
                self.held = BytesMut::new();
                match poll_fn(|cx| self.poll_fill(cx)).await? {
                    0 => break,
                    read => left = left.saturating_sub(read),
                }
            }
            Ok::<_, io::Error>(())
        };
        let _ = tokio::time::timeout(LINGER_TIME, reading_on).await;
    }
}
