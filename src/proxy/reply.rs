//! Step 5: what of the upstream's answer reaches the caller.

use http::Response;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, EXPIRES, HeaderName, HeaderValue, LAST_MODIFIED,
    LOCATION, RETRY_AFTER,
};
use http_body_util::{BodyExt as _, Limited};

use super::reject::Refusal;
use super::relay::ReplyBody;
use crate::answer::X_SHOULD_RETRY;
use crate::policy;
use crate::upstream::AnswerBody;

/// The answer's header of this (lower-case) name, if it is looked at: those that are relayed, and
/// where a redirection leads. Everything else stays behind: hop-by-hop headers, cookies, other CORS
/// headers, and whatever names the upstream or changes how a browser treats the gate's own origin.
pub(super) fn wanted(name: &[u8]) -> Option<HeaderName> {
    const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
    const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
    Some(match name {
        b"age" => AGE,
        b"cache-control" => CACHE_CONTROL,
        b"content-disposition" => CONTENT_DISPOSITION,
        b"content-encoding" => CONTENT_ENCODING,
        b"content-language" => CONTENT_LANGUAGE,
        b"content-length" => CONTENT_LENGTH,
        b"content-range" => CONTENT_RANGE,
        b"content-type" => CONTENT_TYPE,
        b"date" => DATE,
        b"etag" => ETAG,
        b"expires" => EXPIRES,
        b"last-modified" => LAST_MODIFIED,
        b"location" => LOCATION,
        b"retry-after" => RETRY_AFTER,
        b"retry-after-ms" => RETRY_AFTER_MS,
        b"x-accel-buffering" => X_ACCEL_BUFFERING,
        b"x-should-retry" => X_SHOULD_RETRY,
        name if name.starts_with(b"x-letta-") => name.try_into().ok()?,
        _ => return None,
    })
}

/// Decides whether an answer may be relayed. A redirection is never relayed to a client token; to a
/// server key it is, when it stays on the upstream, as a relative one.
pub(super) fn admit(
    answer: &mut Response<AnswerBody>,
    to_client_token: bool,
    authority: &HeaderValue,
) -> Result<(), Refusal> {
    let is_redirection = answer.status().is_redirection();
    let headers = answer.headers_mut();
    let location = headers.remove(LOCATION);
    if is_redirection {
        if to_client_token {
            return Err(Refusal::Answer("the upstream answered with a redirection"));
        }
        let relative = location.as_ref().and_then(|location| make_relative(location, authority));
        headers.extend(relative.map(|relative| (LOCATION, relative)));
    }
    // Which of two types counts would be for each reader to decide.
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Err(Refusal::Answer("the upstream's answer has two content types"));
    }
    // What the upstream speaks is not what the gate speaks.
    *answer.version_mut() = http::Version::HTTP_11;
    Ok(())
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
