//! Creating, listing and deleting client tokens: the wire of Letta's published interface, one file
//! an endpoint.
//!
//! Leaves who asks to the data path: every request here has come with a server key. Must always
//! hold: an answer is given only after the fact is durable, and only these answers carry token text.

mod create;
mod delete;
mod expiry;
mod list;
mod reject;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use jiff::{SignedDuration, Timestamp};

#[cfg(feature = "fuzzing")]
pub(crate) use self::expiry::parse as parse_expiry;
use self::reject::Rejection;
pub use self::wire::{CreateBody, EntryBody, ListBody, TokenBody};
use crate::answer::{self, RequestId};
use crate::cache::{OpenStreams, Records};
use crate::message::Head;
use crate::server::RequestBody;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::token::{AccountName, KeyRing};

/// Largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a body may take.
const BODY_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(10);
/// How long a token lives that asks for nothing else.
const LIFETIME_DEFAULT: SignedDuration = SignedDuration::from_mins(5);

/// The token API of a gate.
pub struct TokenApi {
    /// Records, and the deletions known.
    pub records: Arc<Records<Store>>,
    /// Streams that a deletion cuts.
    pub streams: Arc<OpenStreams>,
    /// What makes and verifies tokens.
    pub keys: Arc<KeyRing>,
    /// How far in the future a token may expire.
    pub lifetime_max: SignedDuration,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// One request with a server key.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The account that asks.
    pub account: &'a AccountName,
    /// Its head.
    pub head: &'a Head,
    /// The path below the collection of tokens, without it.
    pub path_below: &'a str,
    /// Its body.
    pub body: RequestBody,
    /// Its id.
    pub request_id: RequestId,
    /// When it came.
    pub now: Timestamp,
}

impl TokenApi {
    /// Answers one request; the name is that of the operation, for the log.
    pub async fn answer(&self, asked: Asked<'_>) -> (&'static str, Response<Bytes>) {
        let request_id = asked.request_id;
        let below = asked.path_below;
        let below = below.strip_prefix('/').unwrap_or(below);
        let segment = below.strip_suffix('/').unwrap_or(below);
        let (operation, answered) = match (&asked.head.method, segment) {
            (&Method::POST, "") => ("tokens.create", self.create(asked).await),
            (&Method::GET | &Method::HEAD, "") => ("tokens.list", self.list(asked).await),
            (&Method::DELETE, token) if !token.is_empty() && !token.contains('/') => {
                ("tokens.delete", self.delete(&asked, token).await)
            }
            _ => ("tokens.unknown", Err(Rejection::NoSuchEndpoint)),
        };
        (operation, answered.unwrap_or_else(|rejection| rejection.answer(request_id)))
    }
}

/// Reads a request's body whole; one that announces too much is not waited for.
async fn read_body(body: RequestBody) -> Result<Bytes, Rejection> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(Rejection::BodyUnreadable { bytes_max: BODY_BYTES_MAX });
    }
    let reading = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIME_MAX, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(Rejection::BodyUnreadable { bytes_max: BODY_BYTES_MAX }),
        Err(_) => Err(Rejection::BodyTooSlow),
    }
}

fn ok(body: &impl serde::Serialize) -> Response<Bytes> {
    answer::json(StatusCode::OK, body)
}
