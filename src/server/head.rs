//! The head of a request, byte by byte: what RFC 9112 leaves no doubt about becomes a request, the
//! rest is refused. Nothing else reads these bytes.

use std::ops::Range;

use http::{Method, Version};

use crate::message::{Head, Lines, content_length, trim_end, trim_start};
use crate::scan;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes of the whole head, the empty line included.
    pub head_bytes_max: usize,
    /// Header lines.
    pub headers_max: usize,
    /// Bytes of the target.
    pub target_bytes_max: usize,
}

/// How the body that follows is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By its length; 0 where there is none.
    Length(u64),
    /// By the chunked transfer coding.
    Chunked,
}

/// Why a request is refused before anything in it is looked at. The message says what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// A line ends in a bare LF, or has a CR or NUL within.
    #[error("header lines must end in CRLF and have no other control characters")]
    LineEnd,
    /// The request line is not `method SP target SP version`.
    #[error("the request line is malformed")]
    RequestLine,
    /// Not one of the methods the gate knows.
    #[error("the method is not one of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS")]
    Method,
    /// Not origin-form, or with characters a target cannot have.
    #[error("the request target must be an absolute path of plain ASCII without a fragment")]
    Target,
    /// Longer than [`HeadLimits::target_bytes_max`].
    #[error("the request target is too long")]
    TargetTooLong,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    #[error("the protocol version must be HTTP/1.1 or HTTP/1.0")]
    Version,
    /// A header line without a name, with white space around it, folded, or with control characters.
    #[error("a header line is malformed")]
    Header,
    /// More than [`HeadLimits::headers_max`] lines or [`HeadLimits::head_bytes_max`] bytes.
    #[error("the header section is too large")]
    HeadTooLarge,
    /// No `Host`, or several.
    #[error("exactly one Host header is needed")]
    Host,
    /// A `Content-Length` that is not one plain number.
    #[error("Content-Length must be one decimal number without sign or leading zeros")]
    ContentLength,
    /// A `Transfer-Encoding` that is not exactly `chunked`, or in HTTP/1.0.
    #[error("Transfer-Encoding must be exactly `chunked`, in HTTP/1.1")]
    TransferEncoding,
    /// Both at once.
    #[error("Content-Length and Transfer-Encoding must not come together")]
    AmbiguousLength,
    /// An `Expect` that is not `100-continue`, comes twice, or comes without a body.
    #[error("the only expectation is `100-continue`, once, with a body")]
    Expect,
    /// For a host that the certificate shown on the connection is not for.
    #[error("this connection's certificate is not for that host: connect to the host itself")]
    Misdirected,
    /// A body on a method that has none.
    #[error("a GET, HEAD or OPTIONS request must not have a body")]
    UnexpectedBody,
}

