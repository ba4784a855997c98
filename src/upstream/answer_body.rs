use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::answer_head::{AnswerFraming, BadAnswer};
use super::client::Client;
use super::error::BodyError;
use super::exchange::{Connection, READ_BYTES};
use crate::message::{Lines, name_end};

/// A chunk up to this size goes on whole, as the upstream sent it: a client that decodes each chunk
/// by itself never sees half a character.
const WHOLE_CHUNK_BYTES_MAX: usize = 64 << 10;
/// Longest line that announces a chunk: eight digits and CRLF.
const CHUNK_LINE_BYTES_MAX: usize = 10;
/// Most trailer fields behind a chunked body, and their bytes.
const TRAILERS_MAX: usize = 16;
const TRAILER_BYTES_MAX: usize = 4 << 10;

/// An answer's body as it comes from the upstream. Dropping it before its end drops the connection.
#[derive(Debug)]
pub struct AnswerBody {
    connection: Option<Box<Connection>>,
    /// Whose connection it is, and whose buffer: a stream that waits holds none of its own.
    client: Rc<Client>,
    /// Read, and not handed on yet.
    held: BytesMut,
    at: At,
    /// Whether the connection may serve again once the body is whole.
    regular: bool,
    idle: Option<Pin<Box<Sleep>>>,
}

/// The upstream sent nothing for longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("the upstream stopped sending for {0:?}")]
pub struct IdleTimeout(Duration);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// This much of a body of known length is left.
    Length(u64),
    /// A chunk's size comes next.
    ChunkSize,
    /// This much of a chunk is left.
    Chunk(u64),
    /// The line end behind a chunk's data.
    ChunkEnd,
    /// The trailer fields behind the last chunk, and the empty line behind them.
    Trailers,
    /// Whatever comes until the connection ends.
    UntilClose,
    End,
}

impl AnswerBody {
    pub(super) fn new(
        (connection, client): (Box<Connection>, Rc<Client>),
        held: BytesMut,
        framing: AnswerFraming,
        regular: bool,
    ) -> Self {
        let at = match framing {
            AnswerFraming::Length(length) => At::Length(length),
            AnswerFraming::Chunked => At::ChunkSize,
            AnswerFraming::UntilClose => At::UntilClose,
        };
        let connection = Some(connection);
        let mut body = Self { connection, client, held, at, regular, idle: None };
        if at == At::Length(0) {
            body.end();
        }
        body
    }

    /// The body is whole: its connection may serve again, if nothing came behind it.
    fn end(&mut self) {
        self.at = At::End;
        if let Some(connection) = self.connection.take()
            && self.regular
            && self.held.is_empty()
        {
            self.client.put_back(connection);
        }
    }

    /// The next piece of the body in what is held; `None` when more has to be read.
    fn next_held(&mut self) -> Result<Option<Bytes>, BadAnswer> {
        loop {
            match self.at {
                At::End => return Ok(None),
                At::UntilClose if self.held.is_empty() => return Ok(None),
                At::UntilClose => return Ok(Some(self.held.split().freeze())),
                At::Length(left) => {
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(self.held.len());
                    if taken == 0 {
                        return Ok(None);
                    }
                    let is_last = left == taken as u64;
                    let piece = if is_last && taken == self.held.len() {
                        // Nothing comes behind it: it is handed on as it is.
                        std::mem::take(&mut self.held).freeze()
                    } else {
                        self.held.split_to(taken).freeze()
                    };
                    self.at = At::Length(left - taken as u64);
                    if is_last {
                        self.end();
                    }
                    return Ok(Some(piece));
                }
                At::Chunk(left) => {
                    let Some(piece) = self.next_of_chunk(left) else { return Ok(None) };
                    let left = left - piece.len() as u64;
                    self.at = if left == 0 { At::ChunkEnd } else { At::Chunk(left) };
                    return Ok(Some(piece));
                }
                At::ChunkSize => match self.take_chunk_size()? {
                    None => return Ok(None),
                    Some(0) => self.at = At::Trailers,
                    Some(size) => self.at = At::Chunk(size),
                },
                At::ChunkEnd => {
                    if !self.take_line_end()? {
                        return Ok(None);
                    }
                    self.at = At::ChunkSize;
                }
                At::Trailers => {
                    if !self.take_trailers()? {
                        return Ok(None);
                    }
                    self.end();
                }
            }
        }
    }

