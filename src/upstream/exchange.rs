//! One request and the head of its answer on one connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::{Instant, sleep};

use super::answer_head::{AnswerHead, BadAnswer, HEAD_BYTES_MAX, Parsed, parse};
use super::error::{BodyError, Failure};
use super::request::{Framing, OutgoingBody, OutgoingRequest};
use super::wire::Wire;
use crate::clock::{MovingDeadline, step_time};
use crate::config::Upstream;

/// Bytes read at once.
pub(super) const READ_BYTES: usize = 16 << 10;
/// Interim answers before the final one.
const INTERIM_MAX: usize = 8;

/// A connection to the upstream.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Wire,
    /// Until when the answer must have begun.
    deadline: MovingDeadline,
}

impl Connection {
    pub(super) fn new(stream: Wire) -> Self {
        Self { stream, deadline: MovingDeadline::new(Instant::now()) }
    }
}

/// How an exchange came to the head of its answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) head: AnswerHead,
    /// What came behind the head.
    pub(super) rest: BytesMut,
    /// Whether the whole request was sent before the answer began.
    pub(super) request_complete: bool,
}

/// Why an exchange failed, and whether any byte of the request was taken by the system.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) wrote_any: bool,
}

/// Sends a finished request and reads until the head of its answer is whole.
pub(super) struct Exchange<'c> {
    connection: &'c mut Connection,
    wrote_any: bool,
    /// How long the upstream may take nothing of the request.
    stall_timeout: Duration,
    /// How long it may take to begin its answer.
    first_byte_timeout: Duration,
}

/// What ended a write.
enum Wrote {
    All,
    /// The upstream has begun to answer already.
    AnswerBegan,
}

impl<'c> Exchange<'c> {
    pub(super) fn on(connection: &'c mut Connection, settings: &Upstream) -> Self {
        let Upstream { idle_timeout: stall_timeout, first_byte_timeout, .. } = *settings;
        Self { connection, wrote_any: false, stall_timeout, first_byte_timeout }
    }

    pub(super) fn wrote_any(&self) -> bool {
        self.wrote_any
    }

    /// Sends head and body; `false` when the upstream answered before it had them whole.
    pub(super) async fn send(
        &mut self,
        request: &mut OutgoingRequest,
        framing: Framing,
    ) -> Result<bool, Failure> {
        if let Wrote::AnswerBegan = self.write(&mut request.head.as_slice()).await? {
            return Ok(false);
        }
        match &mut request.body {
            OutgoingBody::Nothing => Ok(true),
            OutgoingBody::Whole(bytes) => {
                let mut left = bytes.clone();
                Ok(matches!(self.write(&mut left).await?, Wrote::All))
            }
            OutgoingBody::Streamed(body) => self.stream_body(body.as_mut(), framing).await,
        }
    }

    async fn stream_body(
        &mut self,
        mut body: Pin<&mut dyn http_body::Body<Data = Bytes, Error = BodyError>>,
        framing: Framing,
    ) -> Result<bool, Failure> {
        let mut left = match framing {
            Framing::Length(length) => length,
            Framing::Chunked => u64::MAX,
        };
        loop {
            let next = poll_fn(|cx| {
                if let Poll::Ready(frame) = body.as_mut().poll_frame(cx) {
                    return Poll::Ready(Some(frame));
                }
                // Nobody writes now: an answer that begins here is an early one.
                self.connection.stream.poll_answer_began(cx).map(|()| None)
            });
            let Some(frame) = next.await else { return Ok(false) };
            let data = match frame.transpose().map_err(Failure::CallersBody)? {
                Some(frame) => Frame::into_data(frame).unwrap_or_default(),
                None => break,
            };
            if data.is_empty() {
                continue;
            }
            left = left.checked_sub(data.len() as u64).ok_or_else(wrong_length)?;
            let sent = match framing {
                Framing::Length(_) => self.write(&mut data.clone()).await?,
                Framing::Chunked => {
                    let size = Bytes::from(format!("{:x}\r\n", data.len()));
                    self.write(&mut size.chain(data).chain(&b"\r\n"[..])).await?
                }
            };
            if let Wrote::AnswerBegan = sent {
                return Ok(false);
            }
        }
        match framing {
            Framing::Length(_) if left > 0 => Err(wrong_length()),
            Framing::Length(_) => Ok(true),
            Framing::Chunked => Ok(matches!(self.write(&mut &b"0\r\n\r\n"[..]).await?, Wrote::All)),
        }
    }

