//! The bytes of an answer: its head, and the framing of its body.

use std::cell::RefCell;
use std::io::Write as _;
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use http::{Method, StatusCode, Version};
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::time::Instant;

use crate::clock::{Clock as _, SystemClock, step_time};
use crate::message::Fields;
use crate::message::names::{CONTENT_LENGTH, DATE};

/// A piece of a body up to this size is copied behind what goes out before it; a larger one is
/// written by itself.
pub(super) const JOINED_BYTES_MAX: usize = 8 << 10;

/// What an answer is to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) head_only: bool,
    pub(super) version: Version,
    /// Whether the connection serves another request after it.
    pub(super) keeps_alive: bool,
}

/// How the body of an answer is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// There is none, or it is not for this request.
    None,
    /// By its length, of which this much is left.
    Length(u64),
    /// By the chunked transfer coding.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl Answered {
    pub(super) fn to(method: &Method, version: Version, keeps_alive: bool) -> Self {
        Self { head_only: *method == Method::HEAD, version, keeps_alive }
    }
}

/// Writes the head of an answer whose body has this length, if it is known.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    status: StatusCode,
    fields: &Fields,
    length: Option<u64>,
    answered: Answered,
) -> BodyFraming {
    if status == StatusCode::OK {
        // The usual one, in one piece.
        out.put_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.put_slice(b"HTTP/1.1 ");
        out.put_slice(status.as_str().as_bytes());
        out.put_slice(b" ");
        out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.put_slice(b"\r\n");
    }
    let mut is_dated = false;
    fields.write_to(out, |name| match name {
        // The connection and the framing are for this server to tell.
        b"connection" | b"transfer-encoding" | b"content-length" => false,
        b"date" => {
            is_dated = true;
            true
        }
        _ => true,
    });
    if !is_dated {
        write_date(out);
    }
    let framing = write_framing(out, status, fields, length, answered);
    if !answered.keeps_alive {
        write_header(out, b"connection", b"close");
    }
    out.put_slice(b"\r\n");
    framing
}

fn write_framing(
    out: &mut Vec<u8>,
    status: StatusCode,
    fields: &Fields,
    length: Option<u64>,
    answered: Answered,
) -> BodyFraming {
    if status == StatusCode::NO_CONTENT || status.is_informational() {
        return BodyFraming::None;
    }
    if answered.head_only || status == StatusCode::NOT_MODIFIED {
        // What the body's length would have been (RFC 9110 §8.6), where that is known.
        if let Some(length) = fields.get(CONTENT_LENGTH) {
            write_header(out, b"content-length", length);
        }
        return BodyFraming::None;
    }
    match length {
        Some(length) => {
            write_header(out, b"content-length", itoa::Buffer::new().format(length).as_bytes());
            BodyFraming::Length(length)
        }
        None if answered.version == Version::HTTP_11 => {
            write_header(out, b"transfer-encoding", b"chunked");
            BodyFraming::Chunked
        }
        None => BodyFraming::UntilClose,
    }
}

fn write_header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Writes a piece of a body with what frames it. A large one is given back, to be written by itself
/// before [`end_chunk`]; otherwise what is given back is empty.
pub(super) fn write_piece(
    out: &mut Vec<u8>,
    framing: &mut BodyFraming,
    piece: Bytes,
) -> Result<Bytes, WrongLength> {
    if piece.is_empty() {
        // An empty chunk would be the last one.
        return Ok(piece);
    }
    match framing {
        BodyFraming::None => return Ok(Bytes::new()),
        BodyFraming::UntilClose => {}
        BodyFraming::Length(left) => {
            *left = left.checked_sub(piece.len() as u64).ok_or(WrongLength)?;
        }
        BodyFraming::Chunked => {
            // Writing to a vector cannot fail.
            let _ = write!(out, "{:x}\r\n", piece.len());
        }
    }
    if piece.len() > JOINED_BYTES_MAX {
        return Ok(piece);
    }
    out.put_slice(&piece);
    end_chunk(out, *framing);
    Ok(Bytes::new())
}

/// What comes behind a piece that was written by itself.
pub(super) fn end_chunk(out: &mut Vec<u8>, framing: BodyFraming) {
    if framing == BodyFraming::Chunked {
        out.put_slice(b"\r\n");
    }
}

/// What comes behind the last piece.
pub(super) fn end_body(out: &mut Vec<u8>, framing: BodyFraming) -> Result<(), WrongLength> {
    match framing {
        BodyFraming::Length(left) if left > 0 => return Err(WrongLength),
        BodyFraming::Chunked => out.put_slice(b"0\r\n\r\n"),
        _ => {}
    }
    Ok(())
}

/// A body that is not as long as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongLength;

/// For how long the time of an answer is told without looking at the clock again.
const DATE_KEPT: Duration = Duration::from_millis(50);

/// The time as it was told last.
#[derive(Default)]
struct Date {
    /// When the clock was looked at.
    at: Option<Instant>,
    second: i64,
    /// The whole field line.
    line: Vec<u8>,
}

thread_local! {
    static DATE_TOLD: RefCell<Date> = RefCell::default();
}

/// Writes the time (RFC 9110 §5.6.7), which may be 50 ms late; its text is made once a second.
fn write_date(out: &mut Vec<u8>) {
    DATE_TOLD.with_borrow_mut(|date| {
        let at = step_time();
        if date.at.is_none_or(|last| at.duration_since(last) >= DATE_KEPT) {
            let now = SystemClock::default().now();
            if date.at.is_none() || date.second != now.as_second() {
                let printed = DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
                date.second = now.as_second();
                date.line.clear();
                write_header(
                    &mut date.line,
                    DATE.as_bytes(),
                    printed.unwrap_or_default().as_bytes(),
                );
            }
            date.at = Some(at);
        }
        out.put_slice(&date.line);
    });
}
