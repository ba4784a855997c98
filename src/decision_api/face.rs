//! What each kind of proxy tells, and what it understands of an answer.

use std::time::Duration;

use ::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use ::http::{Method, Response, StatusCode};
use bytes::Bytes;

use super::question::{Told, is_told_between_proxies, is_traefiks_own, part};
use crate::answer;
use crate::message::{Fields, Head};
use crate::proxy::{
    AskingProxy, GivenBody, HeadersRemoved, Judgement, Permitted, StreamsHere, TargetSent,
};

/// The rebuilt target of a permitted request.
const TARGET: HeaderName = HeaderName::from_static("x-ckgate-target");
/// The caller's headers that must not go on.
const DROP: HeaderName = HeaderName::from_static("x-ckgate-drop");
/// The status that the caller should get.
const STATUS: HeaderName = HeaderName::from_static("x-ckgate-status");
/// The body that the caller should get.
const BODY: HeaderName = HeaderName::from_static("x-ckgate-body");
/// The same as [`DROP`], in the word of Envoy.
const ENVOY_DROP: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");
/// Whether Envoy gave only the beginning of the body.
const ENVOY_PARTIAL: &str = "x-envoy-auth-partial-body";

/// How long Envoy's upstream may take, in milliseconds; Envoy keeps it to itself.
pub(super) const ENVOY_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-rq-timeout-ms");
/// The headers that `config/edges/traefik-routes.yaml` takes out of each request: Traefik takes out no
/// others, whatever it is told.
const REMOVED_BY_TRAEFIK: &[&str] = &[
    "accept-encoding",
    "cache-control",
    "content-type",
    "cookie",
    "dnt",
    "origin",
    "pragma",
    "priority",
    "referer",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-gpc",
];

/// A kind of proxy that asks over HTTP, by the path it asks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    /// nginx `auth_request`, at `/nginx`.
    Nginx,
    /// `HAProxy`, through its Lua HTTP client, at `/haproxy`.
    Haproxy,
    /// Caddy `forward_auth`, at `/caddy`.
    Caddy,
    /// Traefik `ForwardAuth`, at `/traefik`.
    Traefik,
    /// Envoy `ext_authz`, at `/envoy` before the request's own path.
    Envoy,
    /// The same, `with_request_body`, at `/envoy-with-body`.
    EnvoyWithBody,
}

/// Why a peer's question cannot be read; for the operator who wrote the peer's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unasked {
    #[error(
        "this path is none of /nginx, /haproxy, /caddy, /traefik, /envoy/… and /envoy-with-body/…"
    )]
    Path,
    #[error("the header `{0}` must be there exactly once")]
    Header(&'static str),
    #[error("the header `x-original-body` must be `none` or `present`")]
    Body,
    #[error(
        "the whole body must be given: raise `max_request_bytes`, do not allow partial messages"
    )]
    PartialBody,
}

impl Face {
    /// The face at this path, and what is left of the target for those that put theirs behind it.
    pub(super) fn at(target: &str) -> Result<(Self, &str), Unasked> {
        let path = target.split('?').next().unwrap_or_default();
        match path {
            "/nginx" => return Ok((Self::Nginx, "")),
            "/haproxy" => return Ok((Self::Haproxy, "")),
            "/caddy" => return Ok((Self::Caddy, "")),
            "/traefik" => return Ok((Self::Traefik, "")),
            _ => {}
        }
        for (prefix, face) in [("/envoy-with-body", Self::EnvoyWithBody), ("/envoy", Self::Envoy)] {
            if let Some(rest) = target.strip_prefix(prefix)
                && rest.starts_with('/')
            {
                return Ok((face, rest));
            }
        }
        Err(Unasked::Path)
    }

    /// What the proxy can do with an answer.
    pub(super) fn asking(self, streams: StreamsHere) -> AskingProxy {
        let target = match self {
            Self::Nginx | Self::Haproxy | Self::Caddy => TargetSent::AsTold,
            Self::Traefik | Self::Envoy | Self::EnvoyWithBody => TargetSent::AsReceived,
        };
        let removes = match self {
            Self::Traefik => HeadersRemoved::Only(REMOVED_BY_TRAEFIK),
            _ => HeadersRemoved::AsTold,
        };
        AskingProxy { target, removes, streams }
    }

    /// Whether the proxy's own question has the caller's body.
    pub(super) fn gives_body(self) -> bool {
        self == Self::EnvoyWithBody
    }

