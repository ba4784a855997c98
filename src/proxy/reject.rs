//! How refusals and failures of the data path are answered: the only place with their status codes.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;

use super::body::BodyProblem;
use super::owners::OwnerUnknown;
use crate::answer::{self, RequestId};
use crate::cache::{RateLimited, TooManyStreams, Unavailable};
use crate::message::Reply;
use crate::message::names::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_SHOULD_RETRY,
};
use crate::policy::Denial;
use crate::server::Malformed;
use crate::telemetry::Outcome;
use crate::upstream::UpstreamError;

/// Why a request does not get the upstream's answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The head is ambiguous, found before anything looked at the request.
    Head(Malformed),
    /// The head is well framed, and not canonical.
    Malformed(Cow<'static, str>),
    /// The body could not be read whole.
    Body(BodyProblem),
    /// No credential.
    TokenMissing,
    /// A credential that stands for nobody; why, for the operator only.
    TokenInvalid(Cow<'static, str>),
    /// The policy says no.
    Denied(Denial),
    /// More requests a minute than allowed.
    RateLimited(RateLimited),
    /// As many streams as allowed.
    TooManyStreams(TooManyStreams),
    /// We cannot know.
    StoreUnavailable(Unavailable),
    /// We cannot know whose it is.
    OwnerUnavailable(Arc<OwnerUnknown>),
    /// A preflight from an origin that no live token is bound to.
    PreflightRefused,
    /// It cannot be judged without forwarding it; why not.
    ProxyRequired(&'static str),
    /// The upstream gave no answer.
    Upstream(UpstreamError),
    /// The upstream's answer must not be relayed.
    Answer(&'static str),
}

impl Refusal {
    pub(super) fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed(message.into())
    }

    pub(super) fn token_invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::TokenInvalid(detail.into())
    }

    /// The short, stable code of the answer and the log.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Head(Malformed::Misdirected) => "misdirected_request",
            Self::Head(_) | Self::Malformed(_) | Self::Body(_) => "malformed_request",
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid(_) => "token_invalid",
            Self::Denied(denial) => denial.code(),
            Self::RateLimited(_) => "rate_limited",
            Self::TooManyStreams(_) => "too_many_streams",
            Self::StoreUnavailable(_) => "store_unavailable",
            Self::OwnerUnavailable(_) => "owner_unavailable",
            Self::PreflightRefused => "origin_not_allowed",
            Self::ProxyRequired(_) => "proxy_required",
            Self::Upstream(error) if error.failure.is_timeout() => "upstream_timeout",
            Self::Upstream(_) => "upstream_unavailable",
            Self::Answer(_) => "upstream_invalid",
        }
    }

    /// How the request ended, for the metrics.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Upstream(_)
            | Self::Answer(_)
            | Self::StoreUnavailable(_)
            | Self::OwnerUnavailable(_) => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }

    /// More about it, for the operator only.
    pub(super) fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::TokenInvalid(detail) => detail.clone(),
            Self::StoreUnavailable(error) => chain(error).into(),
            Self::OwnerUnavailable(error) => chain(&**error).into(),
            Self::Upstream(error) => chain(&error.failure).into(),
            Self::Body(problem) => chain(problem).into(),
            Self::Head(_)
            | Self::Malformed(_)
            | Self::TokenMissing
            | Self::Denied(_)
            | Self::RateLimited(_)
            | Self::TooManyStreams(_)
            | Self::PreflightRefused
            | Self::ProxyRequired(_)
            | Self::Answer(_) => self.message(),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Head(malformed) => status_of_head(*malformed),
            Self::Malformed(_) | Self::Body(BodyProblem::Broken(_)) => StatusCode::BAD_REQUEST,
            Self::Body(BodyProblem::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyProblem::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::TokenMissing | Self::TokenInvalid(_) => StatusCode::UNAUTHORIZED,
            Self::Denied(denial) => match denial {
                Denial::TokenExpired => StatusCode::UNAUTHORIZED,
                Denial::MalformedBody { .. } => StatusCode::BAD_REQUEST,
                Denial::HostnameMismatch { .. }
                | Denial::RouteNotAllowed { .. }
                | Denial::PermissionDenied { .. }
                | Denial::ParameterNotAllowed { .. } => StatusCode::FORBIDDEN,
            },
            Self::PreflightRefused | Self::ProxyRequired(_) => StatusCode::FORBIDDEN,
            Self::RateLimited(_) | Self::TooManyStreams(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::StoreUnavailable(_) | Self::OwnerUnavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Upstream(error) if error.failure.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
            Self::Upstream(_) | Self::Answer(_) => StatusCode::BAD_GATEWAY,
        }
    }

    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::Head(malformed) => malformed.to_string().into(),
            Self::Malformed(message) => message.clone(),
            Self::Body(problem) => problem.to_string().into(),
            Self::TokenMissing => {
                "send `Authorization: Bearer` with a client token or a server key".into()
            }
            Self::TokenInvalid(_) => {
                "the token is not valid here: it was deleted, mistyped, or made by another gate"
                    .into()
            }
            Self::Denied(denial) => denial.to_string().into(),
            Self::RateLimited(refusal) => refusal.to_string().into(),
            Self::TooManyStreams(refusal) => refusal.to_string().into(),
            Self::StoreUnavailable(_) => {
                "the token cannot be checked now: try again in a moment".into()
            }
            Self::OwnerUnavailable(_) => {
                "whose conversation or run this is cannot be checked now: try again in a moment"
                    .into()
            }
            Self::PreflightRefused => "no live token is bound to this origin".into(),
            Self::ProxyRequired(why) => {
                format!("{why}: send this request through the gate itself").into()
            }
            Self::Upstream(error) => error.to_string().into(),
            Self::Answer(message) => (*message).into(),
        }
    }

    fn challenge(&self) -> Option<Cow<'static, str>> {
        let insufficient = r#"Bearer realm="ckgate", error="insufficient_scope""#;
        Some(match self {
            Self::TokenMissing => r#"Bearer realm="ckgate""#.into(),
            Self::TokenInvalid(_) => {
                r#"Bearer realm="ckgate", error="invalid_token", error_description="not valid here""#
                    .into()
            }
            Self::Denied(Denial::TokenExpired) => {
                r#"Bearer realm="ckgate", error="invalid_token", error_description="expired""#.into()
            }
            Self::Denied(Denial::PermissionDenied { permission, .. }) => {
                format!(r#"{insufficient}, scope="{permission}""#).into()
            }
            Self::Denied(Denial::MalformedBody { .. }) => return None,
            Self::Denied(_) => insufficient.into(),
            _ => return None,
        })
    }

    /// The answer.
    pub(super) fn answer(&self, request_id: RequestId) -> Reply<Bytes> {
        let body = answer::error_body_of(self.code(), self.message(), request_id);
        let mut reply = Reply::new(self.status(), body);
        let fields = &mut reply.fields;
        fields.append_fixed(CONTENT_TYPE, "application/json");
        fields.append_fixed(CACHE_CONTROL, "no-store");
        if let Some(challenge) = self.challenge() {
            fields.append(WWW_AUTHENTICATE, challenge.as_bytes());
        }
        let retry_after = match self {
            Self::RateLimited(limited) => Some(limited.retry_after_seconds),
            Self::TooManyStreams(_) | Self::StoreUnavailable(_) | Self::OwnerUnavailable(_) => {
                Some(1)
            }
            _ => None,
        };
        if let Some(seconds) = retry_after {
            fields.append(RETRY_AFTER, itoa::Buffer::new().format(seconds).as_bytes());
        }
        let may_have_been_sent = match self {
            Self::Upstream(error) => error.may_have_been_sent,
            Self::Answer(_) => true,
            _ => false,
        };
        if may_have_been_sent || matches!(self, Self::Body(BodyProblem::TooSlow)) {
            fields.append_fixed(X_SHOULD_RETRY, "false");
        }
        if matches!(self, Self::Head(_) | Self::Malformed(_) | Self::Body(_)) {
            fields.append_fixed(CONNECTION, "close");
        }
        reply
    }
}

fn status_of_head(malformed: Malformed) -> StatusCode {
    match malformed {
        Malformed::TargetTooLong => StatusCode::URI_TOO_LONG,
        Malformed::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        Malformed::Method => StatusCode::NOT_IMPLEMENTED,
        Malformed::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
        Malformed::Expect => StatusCode::EXPECTATION_FAILED,
        Malformed::Misdirected => StatusCode::MISDIRECTED_REQUEST,
        Malformed::LineEnd
        | Malformed::RequestLine
        | Malformed::Target
        | Malformed::Header
        | Malformed::Host
        | Malformed::ContentLength
        | Malformed::TransferEncoding
        | Malformed::AmbiguousLength
        | Malformed::UnexpectedBody => StatusCode::BAD_REQUEST,
    }
}

/// An error and its causes, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
