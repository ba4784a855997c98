//! What each kind of proxy tells, and what it understands of an answer.

use ::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use ::http::request::Parts;
use ::http::{HeaderMap, Method, Response, StatusCode};
use bytes::Bytes;

use super::question::{Told, part};
use crate::answer;
use crate::proxy::{AskingProxy, GivenBody, Judgement, Permitted};

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
const ENVOY_PARTIAL: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");

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

    /// What the proxy does with the target it is told.
    pub(super) fn asking(self) -> AskingProxy {
        match self {
            Self::Nginx | Self::Haproxy | Self::Caddy => AskingProxy::RewritesTarget,
            Self::Traefik | Self::Envoy | Self::EnvoyWithBody => AskingProxy::KeepsTarget,
        }
    }

    /// Whether the proxy's own question has the caller's body.
    pub(super) fn gives_body(self) -> bool {
        self == Self::EnvoyWithBody
    }

    /// The request that is asked about. `rest` is the target behind the face's own path.
    pub(super) fn read(self, asked: &Parts, rest: &str, body: Bytes) -> Result<Told, Unasked> {
        let headers = &asked.headers;
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
                Some(partial) if partial == "false" => GivenBody::Whole(body),
                _ => return Err(Unasked::PartialBody),
            },
            // An Envoy that was not told to give the body looks just like this.
            _ => body_said(headers, &method)?,
        };
        let (headers, set_aside) = part(headers.iter().map(|(name, value)| {
            let name = Bytes::copy_from_slice(name.as_str().as_bytes());
            (name, Bytes::copy_from_slice(value.as_bytes()))
        }));
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

fn only(headers: &HeaderMap, name: &'static str) -> Result<Bytes, Unasked> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(Bytes::copy_from_slice(value.as_bytes())),
        _ => Err(Unasked::Header(name)),
    }
}

/// What the peer says of a body it does not give. The methods whose body means nothing need no word.
fn body_said(headers: &HeaderMap, method: &[u8]) -> Result<GivenBody, Unasked> {
    let has_none = [Method::GET, Method::HEAD, Method::OPTIONS]
        .iter()
        .any(|without| without.as_str().as_bytes() == method);
    if !headers.contains_key("x-original-body") {
        return Ok(if has_none { GivenBody::Absent } else { GivenBody::Unsaid });
    }
    match &*only(headers, "x-original-body")? {
        b"none" => Ok(GivenBody::Absent),
        b"present" => Ok(GivenBody::Withheld),
        _ => Err(Unasked::Body),
    }
}

fn permit(permitted: Permitted) -> Response<Bytes> {
    let Permitted { target, set, drop, answer: headers } = permitted;
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
    out.extend(set.into_iter().map(|(name, value)| (Some(name), value)));
    response
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
