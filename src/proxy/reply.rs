//! Step 5: what of the upstream's answer reaches the caller.

use http::HeaderValue;
use http_body_util::{BodyExt as _, Limited};

use super::reject::Refusal;
use super::relay::ReplyBody;
use crate::message::Reply;
use crate::message::names::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use crate::policy;
use crate::upstream::AnswerBody;

/// Whether the answer's field of this (lower-case) name is looked at: those that are relayed, and
/// where a redirection leads. Everything else stays behind: hop-by-hop fields, cookies, other CORS
/// fields, and whatever names the upstream or changes how a browser treats the gate's own origin.
pub(super) fn wanted(name: &[u8]) -> bool {
    match name {
        b"age"
        | b"cache-control"
        | b"content-disposition"
        | b"content-encoding"
        | b"content-language"
        | b"content-length"
        | b"content-range"
        | b"content-type"
        | b"date"
        | b"etag"
        | b"expires"
        | b"last-modified"
        | b"location"
        | b"retry-after"
        | b"retry-after-ms"
        | b"x-accel-buffering"
        | b"x-should-retry" => true,
        name => name.starts_with(b"x-letta-"),
    }
}

/// Decides whether an answer may be relayed. A redirection is never relayed to a client token; to a
/// server key it is, when it stays on the upstream, as a relative one.
pub(super) fn admit(
    answer: &mut Reply<AnswerBody>,
    to_client_token: bool,
    authority: &HeaderValue,
) -> Result<(), Refusal> {
    let fields = &mut answer.fields;
    let location = fields.get(LOCATION).map(|location| make_relative(location, authority));
    if location.is_some() {
        fields.remove(LOCATION);
    }
    if answer.status.is_redirection() {
        if to_client_token {
            return Err(Refusal::Answer("the upstream answered with a redirection"));
        }
        if let Some(relative) = location.flatten() {
            fields.append(LOCATION, &relative);
        }
    }
    // Which of two types counts would be for each reader to decide.
    if fields.only(CONTENT_TYPE).is_err() {
        return Err(Refusal::Answer("the upstream's answer has two content types"));
    }
    Ok(())
}

/// Whether this is the media type of JSON in UTF-8 (RFC 8259 §8.1), in the letter case the upstream has.
fn is_json(content_type: &[u8]) -> bool {
    let mut parts = content_type.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    parts.next() == Some(b"application/json")
        && parts.all(|parameter| parameter.eq_ignore_ascii_case(b"charset=utf-8"))
}

/// The path and query of a location on the upstream itself.
fn make_relative(location: &[u8], authority: &HeaderValue) -> Option<Vec<u8>> {
    let rest = location.strip_prefix(b"http://").or_else(|| location.strip_prefix(b"https://"))?;
    let rest = rest.strip_prefix(authority.as_bytes())?;
    // `//host` would be another authority again; what is not plain ASCII would be read in two ways.
    let is_path = rest.starts_with(b"/") && !rest.starts_with(b"//");
    (is_path && rest.iter().all(u8::is_ascii_graphic)).then(|| rest.to_vec())
}

/// The answer without the fields of these names. What cannot be read whole is not relayed.
pub(super) async fn redact(
    answer: Reply<AnswerBody>,
    names: &[Box<str>],
    bytes_max: usize,
) -> Result<Reply<ReplyBody>, Refusal> {
    let Reply { status, mut fields, body } = answer;
    if !fields.get(CONTENT_TYPE).is_some_and(is_json) || fields.contains(CONTENT_ENCODING) {
        return Err(Refusal::Answer("the upstream's answer is not plain JSON and was not relayed"));
    }
    let whole = Limited::new(body, bytes_max).collect().await.map_err(|_| {
        Refusal::Answer("the upstream's answer broke off, or is too large to be relayed")
    })?;
    let whole = whole.to_bytes();
    // In the answer to a HEAD it is the length with what is removed.
    fields.remove(CONTENT_LENGTH);
    if whole.is_empty() {
        return Ok(Reply { status, fields, body: ReplyBody::whole(whole) });
    }
    let redacted = policy::redact(&whole, names)
        .map_err(|_| Refusal::Answer("the upstream's answer cannot be read and was not relayed"))?;
    fields.append(CONTENT_LENGTH, redacted.len().to_string().as_bytes());
    Ok(Reply { status, fields, body: ReplyBody::whole(redacted.into()) })
}
