//! The head of a request, byte by byte: what RFC 9112 leaves no doubt about becomes a request, the
//! rest is refused. Nothing else reads these bytes.

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};

use crate::headers;

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
    /// Method, target, version and headers, in the order in which they came.
    pub request: Request<()>,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client will send another request on the connection.
    pub keeps_alive: bool,
    /// Whether the client waits for a `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Reads a whole head, its empty line included.
pub fn read_head(head: &Bytes, limits: HeadLimits) -> Result<RequestHead, Malformed> {
    let mut lines = Lines { rest: head };
    let request_line = lines.next().ok_or(Malformed::RequestLine)??;
    let RequestLine { method, target, version } =
        read_request_line(request_line, limits.target_bytes_max)?;
    let mut headers = headers::spare();
    let mut facts = Facts { keeps_alive: version == Version::HTTP_11, ..Facts::default() };
    let mut count = 0;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > limits.headers_max {
            return Err(Malformed::HeadTooLarge);
        }
        let (name, value) = read_header(line)?;
        facts.note(name, value)?;
        let name = HeaderName::from_bytes(name).map_err(|_| Malformed::Header)?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(trim_end(value)));
        headers.append(name, value.map_err(|_| Malformed::Header)?);
    }
    let framing = facts.framing(&method, version)?;
    let mut request = Request::new(());
    *request.uri_mut() =
        Uri::from_maybe_shared(head.slice_ref(target)).map_err(|_| Malformed::Target)?;
    *request.method_mut() = method;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    let Facts { keeps_alive, expects, .. } = facts;
    Ok(RequestHead { request, framing, keeps_alive, expects_continue: expects > 0 })
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
    let mut from = from;
    while let Some(found) = bytes.get(from..).and_then(|rest| memchr::memchr(b'\n', rest)) {
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
        from = at + 1;
    }
    Ok(HeadEnd::NotYet)
}

/// The words of a request line.
struct RequestLine<'h> {
    method: Method,
    target: &'h [u8],
    version: Version,
}

/// The lines of a head, without their CRLF.
struct Lines<'h> {
    rest: &'h [u8],
}

impl<'h> Iterator for Lines<'h> {
    type Item = Result<&'h [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").ok_or(Malformed::LineEnd))
    }
}

fn read_request_line(line: &[u8], target_bytes_max: usize) -> Result<RequestLine<'_>, Malformed> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed::RequestLine);
    };
    let method = match method {
        b"GET" => Method::GET,
        b"HEAD" => Method::HEAD,
        b"OPTIONS" => Method::OPTIONS,
        b"POST" => Method::POST,
        b"PUT" => Method::PUT,
        b"PATCH" => Method::PATCH,
        b"DELETE" => Method::DELETE,
        _ => return Err(Malformed::Method),
    };
    if target.len() > target_bytes_max {
        return Err(Malformed::TargetTooLong);
    }
    if !is_origin_form(target) {
        return Err(Malformed::Target);
    }
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return Err(Malformed::Version),
    };
    Ok(RequestLine { method, target, version })
}

/// Whether a target is an absolute path of plain ASCII without a fragment.
pub(super) fn is_origin_form(target: &[u8]) -> bool {
    target.first() == Some(&b'/') && are(target, OF_A_TARGET)
}

/// Name and value of a header line, the value without white space before it. What the value is made
/// of is left to `HeaderValue`: a tab, and everything from the space on but DEL (RFC 9110 §5.5).
fn read_header(line: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let colon = memchr::memchr(b':', line).ok_or(Malformed::Header)?;
    let (name, value) = line.split_at_checked(colon).ok_or(Malformed::Header)?;
    if name.is_empty() || !are(name, OF_A_TOKEN) {
        return Err(Malformed::Header);
    }
    Ok((name, trim_start(value.get(1..).unwrap_or_default())))
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
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects += 1;
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Malformed::Expect);
                }
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let mut options = value.split(|byte| *byte == b',');
                self.keeps_alive &= !options
                    .any(|option| trim_end(trim_start(option)).eq_ignore_ascii_case(b"close"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = parse_length(value).ok_or(Malformed::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(Malformed::ContentLength);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
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

/// `tchar` of RFC 9110 §5.6.2.
const OF_A_TOKEN: u8 = 1;
/// What a target may have: visible ASCII without the fragment's sign and what no URI has.
const OF_A_TARGET: u8 = 2;

/// What each byte may be part of.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut rest: &mut [u8] = &mut kinds;
    let mut byte: u8 = 0;
    while let [kind, others @ ..] = rest {
        *kind = kinds_of(byte);
        rest = others;
        byte = byte.wrapping_add(1);
    }
    kinds
};

const fn kinds_of(byte: u8) -> u8 {
    if !byte.is_ascii_graphic() {
        return 0;
    }
    let of_a_token = byte.is_ascii_alphanumeric() || among(byte, b"!#$%&'*+-.^_`|~");
    let of_a_target = !among(byte, b"#\"<>`");
    (if of_a_token { OF_A_TOKEN } else { 0 }) | (if of_a_target { OF_A_TARGET } else { 0 })
}

const fn among(byte: u8, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let [first, others @ ..] = rest {
        if *first == byte {
            return true;
        }
        rest = others;
    }
    false
}

/// Whether every byte may be part of that. Looked through to the end: bytes are usually in order.
fn are(bytes: &[u8], kind: u8) -> bool {
    let kinds_of = |byte: u8| KINDS.get(usize::from(byte)).copied().unwrap_or(0);
    bytes.iter().fold(kind, |kinds, byte| kinds & kinds_of(*byte)) == kind
}

fn trim_start(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

fn trim_end(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn parse_length(digits: &[u8]) -> Option<u64> {
    let canonical = !digits.is_empty()
        && digits.len() <= 19
        && (digits.len() == 1 || digits.first() != Some(&b'0'));
    if !canonical {
        return None;
    }
    digits.iter().try_fold(0_u64, |length, digit| {
        digit.is_ascii_digit().then(|| length * 10 + u64::from(digit - b'0'))
    })
}
