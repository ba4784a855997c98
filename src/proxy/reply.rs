//! Step 5: what of the upstream's answer reaches the caller.

use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use http_body_util::{BodyExt as _, Limited};

use super::reject::Refusal;
use super::relay::ReplyBody;
use crate::policy;
use crate::upstream::AnswerBody;

/// The headers of an answer that are relayed, beside those that begin with one of [`PREFIXES`].
/// Everything else stays behind: hop-by-hop headers, cookies, other CORS headers, and whatever names
/// the upstream or changes how a browser treats the gate's own origin.
const PREFIXES: [&str; 1] = ["x-letta-"];

fn is_relayed(name: &str) -> bool {
    matches!(
        name,
        "age"
            | "cache-control"
            | "content-disposition"
            | "content-encoding"
            | "content-language"
            | "content-length"
            | "content-range"
            | "content-type"
            | "date"
            | "etag"
            | "expires"
            | "last-modified"
            | "retry-after"
            | "retry-after-ms"
            | "x-accel-buffering"
            | "x-should-retry"
    )
}

/// Whether an answer's header of this (lower-case) name is looked at: those that are relayed, and
/// where a redirection leads.
pub(super) fn is_wanted(name: &str) -> bool {
    is_relayed(name) || name == "location" || PREFIXES.iter().any(|p| name.starts_with(p))
}

/// Decides whether an answer may be relayed. A redirection is never relayed to a client token; to a
/// server key it is, when it stays on the upstream, as a relative one.
pub(super) fn admit(
    answer: Response<AnswerBody>,
    to_client_token: bool,
    authority: &HeaderValue,
) -> Result<Response<AnswerBody>, Refusal> {
    let (mut parts, body) = answer.into_parts();
    let location = parts.headers.remove(LOCATION);
    if parts.status.is_redirection() {
        if to_client_token {
            return Err(Refusal::Answer("the upstream answered with a redirection"));
        }
        let relative = location.as_ref().and_then(|location| make_relative(location, authority));
        parts.headers.extend(relative.map(|relative| (LOCATION, relative)));
    }
    // Which of two types counts would be for each reader to decide.
    if parts.headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Err(Refusal::Answer("the upstream's answer has two content types"));
    }
    // What the upstream speaks is not what the gate speaks.
    parts.version = http::Version::HTTP_11;
    Ok(Response::from_parts(parts, body))
}

/// Whether this is the media type of JSON in UTF-8 (RFC 8259 §8.1), in the letter case the upstream has.
fn is_json(content_type: &[u8]) -> bool {
    let mut parts = content_type.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    parts.next() == Some(b"application/json")
        && parts.all(|parameter| parameter.eq_ignore_ascii_case(b"charset=utf-8"))
}

/// The path and query of a location on the upstream itself.
fn make_relative(location: &HeaderValue, authority: &HeaderValue) -> Option<HeaderValue> {
    let location = location.to_str().ok()?;
    let rest = location.strip_prefix("http://").or_else(|| location.strip_prefix("https://"))?;
    let rest = rest.strip_prefix(authority.to_str().ok()?)?;
    // `//host` would be another authority again.
    if rest.starts_with('/') && !rest.starts_with("//") {
        HeaderValue::from_str(rest).ok()
    } else {
        None
    }
}

/// The answer without the fields of these names. What cannot be read whole is not relayed.
pub(super) async fn redact(
    answer: Response<AnswerBody>,
    names: &[Box<str>],
    bytes_max: usize,
) -> Result<Response<ReplyBody>, Refusal> {
    let (mut parts, body) = answer.into_parts();
    let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !content_type.is_some_and(is_json) || parts.headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::Answer("the upstream's answer is not plain JSON and was not relayed"));
    }
    let whole = Limited::new(body, bytes_max).collect().await.map_err(|_| {
        Refusal::Answer("the upstream's answer broke off, or is too large to be relayed")
    })?;
    let whole = whole.to_bytes();
    if whole.is_empty() {
        // In the answer to a HEAD: the length with what is removed.
        parts.headers.remove(CONTENT_LENGTH);
        return Ok(Response::from_parts(parts, ReplyBody::whole(whole)));
    }
    let redacted = policy::redact(&whole, names)
        .map_err(|_| Refusal::Answer("the upstream's answer cannot be read and was not relayed"))?;
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(redacted.len()));
    Ok(Response::from_parts(parts, ReplyBody::whole(redacted.into())))
}
