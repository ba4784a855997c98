//! The head of an answer, held to RFC 9112: what leaves its end in doubt is no answer.

use std::mem::MaybeUninit;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::headers;

/// Largest head that is accepted, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Longest name of a header that is looked at.
const NAME_BYTES_MAX: usize = 48;
/// Most header lines.
const HEADERS_MAX: usize = 96;

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// Its status, never 1xx.
    pub status: StatusCode,
    /// Those of its headers that were asked for.
    pub headers: HeaderMap,
    /// How its body is delimited.
    pub framing: AnswerFraming,
    /// Whether the upstream will take another request on the connection.
    pub keeps_alive: bool,
}

/// How the body of an answer is delimited (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFraming {
    /// By its length.
    Length(u64),
    /// By the chunked transfer coding.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// Why what came is not an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// Not a status line and headers.
    #[error("its head is malformed")]
    Head,
    /// Longer than is accepted.
    #[error("its head is too large")]
    TooLarge,
    /// The end of its body is in doubt.
    #[error("its length is ambiguous")]
    Length,
    /// It switches protocols, which nobody asked for.
    #[error("it switches protocols unasked")]
    SwitchesProtocols,
    /// Bytes came that no request asked for.
    #[error("it comes without a request")]
    Unasked,
    /// Its chunked framing is malformed.
    #[error("its chunked framing is malformed")]
    Chunks,
}

/// A parsed beginning of what the upstream sent.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// The head is not whole yet.
    Partial,
    /// An interim answer of this many bytes; another follows.
    Interim(usize),
    /// The head, and how many bytes it took.
    Final(AnswerHead, usize),
}

/// Parses the beginning of what the upstream sent in answer to a request. Of the headers, those that
/// are `wanted` are kept; it is asked with the name in lower case.
pub(crate) fn parse(
    bytes: &[u8],
    answers_head_request: bool,
    wanted: impl Fn(&[u8]) -> Option<HeaderName>,
) -> Result<Parsed, BadAnswer> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut answer, bytes, &mut headers) {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => {
            return Ok(Parsed::Partial);
        }
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(BadAnswer::TooLarge),
        Err(_) => return Err(BadAnswer::Head),
    };
    // Empty lines before it, and bare line feeds, are admitted by the parser.
    if !bytes.starts_with(b"H") || !bytes.get(..length).is_some_and(ends_lines_in_crlf) {
        return Err(BadAnswer::Head);
    }
    // RFC 9110 §15: there are five classes.
    let status = answer.code.filter(|code| *code < 600);
    let status = status.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(BadAnswer::Head)?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(BadAnswer::SwitchesProtocols);
    }
    if status.is_informational() {
        return Ok(Parsed::Interim(length));
    }
    let is_http_11 = answer.version == Some(1);
    let mut facts = Facts { keeps_alive: is_http_11, ..Facts::default() };
    let mut kept = headers::spare();
    for header in answer.headers.iter() {
        facts.note(header.name, header.value)?;
        let mut lower = [0; NAME_BYTES_MAX];
        let name = lower_case(header.name, &mut lower).and_then(&wanted);
        if let Some(name) = name {
            let value = HeaderValue::from_bytes(header.value).map_err(|_| BadAnswer::Head)?;
            kept.append(name, value);
        }
    }
    if facts.chunked && !is_http_11 {
        return Err(BadAnswer::Length);
    }
    let framing = facts.framing(status, answers_head_request)?;
    let keeps_alive = facts.keeps_alive && framing != AnswerFraming::UntilClose;
    Ok(Parsed::Final(AnswerHead { status, headers: kept, framing, keeps_alive }, length))
}

/// The name in lower case; `None` when it is longer than any that could be wanted.
fn lower_case<'l>(name: &str, lower: &'l mut [u8; NAME_BYTES_MAX]) -> Option<&'l [u8]> {
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    Some(lower)
}

/// Whether no line ends in a bare line feed.
pub(super) fn ends_lines_in_crlf(lines: &[u8]) -> bool {
    let ends = |at: usize| at.checked_sub(1).and_then(|before| lines.get(before)) == Some(&b'\r');
    memchr::memchr_iter(b'\n', lines).all(ends)
}

#[derive(Default)]
struct Facts {
    length: Option<u64>,
    chunked: bool,
    keeps_alive: bool,
}

impl Facts {
    fn note(&mut self, name: &str, value: &[u8]) -> Result<(), BadAnswer> {
        match name.len() {
            10 if name.eq_ignore_ascii_case("connection") => {
                // `close`, and whatever else an upstream has to say of its connection, ends it.
                self.keeps_alive &= value.eq_ignore_ascii_case(b"keep-alive");
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                let digits = std::str::from_utf8(value).map_err(|_| BadAnswer::Length)?;
                // As it would be passed on: without a sign or leading zeros.
                let plain = !digits.is_empty()
                    && digits.bytes().all(|digit| digit.is_ascii_digit())
                    && (digits.len() == 1 || !digits.starts_with('0'));
                let length = if plain { digits.parse().ok() } else { None };
                let length = length.ok_or(BadAnswer::Length)?;
                if self.length.replace(length).is_some() {
                    return Err(BadAnswer::Length);
                }
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadAnswer::Length);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, status: StatusCode, head: bool) -> Result<AnswerFraming, BadAnswer> {
        if self.chunked && self.length.is_some() {
            return Err(BadAnswer::Length);
        }
        let bodiless =
            head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        Ok(match (self.length, self.chunked) {
            _ if bodiless => AnswerFraming::Length(0),
            (_, true) => AnswerFraming::Chunked,
            (Some(length), false) => AnswerFraming::Length(length),
            (None, false) => AnswerFraming::UntilClose,
        })
    }
}