    /// The request that is asked about. `rest` is the target behind the face's own path.
    pub(super) fn read(self, asked: &Head, rest: &str, body: Bytes) -> Result<Told, Unasked> {
        let headers = asked.fields();
        let (method, target, host) = match self {
            Self::Nginx | Self::Haproxy => (
                only(headers, "x-original-method")?,
                only(headers, "x-original-uri")?,
                only(headers, "x-original-host")?,
            ),
            Self::Caddy | Self::Traefik => (
                only(headers, "x-forwarded-method")?,
                only(headers, "x-forwarded-uri")?,
                only(headers, "x-forwarded-host")?,
            ),
            Self::Envoy | Self::EnvoyWithBody => (
                Bytes::copy_from_slice(asked.method.as_str().as_bytes()),
                Bytes::copy_from_slice(rest.as_bytes()),
                only(headers, "host")?,
            ),
        };
        let body = match self {
            Self::EnvoyWithBody if !body.is_empty() => match headers.get(ENVOY_PARTIAL) {
                Some(b"false") => GivenBody::Whole(body),
                _ => return Err(Unasked::PartialBody),
            },
            // An Envoy that was not told to give the body looks just like this. Where the proxy does
            // not set the header, it is the caller's own.
            Self::Envoy | Self::EnvoyWithBody | Self::Traefik => body_unsaid(&method),
            Self::Nginx | Self::Haproxy | Self::Caddy => body_said(headers, &method)?,
        };
        let between = match self {
            Self::Traefik => is_traefiks_own,
            _ => is_told_between_proxies,
        };
        let headers = headers
            .iter()
            .map(|(name, value)| (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
        let (headers, set_aside) = part(headers, between);
        Ok(Told { method, target, host, headers, body, set_aside })
    }

    /// The answer, in the form that the proxy understands.
    pub(super) fn answer(self, judgement: Judgement) -> Response<Bytes> {
        match (judgement, self) {
            (Judgement::Permit(permitted), _) => permit(permitted),
            (Judgement::Answer(answer), Self::Nginx) => for_nginx(answer),
            // Traefik would take a preflight's 204 for a permission.
            (Judgement::Answer(mut answer), Self::Traefik) if answer.status().is_success() => {
                *answer.status_mut() = StatusCode::FORBIDDEN;
                answer
            }
            (Judgement::Answer(answer), _) => answer,
        }
    }
}

fn only(headers: &Fields, name: &'static str) -> Result<Bytes, Unasked> {
    let value = headers.only(name).ok().flatten().ok_or(Unasked::Header(name))?;
    Ok(Bytes::copy_from_slice(value))
}

/// What is known of a body on which the peer has no word: the methods whose body means nothing need
/// none.
fn body_unsaid(method: &[u8]) -> GivenBody {
    let has_none = [Method::GET, Method::HEAD, Method::OPTIONS]
        .iter()
        .any(|without| without.as_str().as_bytes() == method);
    if has_none { GivenBody::Absent } else { GivenBody::Unsaid }
}

/// What the peer says of a body it does not give.
fn body_said(headers: &Fields, method: &[u8]) -> Result<GivenBody, Unasked> {
    if !headers.contains("x-original-body") {
        return Ok(body_unsaid(method));
    }
    match &*only(headers, "x-original-body")? {
        b"none" => Ok(GivenBody::Absent),
        b"present" => Ok(GivenBody::Withheld),
        _ => Err(Unasked::Body),
    }
}

fn permit(permitted: Permitted) -> Response<Bytes> {
    let Permitted { target, set, drop, answer: headers, time } = permitted;
    let mut response = answer::empty(StatusCode::OK);
    let out = response.headers_mut();
    out.extend(headers);
    out.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let drop = drop.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(", ");
    for (name, text) in [(TARGET, target), (DROP, drop.clone()), (ENVOY_DROP, drop)] {
        if let (false, Ok(value)) = (text.is_empty(), HeaderValue::from_str(&text)) {
            out.insert(name, value);
        }
    }
    let time = time.map(|time| (ENVOY_TIME, milliseconds(time)));
    out.extend(set.into_iter().chain(time).map(|(name, value)| (Some(name), value)));
    response
}

/// A time as Envoy reads it. None at all would mean no limit.
pub(super) fn milliseconds(time: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// nginx knows 2xx, 401 and 403 only, and takes the rest from headers.
fn for_nginx(answer: Response<Bytes>) -> Response<Bytes> {
    let (mut parts, body) = answer.into_parts();
    parts.headers.insert(STATUS, HeaderValue::from(parts.status.as_u16()));
    if let Ok(body) = HeaderValue::from_bytes(&body) {
        parts.headers.insert(BODY, body);
    }
    if parts.status != StatusCode::UNAUTHORIZED {
        parts.status = StatusCode::FORBIDDEN;
    }
    parts.headers.remove(::http::header::CONNECTION);
    Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_traefik_is_said_to_take_out_stands_in_its_file() {
        let file = include_str!("../../config/edges/traefik-routes.yaml").to_lowercase();
        let (_, taken_out) = file.split_once("customrequestheaders:").unwrap_or_default();
        let (taken_out, _) = taken_out.split_once("customresponseheaders:").unwrap_or_default();
        for name in REMOVED_BY_TRAEFIK {
            let line = format!("{name}: \"\"");
            assert!(taken_out.lines().any(|found| found.trim() == line), "{name}");
        }
    }
}
