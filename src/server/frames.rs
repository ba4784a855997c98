//! Watches an HTTP/2 client's frames go by (RFC 9113 §4.1), and holds it to what the protocol
//! library leaves open: floods of frames that cost it work and bring nothing, frames that never
//! end, and a client that takes nothing.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::farewell::Farewell;
use super::wire::Buffers;
use crate::telemetry::Metrics;

/// What every connection begins with (RFC 9113 §3.4).
const PREFACE_BYTES: u32 = 24;
/// Bytes read from a connection at once.
const READ_BYTES: usize = 16 << 10;
/// Frames without a request or data that may come at once.
const ALLOWANCE_MAX: u32 = 1024;
/// How many more of them every second.
const ALLOWANCE_PER_SECOND: u32 = 100;
/// Bytes sent that allow one more: a client announces window for what it has taken.
const SENT_BYTES_PER_FRAME: u32 = 4 << 10;

// Kinds of frames (RFC 9113 §6), and the flag that ends a head.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The bits of a stream's number.
const STREAM_MAX: u32 = u32::MAX >> 1;

/// Limits of an HTTP/2 connection's frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameSettings {
    /// How long a head, or any frame but one of data, may take from its first byte.
    pub(super) header_timeout: Duration,
    /// How long a client may take nothing of what is ready for it.
    pub(super) write_stall_timeout: Duration,
}

/// A connection on which the client's frames are watched.
pub(super) struct FrameWatch<S> {
    stream: S,
    settings: FrameSettings,
    buffers: Rc<Buffers>,
    frames: Frames,
    /// Through what is sent.
    sent: Walk,
    metrics: Arc<Metrics>,
    /// A client that floods is being told so.
    farewell: Option<Farewell>,
    /// When the head or frame of this number must have ended.
    unfinished: Option<(u64, Pin<Box<Sleep>>)>,
    stall: Option<Pin<Box<Sleep>>>,
}

/// Where in the client's frames a connection is, and how many more it may send.
#[derive(Debug)]
pub(crate) struct Frames {
    walk: Walk,
    /// The highest stream that was begun.
    last_stream: u32,
    /// Whether the header block that began is still to be continued.
    in_header_block: bool,
    /// Counts heads and frames.
    number: u64,
    allowance: u32,
    sent_bytes: u32,
    refilled: Instant,
}

/// A walk through bytes from frame to frame.
#[derive(Debug)]
struct Walk {
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Header { bytes: [u8; 9], filled: usize },
    Payload { left: u32, is_data: bool },
}

/// More frames than are allowed without a request or data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a flood of frames that bring nothing")]
pub(crate) struct Flood;

/// How a frame weighs.
#[derive(Clone, Copy)]
enum Weight {
    /// It brings something: a request, or data.
    Brings,
    /// It costs so much of the allowance.
    Costs(u32),
}

const NO_HEADER: At = At::Header { bytes: [0; 9], filled: 0 };

impl Walk {
    /// The header of the next frame that begins in `bytes`, which are then those behind it.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<[u8; 9]> {
        while let [first, rest @ ..] = *bytes {
            match &mut self.at {
                At::Payload { left, .. } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *bytes = bytes.get(taken..).unwrap_or_default();
                    *left -= u32::try_from(taken).unwrap_or(u32::MAX);
                    if *left == 0 {
                        self.at = NO_HEADER;
                    }
                }
                At::Header { bytes: header, filled } => {
                    if let Some(place) = header.get_mut(*filled) {
                        *place = *first;
                    }
                    *filled += 1;
                    *bytes = rest;
                    if *filled == header.len() {
                        let [high, middle, low, kind, ..] = *header;
                        let (header, left) = (*header, u32::from_be_bytes([0, high, middle, low]));
                        let payload = At::Payload { left, is_data: kind == DATA };
                        self.at = if left == 0 { NO_HEADER } else { payload };
                        return Some(header);
                    }
                }
            }
        }
        None
    }

    /// Whether no frame has begun and not ended.
    fn is_between(&self) -> bool {
        matches!(self.at, At::Header { filled: 0, .. })
    }
}

impl Frames {
    /// A connection whose preface is still to come.
    pub(crate) fn begin(now: Instant) -> Self {
        Self {
            walk: Walk { at: At::Payload { left: PREFACE_BYTES, is_data: false } },
            last_stream: 0,
            in_header_block: false,
            number: 0,
            allowance: ALLOWANCE_MAX,
            sent_bytes: 0,
            refilled: now,
        }
    }

    /// Whether something has begun that should end soon: a head, or a frame of no data.
    fn is_unfinished(&self) -> bool {
        let within = match self.walk.at {
            At::Header { filled, .. } => filled > 0,
            At::Payload { is_data, .. } => !is_data,
        };
        within || self.in_header_block
    }

    /// Takes note of bytes that were sent to the client.
    fn sent(&mut self, bytes: usize) {
        let sent = self.sent_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.allow(sent / SENT_BYTES_PER_FRAME);
        self.sent_bytes = sent % SENT_BYTES_PER_FRAME;
    }

