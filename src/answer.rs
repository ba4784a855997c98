//! Answers of the gate's own: JSON bodies, and the one shape of every error.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use memchr::memmem::Finder;
use schemars::JsonSchema;
use serde::Serialize;

use crate::policy::hex;
use crate::scan;

/// Names one request in answers, logs and upstream: 32 lower-case hexadecimal digits. Made here, never
/// taken from a caller. Also the W3C trace id of the gate's own trace, so it is never zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestId {
    digits: [u8; 32],
    traced: bool,
}

impl RequestId {
    /// The id with this value.
    #[must_use]
    pub fn new(value: u128) -> Self {
        Self { digits: hex(value | 1 << 127), traced: false }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Hexadecimal digits are text.
        std::str::from_utf8(&self.digits).unwrap_or_default()
    }

    /// The id as text, in ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.digits
    }

    /// The same request, traced if one in `one_in` is and it is this one. 0: none is.
    #[must_use]
    pub fn sampled(mut self, one_in: u32) -> Self {
        if one_in > 0 {
            let low = self.as_str().get(24..);
            let low = low.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            self.traced = low.and_then(|low| low.checked_rem(one_in)) == Some(0);
        }
        self
    }

    /// Whether the request is traced.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.traced
    }

    /// The `traceparent` of the upstream request (W3C Trace Context, version 00), as its header says it.
    /// The span is the second half of the trace id, its first four bits set so that it is not zero.
    #[must_use]
    pub fn traceparent(self) -> [u8; 55] {
        let mut value = *b"00-00000000000000000000000000000000-f000000000000000-00";
        let [.., flag] = &mut value;
        *flag = b'0' + u8::from(self.traced);
        for (place, digit) in value.iter_mut().skip(3).zip(self.digits) {
            *place = digit;
        }
        for (place, digit) in value.iter_mut().skip(37).take(15).zip(self.digits.iter().skip(17)) {
            *place = *digit;
        }
        value
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Longest message of an error, in characters.
const MESSAGE_LENGTH_MAX: usize = 1024;

/// The body of every error.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorBody<'a> {
    /// What to change.
    message: &'a str,
    /// Short and stable.
    code: &'a str,
    /// Names the request in the gate's log.
    request_id: &'a str,
}

/// An error: `{"message","code","request_id"}`. `message` tells the developer what to change.
#[must_use]
pub fn error(
    status: StatusCode,
    code: &'static str,
    message: &str,
    request_id: RequestId,
) -> Response<Bytes> {
    json_of(status, error_body(code, message, request_id))
}

/// The body of an error.
#[must_use]
pub fn error_body(code: &'static str, message: &str, request_id: RequestId) -> Bytes {
    body_of_error(code, &legible(message, MESSAGE_LENGTH_MAX), request_id)
}

/// The body of an error whose message, if it is borrowed, has no caller's words in it.
pub(crate) fn error_body_of(
    code: &'static str,
    message: Cow<'static, str>,
    request_id: RequestId,
) -> Bytes {
    match message {
        Cow::Borrowed(own) => body_of_error(code, own, request_id),
        Cow::Owned(any) => error_body(code, &any, request_id),
    }
}

fn body_of_error(code: &'static str, message: &str, request_id: RequestId) -> Bytes {
    const BEFORE: &[u8] = b"{\"message\":\"";
    const CODE: &[u8] = b"\",\"code\":\"";
    const ID: &[u8] = b"\",\"request_id\":\"";
    const END: &[u8] = b"\"}";
    if !scan::is_within(message.as_bytes(), scan::PLAIN_IN_JSON) {
        let (message, request_id) = (&*with_page(message, code), request_id.as_str());
        return encode(&ErrorBody { message, code, request_id });
    }
    // Nothing in it has to be escaped, nor in the other two: a refusal should cost little.
    let page = page_parts(message, code);
    let told = page.iter().map(|part| part.len()).sum::<usize>()
        + code.len()
        + request_id.as_bytes().len();
    // Of just this length: what is longer than it holds would get a second owner.
    let mut body = Vec::with_capacity(told + BEFORE.len() + CODE.len() + ID.len() + END.len());
    body.extend_from_slice(BEFORE);
    for part in page {
        body.extend_from_slice(part.as_bytes());
    }
    body.extend_from_slice(CODE);
    body.extend_from_slice(code.as_bytes());
    body.extend_from_slice(ID);
    body.extend_from_slice(request_id.as_bytes());
    body.extend_from_slice(END);
    body.into()
}

