//! Step 4: uses up the permit. The upstream's request is built from it, and from a short list of the
//! caller's headers.

use http_body_util::BodyExt as _;

use super::body::{BodyProblem, MeteredBody};
use super::core::Core;
use super::identify::KnownAccount;
use super::reject::Refusal;
use crate::answer::RequestId;
use crate::message::Fields;
use crate::message::names::{CONTENT_TYPE, X_REQUEST_ID};
use crate::policy::{Permit, PermittedBody};
use crate::scan;
use crate::server::RequestBody;
use crate::upstream::{Failure, OutgoingBody, OutgoingRequest, UpstreamError};

/// Selects the acting user upstream. Written with an underscore, and so by nobody but the gate.
pub(super) const USER_ID: &str = "user_id";
const TRACEPARENT: &str = "traceparent";
pub(super) const SDK_VERSION: &str = "x-stainless-package-version";
/// For callers that are no SDK: the upstream refuses `streaming: true` without it, and shows
/// secrets to callers that do not look like an SDK of this generation.
pub(super) const SDK_VERSION_STAND_IN: &str = "1.12.1";
pub(super) const JSON: &str = "application/json";
/// Longest header value that is passed on.
const VALUE_LENGTH_MAX: usize = 1024;

/// What became of a permitted request that got no answer.
pub(super) fn refusal(error: UpstreamError) -> Refusal {
    match error {
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
    }
}

/// The request that a permitted one becomes.
pub(super) fn build(
    core: &Core,
    permit: Permit<'_>,
    account: &KnownAccount,
    client_fields: &Fields,
    unread: Option<RequestBody>,
    request_id: RequestId,
) -> Result<OutgoingRequest, Refusal> {
    let (method, target, body) = permit.into_parts();
    let (body, content_type) = match (body, unread) {
        (PermittedBody::Nothing, _) | (PermittedBody::Unread, None) => {
            (OutgoingBody::Nothing, None)
        }
        (PermittedBody::Inspected(bytes), _) => (OutgoingBody::Whole(bytes), Some(JSON.as_bytes())),
        (PermittedBody::Unread, Some(incoming)) => {
            let body = MeteredBody::new(incoming, core.gate.rules.streamed_body);
            let body = body.map_err(Refusal::Body)?.map_err(Into::into);
            (OutgoingBody::Streamed(Box::pin(body)), sendable(client_fields, CONTENT_TYPE))
        }
    };
    let unsendable = |_| Refusal::malformed("the request cannot be sent on");
    let authority = core.upstream.authority();
    let request = OutgoingRequest::new(&method, &target, authority, body);
    let mut request = request.map_err(unsendable)?;
    let mut is_of_an_sdk = false;
    for (name, value) in forwarded(client_fields) {
        is_of_an_sdk |= is_sdk(name);
        request.header(name, value).map_err(unsendable)?;
    }
    request.lines(&account.lines);
    let mut put = |name: &'static str, value: &[u8]| request.own_header(name, value);
    own_fields(is_of_an_sdk, content_type, request_id, &mut put).map_err(unsendable)?;
    Ok(request)
}

/// Hands on the fields that the upstream's request has of the gate itself, beside those of the
/// account.
pub(super) fn own_fields<E>(
    is_of_an_sdk: bool,
    content_type: Option<&[u8]>,
    request_id: RequestId,
    put: &mut impl FnMut(&'static str, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    if !is_of_an_sdk {
        put(SDK_VERSION, SDK_VERSION_STAND_IN.as_bytes())?;
    }
    if let Some(content_type) = content_type {
        put(CONTENT_TYPE, content_type)?;
    }
    put(X_REQUEST_ID, request_id.as_bytes())?;
    put(TRACEPARENT, &request_id.traceparent())
}

/// Whether a client's field of this (lower-case) name is passed on. A body's type is passed on only
/// where the body is not inspected.
pub(super) fn is_forwarded(name: &[u8]) -> bool {
    matches!(name, b"accept" | b"accept-language" | b"user-agent" | b"content-type") || is_sdk(name)
}

/// What the SDKs say of themselves. A name with `_` or another rare character is none of theirs: some
/// servers read it as one with `-`.
pub(super) fn is_sdk(name: &[u8]) -> bool {
    (name.starts_with(b"x-stainless-") || name.starts_with(b"x-fern-"))
        && scan::is_within(name, [(b'a', b'z'), (b'0', b'9'), (b'-', b'-')])
}

/// The caller's fields that are passed on: names and values.
pub(super) fn forwarded(fields: &Fields) -> impl Iterator<Item = (&[u8], &[u8])> {
    let is_named = |name: &[u8]| {
        matches!(name, b"accept" | b"accept-language" | b"user-agent") || is_sdk(name)
    };
    let named = fields.iter().filter(move |(name, _)| is_named(name));
    // One that comes twice is left behind.
    named.filter(|(name, value)| {
        is_sendable(value) && fields.iter().filter(|(other, _)| other == name).count() == 1
    })
}

/// The value of a field that comes once, in plain ASCII; any other is left behind.
fn sendable<'f>(fields: &'f Fields, name: &'f str) -> Option<&'f [u8]> {
    fields.only(name).ok().flatten().filter(|value| is_sendable(value))
}

fn is_sendable(value: &[u8]) -> bool {
    value.len() <= VALUE_LENGTH_MAX && scan::is_within(value, [(b' ', b'~')])
}
