//! A client of HTTP/2, and one that sends frames as it likes.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rustls::pki_types::ServerName;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::call::Call;
use super::connection::{Answer, Piece};
use super::inspection::{Listener, inspect};
use super::tls::{Pki, Secure};
use super::wire::Head;
use super::{DEADLINE, HOST};

/// What a client of HTTP/2 offers.
pub(crate) const HTTP_2: &[u8] = b"h2";

/// A connection on which calls are made over HTTP/2.
pub(crate) struct Http2 {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
}

/// A connection on which nothing but the preface was sent.
pub(crate) struct Frames {
    stream: Secure,
    pending: Vec<u8>,
}

/// One frame as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

impl Http2 {
    /// A connection to the server of the tests' name.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, pki: &Pki) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connector = TlsConnector::from(pki.client(&[HTTP_2], None));
        let requests = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from(HOST).unwrap();
            let stream = connector.connect(name, stream).await.unwrap();
            let (requests, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            requests
        });
        Self { runtime, requests }
    }

    /// Makes a call and reads the whole answer, which is inspected.
    #[track_caller]
    pub(crate) fn send(&mut self, call: &Call) -> Answer {
        let answer = self.try_send(call).unwrap_or_else(|error| panic!("{error}"));
        inspect(Listener::Public, call.method(), call.target(), &answer);
        answer
    }

    /// The same, or why the stream or the connection was ended.
    pub(crate) fn try_send(&mut self, call: &Call) -> Result<Answer, h2::Error> {
        let (request, body) = request(call);
        let requests = self.requests.clone();
        let exchange = async move {
            let mut requests = requests.ready().await?;
            let (answer, mut sending) = requests.send_request(request, body.is_none())?;
            if let Some(body) = body {
                sending.send_data(body, true)?;
            }
            let (head, mut body) = answer.await?.into_parts();
            let (mut bytes, mut pieces) = (Vec::new(), Vec::new());
            while let Some(piece) = poll_fn(|cx| body.poll_data(cx)).await {
                let data = piece?;
                let _ = body.flow_control().release_capacity(data.len());
                bytes.extend_from_slice(&data);
                pieces.push(Piece { data: data.to_vec() });
            }
            let headers = head.headers.iter();
            let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
            let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
            let head_of = Head { line: format!("HTTP/2 {}", head.status.as_u16()), headers };
            Ok(Answer { status: head.status.as_u16(), head: head_of, body: bytes, pieces })
        };
        self.runtime
            .block_on(async { tokio::time::timeout(DEADLINE, exchange).await })
            .expect("no answer in time")
    }
}

fn request(call: &Call) -> (Request<()>, Option<Bytes>) {
    let uri = format!("https://{}{}", call.host_header(), call.target());
    let mut request = Request::builder().method(call.method()).uri(uri);
    for (name, value) in call.other_headers() {
        request = request.header(name.as_str(), value.as_str());
    }
    let body = call.body_bytes().map(Bytes::copy_from_slice);
    if let Some(body) = &body {
        request = request.header("content-length", body.len());
    }
    (request.body(()).unwrap(), body)
}

impl Frames {
    /// A connection on which the preface and empty settings have been sent.
    #[track_caller]
    pub(crate) fn open(address: SocketAddr, pki: &Pki) -> Self {
        let mut frames = Self::silent(address, pki);
        frames.send_raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(SETTINGS, 0, 0, &[]);
        frames
    }

    /// A connection on which nothing has been sent.
    #[track_caller]
    pub(crate) fn silent(address: SocketAddr, pki: &Pki) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream: pki.connect(stream, HOST, &[HTTP_2], None).unwrap(), pending: Vec::new() }
    }

    /// Sends bytes as they are; whether the other side still takes them.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).is_ok()
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.send_raw(&frame(kind, flags, stream, payload))
    }

    /// The next frame; `None` when the connection has ended.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Option<Received> {
        loop {
            if let Some(header) = self.pending.get(..9) {
                let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
                if self.pending.len() >= 9 + length {
                    let bytes: Vec<u8> = self.pending.drain(..9 + length).collect();
                    let stream =
                        u32::from_be_bytes([bytes[5] & 0x7f, bytes[6], bytes[7], bytes[8]]);
                    let (kind, flags) = (bytes[3], bytes[4]);
                    return Some(Received { kind, flags, stream, payload: bytes[9..].to_vec() });
                }
            }
            let mut buffer = [0; 16 * 1024];
            match self.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.pending.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing came in time")
                }
                Err(_) => return None,
            }
        }
    }

    /// Reads what has come, also when nothing can be sent any more.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rustls::StreamOwned { conn, sock } = &mut self.stream;
        loop {
            match conn.reader().read(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                read => return read,
            }
            if conn.read_tls(sock)? == 0 {
                return Ok(0);
            }
            conn.process_new_packets().map_err(std::io::Error::other)?;
        }
    }

    /// Reads to the end of the connection; whether a GOAWAY told why, and the code it gave.
    #[track_caller]
    pub(crate) fn until_end(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.receive() {
            if frame.kind == GOAWAY {
                code =
                    frame.payload.get(4..8).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
            }
        }
        code
    }
}

/// A frame in bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block of literal fields, none of them remembered.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            let length = text.len();
            if length < 127 {
                bytes.push(u8::try_from(length).unwrap());
            } else {
                // RFC 7541 §5.1
                bytes.push(127);
                let mut rest = length - 127;
                while rest >= 128 {
                    bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                    rest /= 128;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}
