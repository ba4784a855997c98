//! How an HTTP/2 connection ends, so that its client hears why (RFC 9113 §5.4.1).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::wire::Buffers;

/// Bytes read from a connection at once.
const READ_BYTES: usize = 16 << 10;
/// What is read and thrown away at most behind the last words.
const LINGER_BYTES: usize = 64 << 10;
/// How long that may take.
const LINGER_TIME: Duration = Duration::from_millis(500);
/// The kind of frame that says it (RFC 9113 §6.8).
const GOAWAY: u8 = 7;
/// The code for a client that costs too much (RFC 9113 §7).
const ENHANCE_YOUR_CALM: u8 = 11;

/// The last words to a client: they are sent, and what it sends meanwhile is thrown away. Closing a
/// socket that still has unread bytes would reset it, and the client might never see them.
pub(super) struct Farewell {
    words: [u8; 17],
    written: usize,
    is_shut: bool,
    left_bytes: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Farewell {
    /// To a client whose streams up to this one may have been looked at (RFC 9113 §6.8).
    pub(super) fn to(last_stream: u32) -> Self {
        let mut words = [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ENHANCE_YOUR_CALM];
        for (place, byte) in words.iter_mut().skip(9).zip(last_stream.to_be_bytes()) {
            *place = byte;
        }
        Self { words, written: 0, ..Self::without_words() }
    }

    /// Everything has been said.
    pub(super) fn without_words() -> Self {
        let (words, deadline) = ([0; 17], Box::pin(sleep(LINGER_TIME)));
        let written = words.len();
        Self { words, written, is_shut: false, left_bytes: LINGER_BYTES, deadline }
    }
}

impl Farewell {
    /// Ready when it was said and heard, or cannot be.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        buffers: &Buffers,
    ) -> Poll<()> {
        while let Some(left) = self.words.get(self.written..).filter(|left| !left.is_empty()) {
            match Pin::new(&mut *stream).poll_write(cx, left) {
                Poll::Ready(Ok(written)) if written > 0 => self.written += written,
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.deadline.as_mut().poll(cx),
            }
        }
        if !self.is_shut {
            self.is_shut = Pin::new(&mut *stream).poll_shutdown(cx).is_ready();
        }
        let mut scratch = buffers.read.borrow_mut();
        scratch.resize(READ_BYTES, 0);
        while self.left_bytes > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.left_bytes = self.left_bytes.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => break,
                Poll::Pending => return self.deadline.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}