    /// The chunk that `left` bytes are left of, if it is whole or too large to wait for.
    fn next_of_chunk(&mut self, left: u64) -> Option<Bytes> {
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let whole = self.held.len() >= left;
        if whole || self.held.len() >= WHOLE_CHUNK_BYTES_MAX {
            let taken = left.min(self.held.len());
            return Some(self.held.split_to(taken).freeze());
        }
        None
    }

    fn take_chunk_size(&mut self) -> Result<Option<u64>, BadAnswer> {
        let looked_at = self.held.get(..CHUNK_LINE_BYTES_MAX).unwrap_or(&self.held);
        let Some(end) = memchr::memchr(b'\n', looked_at) else {
            let too_long = self.held.len() >= CHUNK_LINE_BYTES_MAX;
            return if too_long { Err(BadAnswer::Chunks) } else { Ok(None) };
        };
        let line = looked_at.get(..end).unwrap_or_default();
        let digits = line.strip_suffix(b"\r").ok_or(BadAnswer::Chunks)?;
        let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let size = size.filter(|_| plain).ok_or(BadAnswer::Chunks)?;
        self.held.advance(end + 1);
        Ok(Some(size))
    }

    fn take_line_end(&mut self) -> Result<bool, BadAnswer> {
        match *self.held {
            [b'\r', b'\n', ..] => {
                self.held.advance(2);
                Ok(true)
            }
            [] | [b'\r'] => Ok(false),
            _ => Err(BadAnswer::Chunks),
        }
    }

    /// Drops the trailer fields: what they say was nobody's to rely on. A connection that had some is
    /// not used again.
    fn take_trailers(&mut self) -> Result<bool, BadAnswer> {
        let looked_at = self.held.get(..TRAILER_BYTES_MAX).unwrap_or(&self.held);
        let mut lines = Lines::of(looked_at);
        for count in 0..=TRAILERS_MAX {
            let Some(line) = lines.next().transpose().map_err(|_| BadAnswer::Chunks)? else {
                let may_come = self.held.len() < TRAILER_BYTES_MAX;
                return if may_come { Ok(false) } else { Err(BadAnswer::Chunks) };
            };
            if line.is_empty() {
                if lines.has_controls() {
                    return Err(BadAnswer::Chunks);
                }
                let length = lines.at();
                self.held.advance(length);
                self.regular &= count == 0;
                return Ok(true);
            }
            let line = looked_at.get(line).unwrap_or_default();
            name_end(line).ok_or(BadAnswer::Chunks)?;
        }
        Err(BadAnswer::Chunks)
    }

    fn fail(
        &mut self,
        error: impl Into<BodyError>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.connection = None;
        self.at = At::End;
        Poll::Ready(Some(Err(error.into())))
    }

    /// Reads more; `Ok(false)` when the connection has ended.
    fn poll_read_more(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<bool>> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(false)) };
        let mut scratch = self.client.scratch().borrow_mut();
        scratch.resize(READ_BYTES, 0);
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(Pin::new(&mut connection.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled();
        if self.held.is_empty() {
            self.held = BytesMut::from(read);
        } else {
            self.held.extend_from_slice(read);
        }
        Poll::Ready(Ok(!read.is_empty()))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            match this.next_held() {
                Ok(Some(piece)) => {
                    this.idle = None;
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                Ok(None) if this.at == At::End => return Poll::Ready(None),
                Ok(None) => {}
                Err(bad) => return this.fail(bad),
            }
            let Poll::Ready(read) = this.poll_read_more(cx) else {
                let timeout = this.client.idle_timeout();
                let idle = this.idle.get_or_insert_with(|| Box::pin(sleep(timeout)));
                ready!(idle.as_mut().poll(cx));
                return this.fail(IdleTimeout(timeout));
            };
            this.idle = None;
            match read {
                Ok(true) => {}
                Ok(false) if this.at == At::UntilClose => this.end(),
                Ok(false) => {
                    return this.fail(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
                }
                Err(error) => return this.fail(error),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.at == At::End
    }

    fn size_hint(&self) -> SizeHint {
        match self.at {
            At::Length(left) => SizeHint::with_exact(left),
            At::End => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