/// A message that ends with the name of the page of `docs::refusals` that says more.
#[must_use]
pub fn with_page(message: &str, code: &str) -> String {
    page_parts(message, code).concat()
}

fn page_parts<'t>(message: &'t str, code: &'t str) -> [&'t str; 4] {
    [message, " [docs: refusals/", code, "]"]
}

/// A text in which a caller's own words may stand, without the tokens and keys among them: people
/// paste them into paths, queries and fields.
fn without_secrets(text: &str) -> Cow<'_, str> {
    const PREFIXES: [&str; 2] = ["ck-let-", "sk-let-"];
    // The usual text has neither, and is asked for what both have.
    static IN_BOTH: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(b"k-let-"));
    if IN_BOTH.find(text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let next = |text: &str| PREFIXES.iter().filter_map(|prefix| text.find(prefix)).min();
    let Some(mut found) = next(text) else { return Cow::Borrowed(text) };
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let (before, secret) = rest.split_at_checked(found).unwrap_or((rest, ""));
        kept.push_str(before);
        kept.push('…');
        rest =
            secret.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        match next(rest) {
            Some(again) => found = again,
            None => break,
        }
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// A text in which a caller's own words may stand, fit to be read by people: without secrets, in at
/// most so many characters, and with every character escaped that would not show itself: control and
/// bidirectional characters, line separators.
#[must_use]
pub fn legible(text: &str, length_max: usize) -> Cow<'_, str> {
    let text = without_secrets(text);
    // The usual text is short and plain.
    if text.len() <= length_max && scan::is_within(text.as_bytes(), [(b' ', b'~')]) {
        return text;
    }
    let mut shown = String::with_capacity(text.len().min(length_max));
    let mut chars = text.chars();
    for c in chars.by_ref().take(length_max) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    if chars.next().is_some() {
        shown.push('…');
    }
    Cow::Owned(shown)
}

/// A JSON answer, not to be stored by anyone.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    json_of(status, encode(body))
}

fn encode(body: &impl Serialize) -> Bytes {
    // Serialising our own shapes into memory cannot fail; if it did, the status still tells.
    serde_json::to_vec(body).unwrap_or_default().into()
}

fn json_of(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L-01.
    #[test]
    fn what_would_not_show_itself_is_escaped() {
        let hidden = "a\nb\r\u{1b}[31m\u{202e}c\u{2028}d\u{2029}\u{2066}\u{feff}\u{200b}\0\u{85}";
        let shown = legible(hidden, 1000);
        assert!(shown.chars().all(|c| matches!(c, ' '..='~')), "{shown}");
        assert_eq!(legible("`é` \"x\" 'y' \\ 漢", 100), "`é` \"x\" 'y' \\ 漢");
    }

    #[test]
    fn body_of_an_error_is_the_same_json_however_it_is_written() {
        let id = RequestId::new(7);
        for message in ["plain", "a \"quoted\" \\ thing", "é"] {
            let body = error_body("route_not_allowed", message, id);
            let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let text = with_page(message, "route_not_allowed");
            let expected =
                ErrorBody { message: &text, code: "route_not_allowed", request_id: id.as_str() };
            assert_eq!(read, serde_json::to_value(&expected).unwrap());
            assert_eq!(body, serde_json::to_vec(&expected).unwrap());
        }
    }

    #[test]
    fn secrets_go_before_the_text_is_cut() {
        assert_eq!(legible("x ck-let-abcdefgh y", 5), "x … y");
        assert_eq!(legible(&"x".repeat(10), 4), "xxxx…");
        assert_eq!(legible("xxxx", 4), "xxxx");
    }
}
