use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::socket::Socket;
use crate::tls::PeerTls;

/// A connection to the upstream.
#[derive(Debug)]
pub(super) enum Wire {
    /// In the clear.
    Tcp(Socket),
    /// Within TLS, with the upstream's certificate verified.
    Tls(Box<Secured>),
}

/// A connection within TLS.
#[derive(Debug)]
pub(super) struct Secured {
    stream: TlsStream<TcpStream>,
    /// Decrypted while the beginning of an answer was looked for.
    early: BytesMut,
}

/// Bytes that are decrypted to see whether an answer begins.
const EARLY_BYTES: usize = 1024;

/// Connects a socket, and waits for that only where it is not connected at once, as on the same machine.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    match net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_connected = net::getpeername(&socket).is_ok();
    let stream = TcpStream::from_std(socket.into())?;
    if !is_connected {
        stream.writable().await?;
        // One that failed is writable, too.
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
    }
    Ok(stream)
}

impl Wire {
    /// Makes a connection out of a socket: the whole handshake, where the upstream speaks TLS.
    pub(super) async fn over(stream: TcpStream, tls: Option<&PeerTls>) -> io::Result<Self> {
        let Some(tls) = tls else { return Ok(Self::Tcp(Socket::connected(stream))) };
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(tls.config()).connect(tls.name(), stream).await?;
        Ok(Self::Tls(Box::new(Secured { stream, early: BytesMut::new() })))
    }

    /// Whether what was written may still wait in this process.
    pub(super) fn holds_writes_back(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Ready when there is something to read, or the connection has ended.
    pub(super) fn poll_answer_began(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tcp(socket) => poll_tcp_answer_began(socket.stream(), cx),
            Self::Tls(secured) => secured.poll_answer_began(cx),
        }
    }

    /// Whether there is nothing to read: neither an end nor unasked bytes, which would be taken for the
    /// next answer. The system is asked unless the runtime `has_asked` it since the last read: what it
    /// heard then, it remembers. Within TLS it is always what the runtime has heard.
    pub(super) fn is_silent(&mut self, has_asked: bool) -> bool {
        match self {
            Self::Tcp(socket) if has_asked => {
                let stream = socket.stream();
                would_block(stream.try_io(Interest::READABLE, || peek(stream)))
            }
            Self::Tcp(socket) => would_block(peek(socket.stream())),
            Self::Tls(secured) => secured.is_silent(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(secured) if !secured.early.is_empty() => {
                let length = secured.early.len().min(buffer.remaining());
                buffer.put_slice(&secured.early.split_to(length));
                Poll::Ready(Ok(()))
            }
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_shutdown(cx),
        }
    }
}

impl Secured {
    /// A record need not be data, so it has to be decrypted to know.
    fn poll_answer_began(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.early.is_empty() {
            self.early.reserve(EARLY_BYTES);
            // An end or an error shows again when the answer is read.
            let _ = ready!(pin!(self.stream.read_buf(&mut self.early)).poll(cx));
        }
        Poll::Ready(())
    }

    fn is_silent(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.poll_answer_began(&mut cx).is_pending()
    }
}

/// What the runtime remembers of an earlier read is asked of the system once more.
fn poll_tcp_answer_began(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        if ready!(stream.poll_read_ready(cx)).is_err() {
            return Poll::Ready(());
        }
        if !would_block(stream.try_io(Interest::READABLE, || peek(stream))) {
            return Poll::Ready(());
        }
    }
}

/// Whether a byte or the end is there: it stays there.
fn peek(stream: &TcpStream) -> io::Result<usize> {
    SockRef::from(stream).peek(&mut [MaybeUninit::uninit()])
}

fn would_block(read: io::Result<usize>) -> bool {
    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
