//! Step 5: what of the upstream's answer reaches the caller.

use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Limited};

use super::reject::Refusal;
use super::relay::ReplyBody;
use crate::policy;
use crate::upstream::ResponseBody;

/// The headers of an answer that are relayed, beside those that begin with one of [`PREFIXES`].
/// Everything else stays behind: hop-by-hop headers, cookies, other CORS headers, and whatever names
/// the upstream or changes how a browser treats the gate's own origin.
const RELAYED: [HeaderName; 16] = [
    HeaderName::from_static("age"),
    HeaderName::from_static("cache-control"),
    HeaderName::from_static("content-disposition"),
    HeaderName::from_static("content-encoding"),
    HeaderName::from_static("content-language"),
    HeaderName::from_static("content-length"),
    HeaderName::from_static("content-range"),
    HeaderName::from_static("content-type"),
    HeaderName::from_static("date"),
    HeaderName::from_static("etag"),
    HeaderName::from_static("expires"),
    HeaderName::from_static("last-modified"),
    HeaderName::from_static("retry-after"),
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-accel-buffering"),
    HeaderName::from_static("x-should-retry"),
];
const PREFIXES: [&str; 1] = ["x-letta-"];

/// Keeps of an answer what may be relayed. A redirection is never relayed to a client token; to a
/// server key it is, when it stays on the upstream, as a relative one.
pub(super) fn admit(
    answer: Response<ResponseBody>,
    to_client_token: bool,
    authority: &HeaderValue,
) -> Result<Response<ResponseBody>, Refusal> {
    if answer.status().is_informational() {
        return Err(Refusal::Answer("the upstream answered with an interim status"));
    }
    let (mut parts, body) = answer.into_parts();
    let location = parts.headers.remove(LOCATION);
    let mut headers = HeaderMap::with_capacity(8);
    for (name, value) in &parts.headers {
        if is_relayed(name) {
            headers.append(name, value.clone());
        }
    }
    if parts.status.is_redirection() {
        if to_client_token {
            return Err(Refusal::Answer("the upstream answered with a redirection"));
        }
        let relative = location.as_ref().and_then(|location| make_relative(location, authority));
        headers.extend(relative.map(|relative| (LOCATION, relative)));
    }
    parts.headers = headers;
    parts.extensions.clear();
    Ok(Response::from_parts(parts, body))
}

fn is_relayed(name: &HeaderName) -> bool {
    RELAYED.contains(name) || PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))
}

/// The path and query of a location on the upstream itself.
fn make_relative(location: &HeaderValue, authority: &HeaderValue) -> Option<HeaderValue> {
    let location = location.to_str().ok()?;
    let rest = location.strip_prefix("http://")?.strip_prefix(authority.to_str().ok()?)?;
    // `//host` would be another authority again.
    if rest.starts_with('/') && !rest.starts_with("//") {
        HeaderValue::from_str(rest).ok()
    } else {
        None
    }
}

/// The answer without the fields of these names. What cannot be read whole is not relayed.
pub(super) async fn redact(
    answer: Response<ResponseBody>,
    names: &[Box<str>],
    bytes_max: usize,
) -> Result<Response<ReplyBody>, Refusal> {
    let (mut parts, body) = answer.into_parts();
    let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_json = content_type.is_some_and(|value| value.starts_with(b"application/json"));
    if !is_json || parts.headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::Answer("the upstream's answer is not plain JSON and was not relayed"));
    }
    let whole = Limited::new(body, bytes_max).collect().await.map_err(|_| {
        Refusal::Answer("the upstream's answer broke off, or is too large to be relayed")
    })?;
    let redacted = policy::redact(&whole.to_bytes(), names)
        .map_err(|_| Refusal::Answer("the upstream's answer cannot be read and was not relayed"))?;
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(redacted.len()));
    Ok(Response::from_parts(parts, ReplyBody::whole(redacted.into())))
}
