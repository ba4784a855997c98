//! A client that sends exactly the bytes it is given and reads answers strictly.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::tls::{Pki, Secure};
use super::wire::{Framing, Head, chunk, head_end};
use super::{DEADLINE, kept};

/// A connection to a listener of the gate.
pub(crate) struct Connection {
    stream: Stream,
    pending: Vec<u8>,
}

enum Stream {
    Clear(TcpStream),
    Secure(Box<Secure>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Secure(stream) => &stream.sock,
        }
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    /// The chunks of a chunked body, as they arrived.
    pub(crate) pieces: Vec<Piece>,
}

/// A part of a body.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) data: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self { stream: Stream::Clear(connect(address)), pending: Vec::new() }
    }

    /// A connection from this address.
    pub(crate) fn open_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self { stream: Stream::Clear(prepared(socket.into())), pending: Vec::new() }
    }

    /// A connection within TLS, over which HTTP/1.1 is spoken, to a server that proves to be `name`.
    pub(crate) fn open_secure(address: SocketAddr, pki: &Pki, name: &str) -> std::io::Result<Self> {
        let stream = pki.connect(connect(address), name, &[b"http/1.1"], None)?;
        Ok(Self { stream: Stream::Secure(Box::new(stream)), pending: Vec::new() })
    }

    /// Sends exactly these bytes. The other side may have had enough before all of them are out.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = match &mut self.stream {
            Stream::Clear(stream) => stream.write_all(bytes.as_ref()),
            Stream::Secure(stream) => {
                stream.write_all(bytes.as_ref()).and_then(|()| stream.flush())
            }
        };
    }

    /// Ends the sending side.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.tcp().shutdown(Shutdown::Write);
    }

    /// Reads one whole answer to a request of this method.
    #[track_caller]
    pub(crate) fn answer(&mut self, method: &str) -> Answer {
        let mut answer = self.answer_head();
        self.read_body(method, &mut answer);
        if answer.status >= 400 {
            kept::note_error(&answer.body);
        }
        answer
    }

    /// Reads the head of an answer; its body is left for [`Connection::piece`].
    #[track_caller]
    pub(crate) fn answer_head(&mut self) -> Answer {
        loop {
            if let Some(end) = head_end(&self.pending) {
                let bytes: Vec<u8> = self.pending.drain(..end).collect();
                let head = Head::parse(&bytes).unwrap();
                let mut words = head.line.split(' ');
                assert_eq!(words.next(), Some("HTTP/1.1"), "in {}", head.line);
                let status = words.next().unwrap().parse().unwrap();
                return Answer { status, head, body: Vec::new(), pieces: Vec::new() };
            }
            assert!(self.fill(), "closed instead of answering; pending: {:?}", self.pending_text());
        }
    }

    /// The next chunk of a chunked body; `None` after its last.
    #[track_caller]
    pub(crate) fn piece(&mut self) -> Option<Piece> {
        loop {
            if let Some((data, length)) = chunk(&self.pending).unwrap() {
                self.pending.drain(..length);
                let last = data.is_empty();
                return (!last).then_some(Piece { data });
            }
            assert!(self.fill(), "closed within a chunked body after {:?}", self.pending_text());
        }
    }

    /// Reads chunks until `condition` holds of all that was read of the body so far.
    #[track_caller]
    pub(crate) fn read_until(&mut self, claim: &str, condition: impl Fn(&str) -> bool) -> String {
        let mut read = String::new();
        while !condition(&read) {
            let piece = self.piece().unwrap_or_else(|| panic!("ended before {claim}: {read:?}"));
            read.push_str(std::str::from_utf8(&piece.data).unwrap());
        }
        read
    }

    /// Everything up to the end of a chunked body.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> String {
        let pieces: Vec<Vec<u8>> = std::iter::from_fn(|| self.piece()).map(|p| p.data).collect();
        String::from_utf8(pieces.concat()).unwrap()
    }

    /// Everything until the other side closes; a reset is an end as well.
    #[track_caller]
    pub(crate) fn until_close(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.pending)
    }

    /// Everything until the other side closes, or until a chunked body has ended.
    #[track_caller]
    pub(crate) fn until_close_or_end(&mut self) -> Vec<u8> {
        while !self.pending.ends_with(b"0\r\n\r\n") && self.fill() {}
        std::mem::take(&mut self.pending)
    }

    /// What arrives first; nothing when the other side closes or resets.
    #[track_caller]
    pub(crate) fn until_first_bytes(&mut self) -> Vec<u8> {
        self.fill();
        std::mem::take(&mut self.pending)
    }

    /// Whether the other side has closed, once it has answered. Waits for it.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let rest = self.until_close();
        assert!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Whether anything arrives within `patience`; only for showing that something does not happen.
    pub(crate) fn is_silent_for(&mut self, patience: Duration) -> bool {
        if !self.pending.is_empty() {
            return false;
        }
        self.stream.tcp().set_read_timeout(Some(patience)).unwrap();
        let mut byte = [0; 1];
        let read = self.stream.tcp().peek(&mut byte);
        self.stream.tcp().set_read_timeout(Some(DEADLINE)).unwrap();
        read.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    fn read_body(&mut self, method: &str, answer: &mut Answer) {
        if method == "HEAD" || answer.status < 200 || answer.status == 204 || answer.status == 304 {
            return;
        }
        match answer.head.framing().unwrap() {
            Framing::Length(length) => {
                while self.pending.len() < length {
                    assert!(self.fill(), "closed within a body of {length} bytes");
                }
                answer.body = self.pending.drain(..length).collect();
            }
            Framing::Chunked => {
                answer.pieces = std::iter::from_fn(|| self.piece()).collect();
                answer.body = answer.pieces.iter().flat_map(|piece| piece.data.clone()).collect();
            }
            Framing::Unsaid => panic!("an answer whose body has no end: {}", answer.head.line),
        }
    }

    /// Reads what has arrived; false at the end.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let read = match &mut self.stream {
            Stream::Clear(stream) => stream.read(&mut buffer),
            Stream::Secure(stream) => stream.read(&mut buffer),
        };
        match read {
            Ok(length) => {
                self.pending.extend_from_slice(&buffer[..length]);
                length > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came: {error}; pending: {:?}", self.pending_text()),
        }
    }

    fn pending_text(&self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    prepared(TcpStream::connect(address).unwrap())
}

fn prepared(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn header_all(&self, name: &str) -> Vec<&str> {
        self.head.header_all(name)
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("no JSON ({e}) in {}: {:?}", self.status, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of an error of the gate.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        self.json()["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no code: {}", self.text()))
            .to_owned()
    }

    /// The `code`, or nothing when it is no error.
    pub(crate) fn code_if_any(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        json["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The `message` of an error of the gate.
    #[track_caller]
    pub(crate) fn message(&self) -> String {
        let json = self.json();
        json["message"].as_str().unwrap_or_else(|| panic!("no message: {json}")).to_owned()
    }
}
