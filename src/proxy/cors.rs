//! Cross-origin answers (Fetch, CORS protocol). Preflights are answered here and never forwarded.

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;

use super::core::Gate;
use super::forward::is_forwarded;
use super::intake::Received;
use super::reject::Refusal;
use crate::config::Preflight;
use crate::message::names::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN,
    VARY,
};
use crate::message::{Fields, Head, Reply};
use crate::policy::{OriginHeader, WebOrigin};

/// The answer to a preflight.
pub(super) async fn answer_preflight(
    gate: &Gate,
    head: &Head,
    received: &Received<'_>,
    now: Timestamp,
) -> Result<Reply<Bytes>, Refusal> {
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
    let mut reply = Reply::new(StatusCode::NO_CONTENT, Bytes::new());
    let fields = &mut reply.fields;
    let methods = gate.routes.methods_at(&received.asked.path);
    let methods: Vec<&[u8]> = methods.iter().map(|method| method.as_str().as_bytes()).collect();
    append_list(fields, ACCESS_CONTROL_ALLOW_METHODS, &methods);
    let admitted = admitted_fields(head.fields());
    let admitted: Vec<&[u8]> = admitted.iter().map(Vec::as_slice).collect();
    append_list(fields, ACCESS_CONTROL_ALLOW_HEADERS, &admitted);
    fields.append_fixed(ACCESS_CONTROL_MAX_AGE, "600");
    allow_origin(fields, head.fields());
    Ok(reply)
}

/// Of the fields the browser asks for, those that a client may send. `x-project` is sent by the
/// SDKs and dropped here; a preflight that refused it would refuse them.
fn admitted_fields(asked: &Fields) -> Vec<Vec<u8>> {
    let admitted = |name: &Vec<u8>| {
        is_forwarded(name)
            || matches!(name.as_slice(), b"authorization" | b"x-project" | b"x-project-id")
    };
    let names = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let names =
        names.split(|byte| *byte == b',').map(|name| name.trim_ascii().to_ascii_lowercase());
    names.filter(admitted).collect()
}

fn append_list(fields: &mut Fields, name: &'static str, items: &[&[u8]]) {
    if !items.is_empty() {
        fields.append(name, &items.join(&b", "[..]));
    }
}

/// Lets pages of the request's own origin read the answer.
pub(super) fn allow_origin(answer: &mut Fields, request: &Fields) {
    if let Some(origin) = request.get(ORIGIN) {
        answer.append(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = "x-request-id, retry-after, x-should-retry";
        answer.append_fixed(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// Every answer depends on the origin, also one to a request without.
pub(super) fn vary(answer: &mut Fields) {
    answer.append_fixed(VARY, "Origin");
}

/// Whether a request that was refused before its token was known comes from an origin that lately
/// passed a preflight: then its page may read why.
pub(super) fn was_preflighted(gate: &Gate, origin: &WebOrigin<'_>) -> bool {
    match gate.rules.preflight {
        Preflight::Any => true,
        Preflight::LiveOrigins => gate.origins.was_bound(origin),
    }
}
