//! A TCP connection that is read and written with as little as there can be between the runtime and the system.
//!
//! The C library's calls, which tokio makes, look for a cancelled thread before and behind in a process of
//! several: 2.5 % of the samples of a refusal lay in them. Must always hold: what the runtime believes of a
//! connection is what tokio's own reads and writes would have it believe.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    /// Whether it is a connection of ours that nothing has been written to.
    is_new: bool,
}

impl Socket {
    /// One that was accepted, or is used already.
    #[must_use]
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream, is_new: false }
    }

    /// One that was connected, and that nothing has been written to.
    ///
    /// Its first bytes go out at once: the runtime, which has heard nothing of it yet, would ask the system for
    /// news of all connections before. Nothing waits in front of them, so that it is soon enough behind them
    /// to say that small pieces are not to be held back (RFC 9293, 3.7.4).
    #[must_use]
    pub(crate) fn connected(stream: TcpStream) -> Self {
        Self { stream, is_new: true }
    }

    /// What the runtime knows of it.
    #[must_use]
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// `None` when the system takes nothing now.
    fn write_first(&self, bytes: &[u8]) -> Option<io::Result<usize>> {
        let sent = send(&self.stream, bytes, SendFlags::NOSIGNAL);
        // Fails where the connection has failed, which shows when the answer is read.
        let _ = set_tcp_nodelay(&self.stream, true);
        match sent {
            Err(Errno::AGAIN | Errno::INTR) => None,
            sent => Some(sent.map_err(io::Error::from)),
        }
    }
}

/// Reads or writes up to `wanted` bytes of a connection that is ready; `None` when it was not, after all. When the
/// system had less, the runtime is told that there is no more until it hears of it.
fn transfer(
    stream: &TcpStream,
    interest: Interest,
    wanted: usize,
    call: impl FnOnce() -> Result<usize, Errno>,
) -> Option<io::Result<usize>> {
    let mut transferred = None;
    let told = stream.try_io(interest, || {
        let length = call()?;
        transferred = Some(length);
        // None is the end, which stays.
        if (1..wanted).contains(&length) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match (transferred, told) {
        (Some(length), _) => Some(Ok(length)),
        (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
        (None, told) => Some(told.map(|()| 0)),
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &self.stream;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let into = buffer.initialize_unfilled();
            let read = transfer(stream, Interest::READABLE, into.len(), || {
                retry_on_intr(|| recv(stream, &mut *into, RecvFlags::empty())).map(|(read, _)| read)
            });
            if let Some(read) = read {
                buffer.advance(read?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if std::mem::take(&mut self.is_new)
            && let Some(written) = self.write_first(bytes)
        {
            return Poll::Ready(written);
        }
        let stream = &self.stream;
        loop {
            ready!(stream.poll_write_ready(cx))?;
            let written = transfer(stream, Interest::WRITABLE, bytes.len(), || {
                retry_on_intr(|| send(stream, bytes, SendFlags::NOSIGNAL))
            });
            if let Some(written) = written {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn pair() -> (Socket, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.set_nonblocking(true).unwrap();
        (Socket::of(TcpStream::from_std(ours).unwrap()), listener.accept().unwrap().0)
    }

    /// Reads that take less than there is, as much, and more; then the end.
    #[tokio::test]
    async fn all_that_comes_is_read_whatever_room_there_is() {
        for room in [1, 3, 10, 100] {
            let (mut ours, mut theirs) = pair();
            let writing = std::thread::spawn(move || {
                for piece in ["0123456789", "abcdefghij", "ABC"] {
                    theirs.write_all(piece.as_bytes()).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
            });
            let (mut read, mut buffer) = (Vec::new(), vec![0; room]);
            loop {
                match ours.read(&mut buffer).await.unwrap() {
                    0 => break,
                    length => read.extend_from_slice(&buffer[..length]),
                }
            }
            assert_eq!(read, b"0123456789abcdefghijABC", "{room}");
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 0, "an end stays one");
            writing.join().unwrap();
        }
    }

    /// Neither asked for again before there is news, nor missed when there is.
    #[tokio::test]
    async fn what_there_is_less_of_than_wanted_is_over_until_more_comes() {
        let (mut ours, mut theirs) = pair();
        for piece in [&b"abc"[..], b"defg"] {
            theirs.write_all(piece).unwrap();
            let mut buffer = [0; 100];
            assert_eq!(ours.read(&mut buffer).await.unwrap(), piece.len());
            let asked = ours.stream().try_io(Interest::READABLE, || Ok(()));
            assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
    }

    /// More than the system takes at once, to a reader that begins late; and back.
    #[tokio::test]
    async fn all_that_is_written_arrives() {
        let (mut ours, mut theirs) = pair();
        let sent: Vec<u8> =
            (0..20_000_000_u32).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
        let expected = sent.clone();
        let reading = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let mut read = Vec::new();
            theirs.read_to_end(&mut read).unwrap();
            assert!(read == expected);
            theirs.write_all(b"thanks").unwrap();
        });
        ours.write_all(&sent).await.unwrap();
        ours.shutdown().await.unwrap();
        let mut read = Vec::new();
        ours.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"thanks");
        reading.join().unwrap();
    }

    #[tokio::test]
    async fn writing_to_who_has_gone_is_an_error_and_no_signal() {
        let (mut ours, theirs) = pair();
        drop(theirs);
        let written = async { while ours.write_all(&[0; 1 << 12]).await.is_ok() {} };
        tokio::time::timeout(std::time::Duration::from_secs(10), written).await.unwrap();
    }
}
