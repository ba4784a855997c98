//! Step 4: uses up the permit. The upstream's request is built from it, and from a short list of the
//! caller's headers.

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT,
};
use http::{HeaderMap, Request, Uri};
use hyper::body::Incoming;

use super::body::MeteredBody;
use super::core::Core;
use super::identify::KnownAccount;
use super::reject::Refusal;
use crate::answer::{RequestId, X_REQUEST_ID};
use crate::policy::{Permit, PermittedBody};
use crate::upstream::{RequestBody, ResponseBody};

/// Selects the acting user upstream. Written with an underscore, and so by nobody but the gate.
const USER_ID: HeaderName = HeaderName::from_static("user_id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const SDK_VERSION: HeaderName = HeaderName::from_static("x-stainless-package-version");
/// For callers that are no SDK: the upstream refuses `streaming: true` without it, and shows
/// secrets to callers that do not look like an SDK of this generation.
const SDK_VERSION_STAND_IN: HeaderValue = HeaderValue::from_static("1.12.1");
/// Longest header value that is passed on.
const VALUE_LENGTH_MAX: usize = 1024;

/// Sends a permitted request and returns the upstream's answer.
pub(super) async fn forward(
    core: &Core,
    permit: Permit<'_>,
    account: &KnownAccount,
    client_headers: &HeaderMap,
    unread: Option<Incoming>,
    request_id: RequestId,
) -> Result<http::Response<ResponseBody>, Refusal> {
    let target = Bytes::copy_from_slice(permit.target().as_bytes());
    let uri = Uri::from_maybe_shared(target)
        .map_err(|_| Refusal::malformed("the request target cannot be sent"))?;
    let mut headers = HeaderMap::with_capacity(16);
    copy_forwarded(client_headers, &mut headers);
    let body = match permit.body() {
        PermittedBody::Nothing => RequestBody::nothing(),
        PermittedBody::Inspected(bytes) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            RequestBody::whole(bytes.clone())
        }
        PermittedBody::Unread => match unread {
            Some(incoming) => {
                copy_one(client_headers, &CONTENT_TYPE, &mut headers);
                let body = MeteredBody::new(incoming, core.gate.rules.streamed_body);
                streamed(body.map_err(Refusal::Body)?)
            }
            None => RequestBody::nothing(),
        },
    };
    headers.extend(account.authorization.clone().map(|value| (AUTHORIZATION, value)));
    headers.extend(account.user_id.clone().map(|value| (USER_ID, value)));
    headers.insert(X_REQUEST_ID, request_id.header_value());
    headers.insert(TRACEPARENT, request_id.traceparent());

    let mut request = Request::new(body);
    *request.method_mut() = permit.method().clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    core.upstream.send(request).await.map_err(Refusal::Upstream)
}

fn streamed(body: MeteredBody) -> RequestBody {
    use http_body_util::BodyExt as _;
    RequestBody::streamed(body.map_err(Into::into))
}

/// Whether a client's header of this (lower-case) name is passed on. A body's type is passed on only
/// where the body is not inspected.
pub(super) fn is_forwarded(name: &str) -> bool {
    matches!(name, "accept" | "accept-language" | "user-agent" | "content-type") || is_sdk(name)
}

fn is_sdk(name: &str) -> bool {
    name.starts_with("x-stainless-") || name.starts_with("x-fern-")
}

fn copy_forwarded(from: &HeaderMap, to: &mut HeaderMap) {
    for name in [&ACCEPT, &ACCEPT_LANGUAGE, &USER_AGENT] {
        copy_one(from, name, to);
    }
    let mut has_sdk = false;
    for name in from.keys().filter(|name| is_sdk(name.as_str())) {
        has_sdk = true;
        copy_one(from, name, to);
    }
    if !has_sdk {
        to.insert(SDK_VERSION, SDK_VERSION_STAND_IN);
    }
}

/// Copies a header that comes once, in plain ASCII; any other is left behind.
fn copy_one(from: &HeaderMap, name: &HeaderName, to: &mut HeaderMap) {
    let mut values = from.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return };
    let plain = value.len() <= VALUE_LENGTH_MAX
        && value.as_bytes().iter().all(|b| matches!(b, 0x20..=0x7e));
    if plain {
        to.insert(name.clone(), value.clone());
    }
}
