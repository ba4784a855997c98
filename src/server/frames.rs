//! Watches an HTTP/2 client's frames go by (RFC 9113 §4.1), and holds it to what the protocol
//! library leaves open: floods of frames that cost it work and bring nothing, frames that never
//! end, and a client that takes nothing.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

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
    metrics: Arc<Metrics>,
    /// When the head or frame of this number must have ended.
    unfinished: Option<(u64, Pin<Box<Sleep>>)>,
    stall: Option<Pin<Box<Sleep>>>,
}

/// Where in the client's frames a connection is, and how many more it may send.
#[derive(Debug)]
pub(crate) struct Frames {
    at: At,
    /// Whether the header block that began is still to be continued.
    in_header_block: bool,
    /// Counts heads and frames.
    number: u64,
    allowance: u32,
    sent_bytes: u32,
    refilled: Instant,
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

impl Frames {
    /// A connection whose preface is still to come.
    pub(crate) fn begin(now: Instant) -> Self {
        Self {
            at: At::Payload { left: PREFACE_BYTES, is_data: false },
            in_header_block: false,
            number: 0,
            allowance: ALLOWANCE_MAX,
            sent_bytes: 0,
            refilled: now,
        }
    }

    /// Whether something has begun that should end soon: a head, or a frame of no data.
    fn is_unfinished(&self) -> bool {
        let within = match self.at {
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
        while let [first, rest @ ..] = bytes {
            match &mut self.at {
                At::Payload { left, .. } => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = bytes.get(taken..).unwrap_or_default();
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
                    bytes = rest;
                    if *filled == header.len() {
                        let header = *header;
                        self.begin_frame(header, now)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn begin_frame(&mut self, header: [u8; 9], now: Instant) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = header;
        let length = u32::from_be_bytes([0, high, middle, low]);
        if kind == HEADERS || kind == CONTINUATION {
            self.in_header_block = flags & END_HEADERS == 0;
        }
        if kind != CONTINUATION {
            self.number += 1;
        }
        let is_data = kind == DATA;
        self.at = if length == 0 { NO_HEADER } else { At::Payload { left: length, is_data } };
        self.weigh(
            match kind {
                DATA if length > 0 => Weight::Brings,
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
        Self { stream, settings, buffers, frames, metrics, unfinished: None, stall: None }
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
        let buffers = Rc::clone(&this.buffers);
        let mut scratch = buffers.read.borrow_mut();
        scratch.resize(READ_BYTES, 0);
        let room = cursor.remaining().min(READ_BYTES);
        let mut buffer = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        if Pin::new(&mut this.stream).poll_read(cx, &mut buffer)?.is_pending() {
            return this.poll_unfinished(cx).map(Err);
        }
        if let Err(flood) = this.frames.pass(buffer.filled(), Instant::now()) {
            this.metrics.http2_floods.inc();
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, flood)));
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
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(length)) = written {
            this.frames.sent(length);
        }
        this.progress(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        if let Poll::Ready(Ok(length)) = written {
            this.frames.sent(length);
        }
        this.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.progress(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let ended = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.progress(cx, ended)
    }
}
