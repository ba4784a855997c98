//! One event per request and per change of a token, written when it is over.
//!
//! Owns the names of log fields. Must always hold: an event carries ids, never secrets, and every
//! text in it that a caller chose has passed the strictness of the head or the policy.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::answer::{RequestId, legible};
use crate::policy::{AgentId, Permissions};
use crate::telemetry::{Metrics, OperationCounters, Outcome};
use crate::token::{AccountName, TokenId};

/// Longest path that is written, in characters.
const PATH_LENGTH_MAX: usize = 256;
/// Longest detail of a reason that is written, in characters.
const DETAIL_LENGTH_MAX: usize = 512;

/// What is known of a request, gathered on its way and written when it is dropped: at the end of
/// its answer's body, or when the caller has gone.
#[derive(Debug)]
pub struct RequestEvent {
    metrics: Arc<Metrics>,
    began: Instant,
    /// Names the request.
    pub request_id: RequestId,
    /// Its method.
    pub method: http::Method,
    /// Its path, when it was canonical; a template where the path itself holds a secret.
    pub path: Option<String>,
    /// The caller's address.
    pub client: Rc<str>,
    /// The caller's account.
    pub account: Option<AccountName>,
    /// The caller's token.
    pub token: Option<TokenId>,
    /// The agent that was asked for.
    pub agent: Option<AgentId>,
    /// What the token permits with that agent.
    pub access: Option<Permissions>,
    /// The names of the query's keys, without their values.
    pub query_keys: Option<String>,
    /// The names of the fields at the top of an inspected body that was admitted.
    pub body_fields: Option<String>,
    /// The parameter that was refused: its place and its name, never its value.
    pub parameter: Option<String>,
    /// The operation that was asked for.
    pub operation: Operation,
    /// How it was decided or ended.
    pub outcome: Outcome,
    /// The code of the refusal or failure.
    pub reason: Option<&'static str>,
    /// More about the reason, for the operator only.
    pub detail: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// The status of the upstream's answer.
    pub upstream_status: Option<u16>,
    /// Bytes of the answer's body that were handed to the connection.
    pub sent_bytes: u64,
    /// Whether the answer's body came to its end.
    pub complete: bool,
}

/// The name of an operation: of the route table, or one of the gate's own.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Not known, or not in the table.
    Unknown,
    /// One of the gate's own.
    Own(&'static str),
    /// One of the route table.
    Routed(Rc<OperationCounters>),
}

impl Operation {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown => "unknown",
            Self::Own(name) => name,
            Self::Routed(counters) => counters.name(),
        }
    }
}

impl RequestEvent {
    /// The event of a request whose head has just been read.
    #[must_use]
    pub fn begin(
        metrics: Arc<Metrics>,
        request_id: RequestId,
        method: http::Method,
        client: Rc<str>,
    ) -> Self {
        Self {
            metrics,
            began: Instant::now(),
            request_id,
            method,
            path: None,
            client,
            account: None,
            token: None,
            agent: None,
            access: None,
            query_keys: None,
            body_fields: None,
            parameter: None,
            operation: Operation::Unknown,
            outcome: Outcome::Failed,
            reason: None,
            detail: None,
            status: 0,
            upstream_status: None,
            sent_bytes: 0,
            complete: false,
        }
    }
}

impl Drop for RequestEvent {
    fn drop(&mut self) {
        let elapsed = self.began.elapsed();
        match &self.operation {
            Operation::Routed(counters) => counters.count(self.outcome),
            own => self.metrics.request(own.as_str(), self.outcome),
        }
        self.metrics.request_seconds.observe(elapsed.as_secs_f64());
        if let (Outcome::Refused, Some(reason)) = (self.outcome, self.reason) {
            self.metrics.refusal(reason);
        }
        let decision = match self.outcome {
            Outcome::Forwarded | Outcome::Judged => "permit",
            Outcome::Answered => "answer",
            Outcome::Refused => "deny",
            Outcome::Failed => "fail",
        };
        tracing::info!(
            target: "ckgate::request",
            operation = self.operation.as_str(),
            decision,
            request.id = self.request_id.as_str(),
            http.request.method = self.method.as_str(),
            url.path = self.path.as_deref().map(|path| legible(path, PATH_LENGTH_MAX)).as_deref(),
            client.address = &*self.client,
            account = self.account.as_ref().map(AccountName::as_str),
            token.id = self.token.map(tracing::field::display),
            agent.id = self.agent.map(tracing::field::display),
            grant.access = self.access.map(tracing::field::display),
            url.query.keys = self.query_keys.as_deref().map(|keys| legible(keys, PATH_LENGTH_MAX)).as_deref(),
            http.request.body.fields = self.body_fields.as_deref(),
            deny.reason = self.reason,
            deny.parameter = self.parameter.as_deref().map(|name| legible(name, PATH_LENGTH_MAX)).as_deref(),
            deny.detail = self.detail.as_deref().map(|text| legible(text, DETAIL_LENGTH_MAX)).as_deref(),
            http.response.status_code = self.status,
            upstream.status_code = self.upstream_status,
            http.response.body.size = self.sent_bytes,
            complete = self.complete,
            duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            "request"
        );
    }
}

/// Writes that a token was made.
pub fn token_created(request_id: RequestId, account: &AccountName, token: TokenId) {
    tracing::info!(
        target: "ckgate::token",
        account = account.as_str(),
        request.id = %request_id,
        token.id = %token,
        "token created"
    );
}

/// Writes that a token was deleted.
pub fn token_deleted(request_id: RequestId, account: &AccountName, token: TokenId) {
    tracing::info!(
        target: "ckgate::token",
        account = account.as_str(),
        request.id = %request_id,
        token.id = %token,
        "token deleted"
    );
}
