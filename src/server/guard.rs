//! Reads from a client's socket before hyper does, and hands on only what is unambiguous.
//!
//! A head is withheld until it is whole and has been checked; the body's framing is followed as it
//! passes. In place of a head that is refused, hyper is given a plain request of the gate's own, and
//! [`Heads`] tells the service that this one stands for a refusal: so every refusal is answered in
//! the one shape, and nothing behind it on the connection is ever read as a request.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::chunked::ChunkedFraming;
use super::head::{Framing, HeadEnd, HeadLimits, Malformed, check_head, end_of_head};

/// Given to hyper in the place of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\n\r\n";
/// The same for a `HEAD`, whose answer must not have a body.
const STAND_IN_FOR_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nhost: refused\r\n\r\n";
/// Bytes read from a socket at once.
const READ_BYTES: usize = 16 << 10;
/// A buffer above this is given back when it is empty.
const KEPT_BYTES: usize = 2 << 10;
/// What is read and thrown away at most after the last answer, so that it is not lost to a reset.
const LINGER_BYTES: usize = 64 << 10;
/// How long that may take.
const LINGER_TIME: Duration = Duration::from_millis(500);

/// Limits of reading and writing.
#[derive(Clone, Copy, Debug)]
pub struct GuardSettings {
    /// How large a head may be.
    pub head: HeadLimits,
    /// How long a head may take: the first from accepting, the others from their first byte.
    pub header_timeout: Duration,
    /// How long a client may take none of an answer that is ready for it.
    pub write_stall_timeout: Duration,
}

/// Which of a connection's requests stands for a refusal. Shared between guard and service.
#[derive(Debug, Default)]
pub struct Heads {
    served: Cell<u64>,
    refused: Cell<Option<(u64, Malformed)>>,
}

/// A client's socket, read strictly.
#[derive(Debug)]
pub struct Guard<S = TcpStream> {
    stream: S,
    settings: GuardSettings,
    heads: Rc<Heads>,
    scratch: Rc<RefCell<Vec<u8>>>,
    at: At,
    /// The beginning of a head that is not whole yet.
    held: Vec<u8>,
    /// How much of `held` is known to have no line end.
    scanned: usize,
    /// Checked bytes for hyper, from `ready_from` on.
    ready: Vec<u8>,
    ready_from: usize,
    heads_passed: u64,
    head_deadline: Option<Pin<Box<Sleep>>>,
    saw_end: bool,
    stall: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
}

#[derive(Debug)]
struct Linger {
    until: Pin<Box<Sleep>>,
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Head,
    Body {
        left: u64,
    },
    Chunks(ChunkedFraming),
    /// A head was refused: nothing more is read.
    Refused,
}

