//! How refusals of the token API are answered: the only place with their status codes.

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::answer::{self, RequestId};
use crate::store::StoreError;

/// Why the token API does not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejection {
    /// A field or parameter is wrong.
    #[error("{place}: {problem}")]
    Invalid {
        /// The field or parameter.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The body is larger than it may be, or broke off.
    #[error("the body is larger than {bytes_max} bytes, or broke off")]
    BodyUnreadable {
        /// How large it may be.
        bytes_max: usize,
    },
    /// The body came too slowly.
    #[error("the body came too slowly")]
    BodyTooSlow,
    /// No token of this account.
    #[error("there is no such token")]
    NoSuchToken,
    /// No endpoint here.
    #[error("the token API has POST and GET on the collection and DELETE on a token")]
    NoSuchEndpoint,
    /// No randomness or no key: the gate itself is broken.
    #[error("the token could not be made")]
    Unmintable,
    /// The store could not do it.
    #[error("the store is unavailable: nothing is known to have changed, try again")]
    Store(#[from] StoreError),
}

impl Rejection {
    pub(super) fn invalid(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { place: place.into(), problem: problem.into() }
    }

    const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::BodyUnreadable { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "invalid_request"),
            Self::NoSuchToken => (StatusCode::NOT_FOUND, "token_not_found"),
            Self::NoSuchEndpoint => (StatusCode::NOT_FOUND, "not_found"),
            Self::Unmintable => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
            Self::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
        }
    }

    pub(super) fn answer(&self, request_id: RequestId) -> Response<Bytes> {
        let (status, code) = self.status_and_code();
        if let Self::Store(error) = self {
            let source = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(request.id = %request_id, error = %error, source, "the store failed");
        }
        let mut response = answer::error(status, code, &self.to_string(), request_id);
        let headers = response.headers_mut();
        match self {
            Self::Store(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::BodyUnreadable { .. } | Self::BodyTooSlow => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}
