//! The head of a request, byte by byte: what RFC 9112 leaves no doubt about passes, the rest is
//! refused. hyper parses it again afterwards; it may be stricter, and is never asked to be.

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
    /// A body on a method that has none.
    #[error("a GET, HEAD or OPTIONS request must not have a body")]
    UnexpectedBody,
}

/// Checks a whole head, its empty line included, and tells how the body is delimited.
pub fn check_head(head: &[u8], limits: HeadLimits) -> Result<Framing, Malformed> {
    let mut lines = Lines { rest: head };
    let request_line = lines.next().ok_or(Malformed::RequestLine)??;
    let request = check_request_line(request_line, limits.target_bytes_max)?;
    let mut facts = Facts::default();
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
        facts.note(line)?;
    }
    facts.framing(request)
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

/// What matters of a request line.
#[derive(Clone, Copy)]
struct RequestLine {
    admits_body: bool,
    is_http_10: bool,
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

fn check_request_line(line: &[u8], target_bytes_max: usize) -> Result<RequestLine, Malformed> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed::RequestLine);
    };
    let admits_body = match method {
        b"GET" | b"HEAD" | b"OPTIONS" => false,
        b"POST" | b"PUT" | b"PATCH" | b"DELETE" => true,
        _ => return Err(Malformed::Method),
    };
    if target.len() > target_bytes_max {
        return Err(Malformed::TargetTooLong);
    }
    // Beside the fragment's sign, those that no URI has and that hyper answers by itself.
    let plain = |byte: &u8| {
        matches!(byte, 0x21..=0x7e) && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'`')
    };
    if target.first() != Some(&b'/') || !target.iter().all(plain) {
        return Err(Malformed::Target);
    }
    let is_http_10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(Malformed::Version),
    };
    Ok(RequestLine { admits_body, is_http_10 })
}

/// The headers that decide where the message ends.
#[derive(Default)]
struct Facts {
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
    expects: usize,
}

impl Facts {
    fn note(&mut self, line: &[u8]) -> Result<(), Malformed> {
        let colon = memchr::memchr(b':', line).ok_or(Malformed::Header)?;
        let (name, value) = line.split_at_checked(colon).ok_or(Malformed::Header)?;
        let value = value.get(1..).unwrap_or_default();
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(Malformed::Header);
        }
        if !value.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..)) {
            return Err(Malformed::Header);
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects += 1;
                if !trim_leading(value).eq_ignore_ascii_case(b"100-continue") {
                    return Err(Malformed::Expect);
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = parse_length(trim_leading(value)).ok_or(Malformed::ContentLength)?;
                if self.content_length.replace(length).is_some() {
                    return Err(Malformed::ContentLength);
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked || trim_leading(value) != b"chunked" {
                    return Err(Malformed::TransferEncoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, request: RequestLine) -> Result<Framing, Malformed> {
        if self.hosts != 1 {
            return Err(Malformed::Host);
        }
        let framing = match (self.content_length, self.chunked) {
            (Some(_), true) => return Err(Malformed::AmbiguousLength),
            (_, true) if request.is_http_10 => return Err(Malformed::TransferEncoding),
            (None, true) => Framing::Chunked,
            (length, false) => Framing::Length(length.unwrap_or(0)),
        };
        let has_body = framing != Framing::Length(0);
        if has_body && !request.admits_body {
            return Err(Malformed::UnexpectedBody);
        }
        if self.expects > 1 || (self.expects == 1 && !has_body) {
            return Err(Malformed::Expect);
        }
        Ok(framing)
    }
}

/// `tchar` of RFC 9110 §5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

fn trim_leading(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] = value {
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
