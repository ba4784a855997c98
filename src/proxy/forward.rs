//! Step 4: uses up the permit. The upstream's request is built from it, and from a short list of the
//! caller's headers.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http_body_util::BodyExt as _;

use super::body::{BodyProblem, MeteredBody};
use super::core::Core;
use super::identify::KnownAccount;
use super::reject::Refusal;
use super::reply::wanted;
use crate::answer::{RequestId, X_REQUEST_ID};
use crate::policy::{Permit, PermittedBody};
use crate::server::RequestBody;
use crate::upstream::{AnswerBody, Failure, OutgoingBody, OutgoingRequest, UpstreamError};

/// Selects the acting user upstream. Written with an underscore, and so by nobody but the gate.
pub(super) const USER_ID: HeaderName = HeaderName::from_static("user_id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const SDK_VERSION: HeaderName = HeaderName::from_static("x-stainless-package-version");
/// For callers that are no SDK: the upstream refuses `streaming: true` without it, and shows
/// secrets to callers that do not look like an SDK of this generation.
pub(super) const SDK_VERSION_STAND_IN: HeaderValue = HeaderValue::from_static("1.12.1");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Longest header value that is passed on.
const VALUE_LENGTH_MAX: usize = 1024;

/// Sends a permitted request and returns the upstream's answer, with the headers that are relayed.
pub(super) async fn forward(
    core: &Core,
    permit: Permit<'_>,
    account: &KnownAccount,
    client_headers: &HeaderMap,
    unread: Option<RequestBody>,
    request_id: RequestId,
) -> Result<http::Response<AnswerBody>, Refusal> {
    let request = build(core, &permit, account, client_headers, unread, request_id)?;
    drop(permit);
    core.upstream.send(request, wanted).await.map_err(|error| match error {
        // What the caller did wrong is not the upstream's failure.
        UpstreamError { failure: Failure::CallersBody(problem), may_have_been_sent } => {
            match problem.downcast::<BodyProblem>() {
                Ok(problem) => Refusal::Body(*problem),
                Err(problem) => Refusal::Upstream(UpstreamError {
                    failure: Failure::CallersBody(problem),
                    may_have_been_sent,
                }),
            }
        }
        error => Refusal::Upstream(error),
    })
}

fn build(
    core: &Core,
    permit: &Permit<'_>,
    account: &KnownAccount,
    client_headers: &HeaderMap,
    unread: Option<RequestBody>,
    request_id: RequestId,
) -> Result<OutgoingRequest, Refusal> {
    let (body, content_type) = match (permit.body(), unread) {
        (PermittedBody::Nothing, _) | (PermittedBody::Unread, None) => {
            (OutgoingBody::Nothing, None)
        }
        (PermittedBody::Inspected(bytes), _) => (OutgoingBody::Whole(bytes.clone()), Some(JSON)),
        (PermittedBody::Unread, Some(incoming)) => {
            let body = MeteredBody::new(incoming, core.gate.rules.streamed_body);
            let body = body.map_err(Refusal::Body)?.map_err(Into::into);
            (
                OutgoingBody::Streamed(Box::pin(body)),
                sendable(client_headers, &CONTENT_TYPE).cloned(),
            )
        }
    };
    let unsendable = |_| Refusal::malformed("the request cannot be sent on");
    let authority = core.upstream.authority();
    let request = OutgoingRequest::new(permit.method(), permit.target(), authority, body);
    let mut request = request.map_err(unsendable)?;
    for (name, value) in forwarded(client_headers) {
        request.header(name, value.as_bytes()).map_err(unsendable)?;
    }
    request.lines(&account.lines);
    let mut put = |name: &HeaderName, value: &[u8]| request.header(name, value);
    own_headers(client_headers, content_type.as_ref(), request_id, &mut put).map_err(unsendable)?;
    Ok(request)
}

/// Hands on the headers that the upstream's request has of the gate itself, beside those of the
/// account.
pub(super) fn own_headers<E>(
    client_headers: &HeaderMap,
    content_type: Option<&HeaderValue>,
    request_id: RequestId,
    put: &mut impl FnMut(&HeaderName, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    if !client_headers.keys().any(|name| is_sdk(name.as_str())) {
        put(&SDK_VERSION, SDK_VERSION_STAND_IN.as_bytes())?;
    }
    if let Some(content_type) = content_type {
        put(&CONTENT_TYPE, content_type.as_bytes())?;
    }
    put(&X_REQUEST_ID, request_id.as_bytes())?;
    put(&TRACEPARENT, &request_id.traceparent())
}

/// Whether a client's header of this (lower-case) name is passed on. A body's type is passed on only
/// where the body is not inspected.
pub(super) fn is_forwarded(name: &str) -> bool {
    matches!(name, "accept" | "accept-language" | "user-agent" | "content-type") || is_sdk(name)
}

/// What the SDKs say of themselves. A name with `_` or another rare character is none of theirs: some
/// servers read it as one with `-`.
fn is_sdk(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (name.starts_with("x-stainless-") || name.starts_with("x-fern-")) && name.bytes().all(plain)
}

/// The caller's headers that are passed on.
pub(super) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let named = |name: &&HeaderName| {
        matches!(**name, ACCEPT | ACCEPT_LANGUAGE | USER_AGENT) || is_sdk(name.as_str())
    };
    headers.keys().filter(named).filter_map(|name| Some((name, sendable(headers, name)?)))
}

/// The value of a header that comes once, in plain ASCII; any other is left behind.
fn sendable<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    // Without an early end, the compiler looks at many bytes at once.
    let odd = |byte: u8| !matches!(byte, 0x20..=0x7e);
    let any_odd = value.as_bytes().iter().fold(false, |any, byte| any | odd(*byte));
    (!any_odd && value.len() <= VALUE_LENGTH_MAX).then_some(value)
}