/// A head that was read.
#[derive(Debug)]
pub struct RequestHead {
    /// Method, target, version and fields.
    pub head: Head,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client will send another request on the connection.
    pub keeps_alive: bool,
    /// Whether the client waits for a `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Reads a whole head, its empty line included.
pub fn read_head(bytes: &[u8], limits: HeadLimits) -> Result<RequestHead, Malformed> {
    let (head, length) = read_first_head(bytes, limits)?;
    if length == bytes.len() { Ok(head) } else { Err(Malformed::Header) }
}

/// Reads the whole head that the bytes begin with, and tells its length.
pub(super) fn read_first_head(
    bytes: &[u8],
    limits: HeadLimits,
) -> Result<(RequestHead, usize), Malformed> {
    let mut lines = Lines::of(bytes);
    let request_line = lines.next().ok_or(Malformed::RequestLine)?;
    let request_line = request_line.map_err(|_| Malformed::LineEnd)?;
    let RequestLine { method, target, version } =
        read_request_line(bytes, request_line, limits.target_bytes_max)?;
    let mut head = Head::within(method, version, bytes, target);
    let mut facts = Facts { keeps_alive: version == Version::HTTP_11, ..Facts::default() };
    let mut count = 0;
    loop {
        let line = lines.next().ok_or(Malformed::Header)?.map_err(|_| Malformed::LineEnd)?;
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > limits.headers_max {
            return Err(Malformed::HeadTooLarge);
        }
        // What frames the message has no white space behind it either.
        let (name, said) = head.take_up(line).ok_or(Malformed::Header)?;
        facts.note(name, said)?;
    }
    if lines.has_controls() {
        return Err(Malformed::Header);
    }
    head.cut_off(lines.at());
    let framing = facts.framing(&head.method, version)?;
    let Facts { keeps_alive, expects, .. } = facts;
    Ok((RequestHead { head, framing, keeps_alive, expects_continue: expects > 0 }, lines.at()))
}

/// Where a head ends.
pub(crate) enum HeadEnd {
    /// After this many bytes.
    At(usize),
    /// Not within the bytes there are.
    NotYet,
}

/// Where the head ends, looking at line ends from `from` on. A line end that is not CRLF is refused
/// as soon as it is seen.
pub(crate) fn end_of_head(bytes: &[u8], from: usize) -> Result<HeadEnd, Malformed> {
    for found in memchr::memchr_iter(b'\n', bytes.get(from..).unwrap_or_default()) {
        let at = from + found;
        let before = |back: usize| at.checked_sub(back).and_then(|index| bytes.get(index));
        if before(1) != Some(&b'\r') {
            return Err(Malformed::LineEnd);
        }
        if at == 1 {
            return Err(Malformed::RequestLine);
        }
        if before(2) == Some(&b'\n') {
            return Ok(HeadEnd::At(at + 1));
        }
    }
    Ok(HeadEnd::NotYet)
}

/// The words of a request line, and where in the head the target stands.
struct RequestLine {
    method: Method,
    target: Range<usize>,
    version: Version,
}

fn read_request_line(
    bytes: &[u8],
    line: Range<usize>,
    target_bytes_max: usize,
) -> Result<RequestLine, Malformed> {
    let start = line.start;
    let line = bytes.get(line).unwrap_or_default();
    let mut spaces = memchr::memchr_iter(b' ', line);
    let (Some(first), Some(second), None) = (spaces.next(), spaces.next(), spaces.next()) else {
        return Err(Malformed::RequestLine);
    };
    let method = match line.get(..first).unwrap_or_default() {
        b"GET" => Method::GET,
        b"HEAD" => Method::HEAD,
        b"OPTIONS" => Method::OPTIONS,
        b"POST" => Method::POST,
        b"PUT" => Method::PUT,
        b"PATCH" => Method::PATCH,
        b"DELETE" => Method::DELETE,
        _ => return Err(Malformed::Method),
    };
    let target = line.get(first + 1..second).unwrap_or_default();
    if target.len() > target_bytes_max {
        return Err(Malformed::TargetTooLong);
    }
    if !is_origin_form(target) {
        return Err(Malformed::Target);
    }
    let version = match line.get(second + 1..).unwrap_or_default() {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return Err(Malformed::Version),
    };
    Ok(RequestLine { method, target: start + first + 1..start + second, version })
}

/// Whether a target is an absolute path of plain ASCII without a fragment.
pub(super) fn is_origin_form(target: &[u8]) -> bool {
    const GRAPHIC: [(u8, u8); 5] =
        [(b'!', b'!'), (b'$', b';'), (b'=', b'='), (b'?', b'_'), (b'a', b'~')];
    target.first() == Some(&b'/') && scan::is_within(target, GRAPHIC)
}

/// The headers that decide where the message ends, and what comes after it.
#[derive(Default)]
struct Facts {
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
    expects: usize,
    keeps_alive: bool,
}

impl Facts {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Malformed> {
        match name {
            b"host" => self.hosts += 1,
            b"expect" => {
                self.expects += 1;
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Malformed::Expect);
                }
            }
            b"connection" => {
                let mut options = value.split(|byte| *byte == b',');
                self.keeps_alive &= !options
                    .any(|option| trim_end(trim_start(option)).eq_ignore_ascii_case(b"close"));
            }
            b"content-length" => {
                let length = content_length(value).ok_or(Malformed::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(Malformed::ContentLength);
                }
            }
            b"transfer-encoding" => {
                if self.chunked || value != b"chunked" {
                    return Err(Malformed::TransferEncoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, method: &Method, version: Version) -> Result<Framing, Malformed> {
        if self.hosts != 1 {
            return Err(Malformed::Host);
        }
        let framing = match (self.content_length, self.chunked) {
            (Some(_), true) => return Err(Malformed::AmbiguousLength),
            (_, true) if version == Version::HTTP_10 => return Err(Malformed::TransferEncoding),
            (None, true) => Framing::Chunked,
            (length, false) => Framing::Length(length.unwrap_or(0)),
        };
        let has_body = framing != Framing::Length(0);
        let admits_none = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if has_body && admits_none {
            return Err(Malformed::UnexpectedBody);
        }
        if self.expects > 1 || (self.expects == 1 && !has_body) {
            return Err(Malformed::Expect);
        }
        Ok(framing)
    }
}