    /// Writes all of `bytes`, unless the upstream begins to answer while it takes none.
    async fn write(&mut self, bytes: &mut impl bytes::Buf) -> Result<Wrote, Failure> {
        while bytes.has_remaining() {
            let mut stall = None;
            let step = poll_fn(|cx| {
                if let Poll::Ready(step) = self.poll_write(cx, bytes.chunk()) {
                    return Poll::Ready(step.map_err(Failure::Broken));
                }
                let stall = stall.get_or_insert_with(|| Box::pin(sleep(self.stall_timeout)));
                stall.as_mut().poll(cx).map(|()| Err(Failure::WriteStalled))
            });
            match step.await? {
                Some(written) => bytes.advance(written),
                None => return Ok(Wrote::AnswerBegan),
            }
        }
        let stream = &mut self.connection.stream;
        if stream.holds_writes_back() {
            let flushed = poll_fn(|cx| match Pin::new(&mut *stream).poll_flush(cx) {
                Poll::Ready(flushed) => Poll::Ready(flushed.map(|()| Wrote::All)),
                Poll::Pending => stream.poll_answer_began(cx).map(|()| Ok(Wrote::AnswerBegan)),
            });
            let flushed = tokio::time::timeout(self.stall_timeout, flushed).await;
            return flushed.map_err(|_| Failure::WriteStalled)?.map_err(Failure::Broken);
        }
        Ok(Wrote::All)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<Option<usize>>> {
        match Pin::new(&mut self.connection.stream).poll_write(cx, bytes) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => {
                self.wrote_any = true;
                Poll::Ready(Ok(Some(written)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.connection.stream.poll_answer_began(cx).map(|()| Ok(None)),
        }
    }

    /// Reads the head of the answer, and whatever came behind it, through the core's buffer.
    pub(super) async fn receive(
        &mut self,
        answers_head_request: bool,
        scratch: &RefCell<Vec<u8>>,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(AnswerHead, BytesMut), Failure> {
        let mut interim = 0;
        let mut take = |bytes: &[u8]| take_head(bytes, answers_head_request, &mut interim, &wanted);
        // The beginning of a head that is not whole yet.
        let mut kept = BytesMut::new();
        let late = step_time() + self.first_byte_timeout;
        self.connection.deadline.set(late);
        poll_fn(|cx| {
            loop {
                let Poll::Ready(read) = self.poll_read(cx, scratch, &mut kept, &mut take) else {
                    let late = self.connection.deadline.poll(cx);
                    return late.map(|()| Err(Failure::FirstByteTimeout));
                };
                if let Some(head) = read? {
                    return Poll::Ready(Ok((head, std::mem::take(&mut kept))));
                }
            }
        })
        .await
    }

    /// Reads once. With a head, what came behind it is left in `kept`.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &RefCell<Vec<u8>>,
        kept: &mut BytesMut,
        take: &mut impl FnMut(&[u8]) -> Result<(usize, Option<AnswerHead>), BadAnswer>,
    ) -> Poll<Result<Option<AnswerHead>, Failure>> {
        let mut scratch = scratch.borrow_mut();
        scratch.resize(READ_BYTES, 0);
        let mut buffer = ReadBuf::new(&mut scratch);
        let read = ready!(Pin::new(&mut self.connection.stream).poll_read(cx, &mut buffer));
        read.map_err(Failure::Broken)?;
        if buffer.filled().is_empty() {
            let ended = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Poll::Ready(Err(Failure::Broken(ended)));
        }
        let head = if kept.is_empty() {
            let (used, head) = take(buffer.filled()).map_err(Failure::BadAnswer)?;
            kept.extend_from_slice(buffer.filled().get(used..).unwrap_or_default());
            head
        } else {
            kept.extend_from_slice(buffer.filled());
            let (used, head) = take(kept).map_err(Failure::BadAnswer)?;
            kept.advance(used);
            head
        };
        if head.is_none() && kept.len() > HEAD_BYTES_MAX {
            return Poll::Ready(Err(Failure::BadAnswer(BadAnswer::TooLarge)));
        }
        Poll::Ready(Ok(head))
    }
}

/// Takes interim answers and the head of the final one from the beginning of `bytes`: how many bytes
/// that took, and the head, if it is whole.
fn take_head(
    bytes: &[u8],
    answers_head_request: bool,
    interim: &mut usize,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<(usize, Option<AnswerHead>), BadAnswer> {
    let mut used = 0;
    loop {
        let rest = bytes.get(used..).unwrap_or_default();
        if rest.is_empty() {
            return Ok((used, None));
        }
        match parse(rest, answers_head_request, &wanted)? {
            Parsed::Final(head, length) => return Ok((used + length, Some(head))),
            Parsed::Interim(length) if *interim < INTERIM_MAX => {
                *interim += 1;
                used += length;
            }
            Parsed::Interim(_) => return Err(BadAnswer::TooLarge),
            Parsed::Partial => return Ok((used, None)),
        }
    }
}

fn wrong_length() -> Failure {
    Failure::CallersBody("the body is not as long as was announced".into())
}
