//! Cross-origin answers (Fetch, CORS protocol). Preflights are answered here and never forwarded.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use jiff::Timestamp;

use super::core::Gate;
use super::forward::is_forwarded;
use super::intake::Received;
use super::reject::Refusal;
use crate::answer;
use crate::config::Preflight;
use crate::policy::{OriginHeader, WebOrigin};

/// The answer to a preflight.
pub(super) async fn answer_preflight(
    gate: &Gate,
    head: &Parts,
    received: &Received<'_>,
    now: Timestamp,
) -> Result<Response<Bytes>, Refusal> {
    let OriginHeader::Web(origin) = received.asked.whence.origin else {
        return Err(Refusal::PreflightRefused);
    };
    let granted = match gate.rules.preflight {
        Preflight::Any => true,
        Preflight::LiveOrigins => {
            gate.origins.is_bound(&origin, now).await.map_err(Refusal::StoreUnavailable)?
        }
    };
    if !granted {
        return Err(Refusal::PreflightRefused);
    }
    let mut response = answer::empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    let methods: Vec<String> =
        gate.routes.methods_at(&received.asked.path).iter().map(ToString::to_string).collect();
    insert_list(headers, ACCESS_CONTROL_ALLOW_METHODS, &methods);
    insert_list(headers, ACCESS_CONTROL_ALLOW_HEADERS, &admitted_headers(&head.headers));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    allow_origin(headers, &head.headers);
    Ok(response)
}

/// Of the headers the browser asks for, those that a client may send. `x-project` is sent by the
/// SDKs and dropped here; a preflight that refused it would refuse them.
fn admitted_headers(asked: &HeaderMap) -> Vec<String> {
    let names = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|names| names.to_str().ok());
    let admitted = |name: &str| {
        is_forwarded(name) || matches!(name, "authorization" | "x-project" | "x-project-id")
    };
    names
        .unwrap_or_default()
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| admitted(name))
        .collect()
}

fn insert_list(headers: &mut HeaderMap, name: http::HeaderName, items: &[String]) {
    if let (false, Ok(value)) = (items.is_empty(), HeaderValue::from_str(&items.join(", "))) {
        headers.insert(name, value);
    }
}

/// Lets pages of the request's own origin read the answer.
pub(super) fn allow_origin(answer: &mut HeaderMap, request: &HeaderMap) {
    if let Some(origin) = request.get(ORIGIN) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        answer.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("x-request-id, retry-after, x-should-retry"),
        );
    }
}

/// Every answer depends on the origin, also one to a request without.
pub(super) fn vary(answer: &mut HeaderMap) {
    answer.insert(VARY, HeaderValue::from_static("Origin"));
}

/// Whether a request that was refused before its token was known comes from an origin that lately
/// passed a preflight: then its page may read why.
pub(super) async fn was_preflighted(gate: &Gate, origin: &WebOrigin<'_>) -> bool {
    match gate.rules.preflight {
        Preflight::Any => true,
        Preflight::LiveOrigins => gate.origins.was_bound(origin).await,
    }
}
