//! The head of an answer, held to RFC 9112: what leaves its end in doubt is no answer.

use std::ops::Range;

use http::StatusCode;

use crate::message::{Fields, Lines, content_length, is_field_value};

/// Largest head that is accepted, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;
/// Longest name of a field that is kept.
const NAME_BYTES_MAX: usize = 48;
/// Most header lines.
const HEADERS_MAX: usize = 96;

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// Its status, never 1xx.
    pub status: StatusCode,
    /// Those of its fields that were asked for.
    pub fields: Fields,
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

/// Parses the beginning of what the upstream sent in answer to a request. Of the fields, those that
/// are `wanted` are kept; it is asked with the name in lower case.
pub(crate) fn parse(
    bytes: &[u8],
    answers_head_request: bool,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Parsed, BadAnswer> {
    let mut lines = Lines::of(bytes);
    let Some(status_line) = take(&mut lines)? else {
        let begins_well = bytes.iter().zip(b"HTTP/1.").all(|(byte, expected)| byte == expected);
        return if begins_well { partial(bytes) } else { Err(BadAnswer::Head) };
    };
    let status_line = bytes.get(status_line).unwrap_or_default();
    let (status, is_http_11) = read_status_line(status_line).ok_or(BadAnswer::Head)?;
    let mut facts = Facts { keeps_alive: is_http_11, ..Facts::default() };
    let mut fields = Fields::new();
    let mut count = 0;
    loop {
        let Some(line) = take(&mut lines)? else { return partial(bytes) };
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > HEADERS_MAX {
            return Err(BadAnswer::TooLarge);
        }
        let line = bytes.get(line.start..line.end + 2).unwrap_or_default();
        let taken = fields.take_over(line, |name, value| {
            facts.note(name, value)?;
            Ok(name.len() <= NAME_BYTES_MAX && wanted(name))
        });
        taken.ok_or(BadAnswer::Head)??;
    }
    let length = lines.at();
    if length > HEAD_BYTES_MAX {
        return Err(BadAnswer::TooLarge);
    }
    if lines.has_controls() {
        return Err(BadAnswer::Head);
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(BadAnswer::SwitchesProtocols);
    }
    if status.is_informational() {
        return Ok(Parsed::Interim(length));
    }
    if facts.chunked && !is_http_11 {
        return Err(BadAnswer::Length);
    }
    let framing = facts.framing(status, answers_head_request)?;
    let keeps_alive = facts.keeps_alive && framing != AnswerFraming::UntilClose;
    Ok(Parsed::Final(AnswerHead { status, fields, framing, keeps_alive }, length))
}

/// The head is not whole, and may still become so.
fn partial(bytes: &[u8]) -> Result<Parsed, BadAnswer> {
    if bytes.len() <= HEAD_BYTES_MAX { Ok(Parsed::Partial) } else { Err(BadAnswer::TooLarge) }
}

/// Where the next line stands, without its end; `None` while that has not come.
fn take(lines: &mut Lines<'_>) -> Result<Option<Range<usize>>, BadAnswer> {
    lines.next().transpose().map_err(|_| BadAnswer::Head)
}

/// The status, and whether the version is HTTP/1.1 rather than HTTP/1.0 (RFC 9112 §4).
fn read_status_line(line: &[u8]) -> Option<(StatusCode, bool)> {
    let is_http_11 = match line.get(..9)? {
        b"HTTP/1.1 " => true,
        b"HTTP/1.0 " => false,
        _ => return None,
    };
    let reason = line.get(12..)?;
    // Some servers leave the space out with the reason.
    if !(reason.is_empty() || reason.starts_with(b" ")) || !is_field_value(reason) {
        return None;
    }
    // RFC 9110 §15: there are five classes.
    let status =
        StatusCode::from_bytes(line.get(9..12)?).ok().filter(|code| code.as_u16() < 600)?;
    Some((status, is_http_11))
}

#[derive(Default)]
struct Facts {
    length: Option<u64>,
    chunked: bool,
    keeps_alive: bool,
}

impl Facts {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadAnswer> {
        match name {
            b"connection" => {
                // `close`, and whatever else an upstream has to say of its connection, ends it.
                self.keeps_alive &= value.eq_ignore_ascii_case(b"keep-alive");
            }
            b"content-length" => {
                let length = content_length(value).ok_or(BadAnswer::Length)?;
                if self.length.replace(length).is_some() {
                    return Err(BadAnswer::Length);
                }
            }
            b"transfer-encoding" => {
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