    fn allow(&mut self, more: u32) {
        self.allowance = self.allowance.saturating_add(more).min(ALLOWANCE_MAX);
    }

    /// Follows the client's frames through `bytes`.
    pub(crate) fn pass(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        while let Some(header) = self.walk.next(&mut bytes) {
            self.begin_frame(header, now)?;
        }
        Ok(())
    }

    fn begin_frame(&mut self, header: [u8; 9], now: Instant) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, stream @ ..] = header;
        let is_empty = [high, middle, low] == [0; 3];
        if kind == HEADERS || kind == CONTINUATION {
            self.in_header_block = flags & END_HEADERS == 0;
        }
        if kind == HEADERS {
            self.last_stream = self.last_stream.max(u32::from_be_bytes(stream) & STREAM_MAX);
        }
        if kind != CONTINUATION {
            self.number += 1;
        }
        self.weigh(
            match kind {
                DATA if !is_empty => Weight::Brings,
                HEADERS => Weight::Brings,
                // What it takes back had to be begun.
                RST_STREAM => Weight::Costs(4),
                _ => Weight::Costs(1),
            },
            now,
        )
    }

    fn weigh(&mut self, weight: Weight, now: Instant) -> Result<(), Flood> {
        let Weight::Costs(cost) = weight else {
            self.allow(1);
            return Ok(());
        };
        if self.allowance < cost {
            let seconds = now.saturating_duration_since(self.refilled).as_secs();
            let more = u32::try_from(seconds).unwrap_or(u32::MAX);
            self.allow(more.saturating_mul(ALLOWANCE_PER_SECOND));
            self.refilled = now;
        }
        self.allowance = self.allowance.checked_sub(cost).ok_or(Flood)?;
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> FrameWatch<S> {
    /// Watches a connection. `buffers` are one core's: nothing stays in them between two calls.
    pub(super) fn new(
        stream: S,
        settings: FrameSettings,
        buffers: Rc<Buffers>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let frames = Frames::begin(Instant::now());
        let sent = Walk { at: NO_HEADER };
        let (farewell, unfinished, stall) = (None, None, None);
        Self { stream, settings, buffers, frames, sent, metrics, farewell, unfinished, stall }
    }

    /// A client that floods is told why its connection ends, if the frame that is being sent to it has
    /// an end: otherwise it takes nothing anyhow.
    fn poll_told(&mut self, cx: &mut Context<'_>, farewell: Farewell) -> Poll<io::Error> {
        if self.sent.is_between() {
            let farewell = self.farewell.insert(farewell);
            ready!(farewell.poll(cx, &mut self.stream, &self.buffers));
        }
        Poll::Ready(io::Error::new(io::ErrorKind::InvalidData, Flood))
    }

    /// Takes note of what was sent to the client.
    fn note_sent(&mut self, mut bytes: &[u8]) {
        self.frames.sent(bytes.len());
        while self.sent.next(&mut bytes).is_some() {}
    }

    fn poll_unfinished(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.frames.is_unfinished() {
            self.unfinished = None;
            return Poll::Pending;
        }
        let (number, timeout) = (self.frames.number, self.settings.header_timeout);
        if self.unfinished.as_ref().is_some_and(|(of, _)| *of != number) {
            self.unfinished = None;
        }
        let begin = || (number, Box::pin(sleep(timeout)));
        let (_, deadline) = self.unfinished.get_or_insert_with(begin);
        deadline.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }

    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall = None;
            return polled;
        }
        let timeout = self.settings.write_stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        stall.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Read for FrameWatch<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(farewell) = this.farewell.take() {
            return this.poll_told(cx, farewell).map(Err);
        }
        let buffers = Rc::clone(&this.buffers);
        let mut scratch = buffers.read.borrow_mut();
        scratch.resize(READ_BYTES, 0);
        let room = cursor.remaining().min(READ_BYTES);
        let mut buffer = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        if Pin::new(&mut this.stream).poll_read(cx, &mut buffer)?.is_pending() {
            return this.poll_unfinished(cx).map(Err);
        }
        if this.frames.pass(buffer.filled(), Instant::now()).is_err() {
            drop(scratch);
            this.metrics.http2_floods.inc();
            return this.poll_told(cx, Farewell::to(this.frames.last_stream)).map(Err);
        }
        if !this.frames.is_unfinished() {
            this.unfinished = None;
        }
        cursor.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Write for FrameWatch<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.farewell.is_some() {
            // Nothing comes behind the last words.
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(length)) = written {
            this.note_sent(bytes.get(..length).unwrap_or_default());
        }
        this.progress(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.farewell.is_some() {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(mut left)) = written {
            for slice in slices {
                let sent = slice.get(..left.min(slice.len())).unwrap_or_default();
                left -= sent.len();
                this.note_sent(sent);
            }
        }
        this.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.farewell.is_some() {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.progress(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let farewell = this.farewell.get_or_insert_with(Farewell::without_words);
        farewell.poll(cx, &mut this.stream, &this.buffers).map(Ok)
    }
}