impl Heads {
    /// Called once for each request that hyper hands to the service, in order: whether this one
    /// stands for a refusal.
    pub fn next(&self) -> Result<(), Malformed> {
        let number = self.served.get();
        self.served.set(number + 1);
        match self.refused.get() {
            Some((refused, why)) if refused == number => Err(why),
            _ => Ok(()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Guards a socket. `scratch` is one core's read buffer, shared by its connections: nothing
    /// stays in it between two calls.
    #[must_use]
    pub fn new(
        stream: S,
        settings: GuardSettings,
        heads: Rc<Heads>,
        scratch: Rc<RefCell<Vec<u8>>>,
    ) -> Self {
        Self {
            stream,
            settings,
            heads,
            scratch,
            at: At::Head,
            held: Vec::new(),
            scanned: 0,
            ready: Vec::new(),
            ready_from: 0,
            heads_passed: 0,
            head_deadline: Some(Box::pin(sleep(settings.header_timeout))),
            saw_end: false,
            stall: None,
            linger: None,
        }
    }

    /// Takes in bytes from the socket; what may pass is appended to `ready`.
    fn take_in(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Refused => return Ok(()),
                At::Head => bytes = self.take_head(bytes),
                At::Body { left } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (body, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
                    *left -= taken as u64;
                    if *left == 0 {
                        self.at = At::Head;
                    }
                    self.ready.extend_from_slice(body);
                    bytes = rest;
                }
                At::Chunks(framing) => {
                    let taken = framing
                        .pass(bytes)
                        .map_err(|refusal| io::Error::new(io::ErrorKind::InvalidData, refusal))?;
                    let (body, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
                    if framing.has_ended() {
                        self.at = At::Head;
                    }
                    self.ready.extend_from_slice(body);
                    bytes = rest;
                }
            }
        }
        Ok(())
    }

    /// Takes the next head from `bytes`, together with what is held of it; returns what follows it.
    fn take_head<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        if self.held.is_empty() {
            // The usual case: a head that comes whole is checked where it lies.
            return match end_of_head(bytes, 0) {
                Ok(HeadEnd::At(end)) => {
                    let (head, rest) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
                    self.pass_head(head);
                    rest
                }
                Ok(HeadEnd::NotYet) => {
                    self.hold(bytes);
                    &[]
                }
                Err(refusal) => self.refuse(refusal, stand_in_for(bytes)),
            };
        }
        let held_before = self.held.len();
        self.held.extend_from_slice(bytes);
        // Two steps back: the line end may have come in halves.
        match end_of_head(&self.held, self.scanned.saturating_sub(2)) {
            Ok(HeadEnd::At(end)) => {
                let mut head = std::mem::take(&mut self.held);
                head.truncate(end);
                self.scanned = 0;
                self.pass_head(&head);
                bytes.get(end.saturating_sub(held_before)..).unwrap_or_default()
            }
            Ok(HeadEnd::NotYet) => {
                self.scanned = self.held.len();
                self.refuse_if_too_large();
                &[]
            }
            Err(refusal) => self.refuse(refusal, stand_in_for(&self.held)),
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        self.scanned = self.held.len();
        self.refuse_if_too_large();
    }

    fn refuse_if_too_large(&mut self) {
        let limits = self.settings.head;
        let in_request_line = memchr::memchr(b'\n', &self.held).is_none();
        // A method and a version stand beside the target.
        if in_request_line && self.held.len() > limits.target_bytes_max + 32 {
            self.refuse(Malformed::TargetTooLong, stand_in_for(&self.held));
        } else if self.held.len() > limits.head_bytes_max {
            self.refuse(Malformed::HeadTooLarge, stand_in_for(&self.held));
        }
    }

    fn pass_head(&mut self, head: &[u8]) {
        let checked = if head.len() > self.settings.head.head_bytes_max {
            Err(Malformed::HeadTooLarge)
        } else {
            check_head(head, self.settings.head)
        };
        self.head_deadline = None;
        match checked {
            Ok(framing) => {
                self.heads_passed += 1;
                self.ready.extend_from_slice(head);
                self.at = match framing {
                    Framing::Length(0) => At::Head,
                    Framing::Length(left) => At::Body { left },
                    Framing::Chunked => At::Chunks(ChunkedFraming::default()),
                };
            }
            Err(refusal) => {
                self.refuse(refusal, stand_in_for(head));
            }
        }
    }

    fn refuse(&mut self, refusal: Malformed, stand_in: &'static [u8]) -> &'static [u8] {
        self.heads.refused.set(Some((self.heads_passed, refusal)));
        self.ready.extend_from_slice(stand_in);
        self.held = Vec::new();
        self.at = At::Refused;
        &[]
    }

    fn hand_over(&mut self, cursor: &mut ReadBufCursor<'_>) {
        let waiting = self.ready.get(self.ready_from..).unwrap_or_default();
        let taken = waiting.len().min(cursor.remaining());
        cursor.put_slice(waiting.get(..taken).unwrap_or_default());
        self.ready_from += taken;
        if self.ready_from == self.ready.len() {
            self.ready_from = 0;
            self.ready.clear();
            if self.ready.capacity() > KEPT_BYTES {
                self.ready = Vec::new();
            }
        }
    }

    fn poll_head_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.head_deadline.is_none() && !self.held.is_empty() {
            self.head_deadline = Some(Box::pin(sleep(self.settings.header_timeout)));
        }
        let late = self.head_deadline.as_mut().map(|deadline| deadline.as_mut().poll(cx));
        late.unwrap_or(Poll::Pending).map(|()| io::ErrorKind::TimedOut.into())
    }

    fn stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let timeout = self.settings.write_stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        stall.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }

    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        self.stalled(cx).map(Err)
    }
}

/// What hyper is given in the place of a head that begins like this.
fn stand_in_for(head: &[u8]) -> &'static [u8] {
    if head.starts_with(b"HEAD ") { STAND_IN_FOR_HEAD } else { STAND_IN }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.ready_from < this.ready.len() {
                this.hand_over(&mut cursor);
                return Poll::Ready(Ok(()));
            }
            if this.at == At::Refused {
                // Nothing more comes from here; the answer closes the connection.
                return Poll::Pending;
            }
            let scratch = Rc::clone(&this.scratch);
            let mut scratch = scratch.borrow_mut();
            scratch.resize(READ_BYTES, 0);
            let mut buffer = ReadBuf::new(&mut scratch);
            if Pin::new(&mut this.stream).poll_read(cx, &mut buffer)?.is_pending() {
                return this.poll_head_deadline(cx).map(Err);
            }
            if buffer.filled().is_empty() {
                this.saw_end = true;
                return Poll::Ready(Ok(()));
            }
            this.take_in(buffer.filled())?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for Guard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.progress(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    /// Ends the sending side, then reads on for a moment: closing a socket that still has unread
    /// bytes would reset it, and the client might never see the answer.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let linger = this.linger.get_or_insert_with(|| Linger {
            until: Box::pin(sleep(LINGER_TIME)),
            left: LINGER_BYTES,
        });
        let mut scratch = this.scratch.borrow_mut();
        scratch.resize(READ_BYTES, 0);
        while !this.saw_end && linger.left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    linger.left = linger.left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending => return linger.until.as_mut().poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}
