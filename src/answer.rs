//! Answers of the gate's own: JSON bodies, and the one shape of every error.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, Response, StatusCode};
use serde::Serialize;

/// The header that carries a [`RequestId`], to the upstream and back to the caller.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Tells Letta's SDKs whether to send a request again (they retry 408, 409, 429 and 5xx).
pub const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Names one request in answers, logs and upstream. Made here, never taken from a caller. Also the
/// W3C trace id of the gate's own trace, so it is never zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestId(u128);

impl RequestId {
    /// The id with this value.
    #[must_use]
    pub const fn new(value: u128) -> Self {
        Self(value | 1 << 127)
    }

    /// The header value: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn header_value(self) -> HeaderValue {
        HeaderValue::from_maybe_shared(Bytes::from(self.to_string()))
            .unwrap_or_else(|_| HeaderValue::from_static("invalid"))
    }

    /// The `traceparent` of the upstream request (W3C Trace Context, version 00, not sampled).
    #[must_use]
    pub fn traceparent(self) -> HeaderValue {
        let span = self.0 & 0xffff_ffff_ffff_ffff | 1 << 63;
        HeaderValue::from_maybe_shared(Bytes::from(format!("00-{self}-{span:016x}-00")))
            .unwrap_or_else(|_| HeaderValue::from_static("invalid"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    code: &'a str,
    request_id: String,
}

/// An error: `{"message","code","request_id"}`. `message` tells the developer what to change.
#[must_use]
pub fn error(
    status: StatusCode,
    code: &str,
    message: &str,
    request_id: RequestId,
) -> Response<Bytes> {
    let message = &*without_secrets(message);
    json(status, &ErrorBody { message, code, request_id: request_id.to_string() })
}

/// A text in which a caller's own words may stand, without the tokens and keys among them: people
/// paste them into paths, queries and fields.
#[must_use]
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    const PREFIXES: [&str; 2] = ["ck-let-", "sk-let-"];
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

/// A JSON answer, not to be stored by anyone.
#[must_use]
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    // Serialising our own shapes into memory cannot fail; if it did, the status still tells.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
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
