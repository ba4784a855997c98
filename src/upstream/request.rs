use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderValue, Method};
use http_body::Body;

use super::error::BodyError;
use crate::message::Spare;
use crate::scan;

/// A request in the bytes in which it is sent. Each part is checked as it is added: what two servers
/// could read differently is never written.
#[derive(Debug)]
pub struct OutgoingRequest {
    pub(super) head: Vec<u8>,
    pub(super) body: OutgoingBody,
    /// Whether the answer has a head only.
    pub(super) is_head: bool,
    /// Whether sending it twice is as good as once (RFC 9110 §9.2.1).
    pub(super) is_safe: bool,
    pub(super) admits_body: bool,
}

/// The body of a request.
pub enum OutgoingBody {
    /// None.
    Nothing,
    /// All of it is here.
    Whole(Bytes),
    /// It is passed on as it comes.
    Streamed(Pin<Box<dyn Body<Data = Bytes, Error = BodyError>>>),
}

/// A part of a request that cannot be written without doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request has a part that cannot be sent")]
pub struct Unsendable;

/// Room for a usual head, and a message behind it.
const HEAD_BYTES: usize = 4 << 10;
/// Memory of more than this is not kept.
const HEAD_BYTES_KEPT: usize = 32 << 10;

thread_local! {
    static SPARE: Spare<Vec<u8>> = const { Spare::new() };
}

/// Its memory is used again, with nothing in it.
impl Drop for OutgoingRequest {
    fn drop(&mut self) {
        let mut head = std::mem::take(&mut self.head);
        if !(1..=HEAD_BYTES_KEPT).contains(&head.capacity()) {
            return;
        }
        head.clear();
        Spare::keep(&SPARE, head);
    }
}

impl OutgoingRequest {
    /// A request for `target`, in origin-form, with the one `Host` it will have.
    pub fn new(
        method: &Method,
        target: &str,
        authority: &HeaderValue,
        body: OutgoingBody,
    ) -> Result<Self, Unsendable> {
        const GRAPHIC: [(u8, u8); 2] = [(b'!', b'"'), (b'$', b'~')];
        if !target.starts_with('/') || !scan::is_within(target.as_bytes(), GRAPHIC) {
            return Err(Unsendable);
        }
        let mut head = Spare::take(&SPARE).unwrap_or_else(|| Vec::with_capacity(HEAD_BYTES));
        for part in [method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\nhost: "] {
            head.extend_from_slice(part);
        }
        head.extend_from_slice(authority.as_bytes());
        head.extend_from_slice(b"\r\n");
        Ok(Self {
            head,
            body,
            is_head: *method == Method::HEAD,
            is_safe: matches!(*method, Method::GET | Method::HEAD),
            admits_body: !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS),
        })
    }

    /// Adds a header; its name is in lower case. `Host` and the headers that frame the body are not for callers to add.
    pub fn header(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unsendable> {
        write_header(&mut self.head, name, value)
    }

    /// Adds a header whose name stands in this program: in lower case, and none that `Self::header`
    /// refuses.
    pub(crate) fn own_header(
        &mut self,
        name: &'static str,
        value: &[u8],
    ) -> Result<(), Unsendable> {
        write_value(&mut self.head, name.as_bytes(), value)
    }

    /// Adds headers that were checked when they were put together.
    pub fn lines(&mut self, lines: &HeaderLines) {
        self.head.extend_from_slice(&lines.0);
    }

    /// Ends the head with the framing of the body; a small whole body is put behind it, so that both
    /// go out in one write.
    pub(super) fn finish(&mut self) -> Framing {
        let framing = match &self.body {
            OutgoingBody::Nothing => Framing::Length(0),
            OutgoingBody::Whole(bytes) => Framing::Length(bytes.len() as u64),
            OutgoingBody::Streamed(body) => {
                body.size_hint().exact().map_or(Framing::Chunked, Framing::Length)
            }
        };
        match framing {
            Framing::Length(0) if !self.admits_body => {}
            Framing::Length(length) => {
                self.head.extend_from_slice(b"content-length: ");
                self.head.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
                self.head.extend_from_slice(b"\r\n");
            }
            Framing::Chunked => self.head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        self.head.extend_from_slice(b"\r\n");
        if let OutgoingBody::Whole(bytes) = &self.body
            && bytes.len() <= JOINED_BODY_BYTES_MAX
        {
            self.head.extend_from_slice(bytes);
            self.body = OutgoingBody::Nothing;
        }
        framing
    }
}

/// Headers in the bytes in which they are sent, for requests that have them in common.
#[derive(Clone, Default)]
pub struct HeaderLines(Vec<u8>);

impl HeaderLines {
    /// Adds a header; refuses what [`OutgoingRequest::header`] refuses.
    pub fn header(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unsendable> {
        write_header(&mut self.0, name, value)
    }
}

/// Does not show the values: a credential is among them.
impl std::fmt::Debug for HeaderLines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeaderLines({} bytes)", self.0.len())
    }
}

/// The characters of a name that is sent.
const OF_A_NAME: [(u8, u8); 4] = [(b'a', b'z'), (b'0', b'9'), (b'-', b'-'), (b'_', b'_')];

fn write_header(head: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), Unsendable> {
    let is_framing = matches!(
        name,
        b"host"
            | b"content-length"
            | b"transfer-encoding"
            | b"connection"
            | b"upgrade"
            | b"expect"
            | b"te"
            | b"trailer"
    );
    let is_odd = name.is_empty() || !scan::is_within(name, OF_A_NAME);
    if is_framing || is_odd { Err(Unsendable) } else { write_value(head, name, value) }
}

/// Writes a header whose name is in order.
fn write_value(head: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), Unsendable> {
    if !scan::is_within(value, [(b' ', b'~'), (b'\t', b'\t')]) {
        return Err(Unsendable);
    }
    head.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
    Ok(())
}

/// A body up to this size is sent in one write with the head.
const JOINED_BODY_BYTES_MAX: usize = 16 << 10;

/// How the body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length.
    Length(u64),
    /// By the chunked transfer coding.
    Chunked,
}

impl std::fmt::Debug for OutgoingBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Whole(bytes) => write!(f, "Whole({})", bytes.len()),
            Self::Streamed(body) => write!(f, "Streamed({:?})", body.size_hint()),
        }
    }
}
