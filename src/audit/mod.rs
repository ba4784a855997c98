//! One event per request and per change of a token, written when it is over.
//!
//! Owns the names of log fields. Must always hold: an event carries ids, never secrets, and every
//! text in it that a caller chose has passed the strictness of the head or the policy.

mod field;
mod operation;

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::activity::{Activity, Decision};
use crate::answer::{RequestId, legible};
use crate::policy::{AgentId, Permission, Permissions};
use crate::telemetry::{Metrics, Outcome};
use crate::token::{AccountName, TokenId};

use field::name;
pub use field::{FieldName, Fields};
pub use operation::Operation;

/// Longest path that is written, in characters.
const PATH_LENGTH_MAX: usize = 256;
/// Longest detail of a reason that is written, in characters.
const DETAIL_LENGTH_MAX: usize = 512;

/// Who is told of each request, beside the log. A core has one of its own: what all cores count the owners of
/// would be waited for by each.
#[derive(Debug)]
pub struct Observers {
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// Who is told live.
    pub activity: Option<Arc<Activity>>,
}

/// What is known of a request, gathered on its way and written when it is dropped: at the end of
/// its answer's body, or when the caller has gone.
#[derive(Debug)]
pub struct RequestEvent {
    observers: Rc<Observers>,
    began: Instant,
    began_at: Timestamp,
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
    pub detail: Option<Cow<'static, str>>,
    /// The status of the answer.
    pub status: u16,
    /// The status of the upstream's answer.
    pub upstream_status: Option<u16>,
    /// Whether a refusal did not hold, since the account is in shadow mode.
    pub shadow: bool,
    /// When it was sent upstream, from its beginning, and how long the head of the answer took.
    pub upstream_took: Option<(Duration, Duration)>,
    /// Bytes of the answer's body that were handed to the connection.
    pub sent_bytes: u64,
    /// Whether the answer's body came to its end.
    pub complete: bool,
    /// What its spans tell beside all this, if it is traced.
    pub traced: Option<Box<TraceFacts>>,
}

/// What only the spans of a request tell.
#[derive(Clone, Debug)]
pub struct TraceFacts {
    /// Whether it came within TLS.
    pub is_tls: bool,
    /// The protocol it came over.
    pub version: http::Version,
    /// The host that was asked for, as the caller wrote it.
    pub host: Option<String>,
    /// Scheme and authority of the upstream.
    pub upstream: String,
}

impl RequestEvent {
    /// The event of a request whose head has been read at this time, which is also told by the clock
    /// on the wall.
    #[must_use]
    pub fn begin(
        observers: Rc<Observers>,
        (began, at): (Instant, Timestamp),
        request_id: RequestId,
        method: http::Method,
        client: Rc<str>,
    ) -> Box<Self> {
        // Made where it stays, not copied there.
        Box::write(
            Box::new_uninit(),
            Self {
                observers,
                began,
                began_at: at,
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
                shadow: false,
                upstream_took: None,
                sent_bytes: 0,
                complete: false,
                traced: None,
            },
        )
    }

    /// Whether a refusal was recorded and did not hold.
    fn is_shadowed(&self) -> bool {
        self.shadow && matches!(self.outcome, Outcome::Forwarded | Outcome::Judged)
    }

    /// Takes note of a request upstream that was sent at this moment, and whose answer began now.
    pub fn note_upstream(&mut self, sent: Instant) {
        self.upstream_took = Some((sent.duration_since(self.began), sent.elapsed()));
    }

    /// What the decision is called in the log.
    fn decision(&self) -> &'static str {
        match self.outcome {
            _ if self.is_shadowed() => "shadow",
            Outcome::Forwarded | Outcome::Judged => "permit",
            Outcome::Answered => "answer",
            Outcome::Refused => "deny",
            Outcome::Failed => "fail",
        }
    }

    fn as_decision(&self) -> Decision {
        let readable = |text: &str, length_max| legible(text, length_max).into_owned();
        Decision {
            sequence: 0,
            at: String::new(),
            request_id: self.request_id.to_string(),
            method: self.method.to_string(),
            path: self.path.as_deref().map(|path| readable(path, PATH_LENGTH_MAX)),
            operation: self.operation.as_str().to_owned(),
            decision: self.decision(),
            reason: self.reason.map(str::to_owned),
            explanation: self.detail.as_deref().map(|text| readable(text, DETAIL_LENGTH_MAX)),
            status: self.status,
            account: self.account.as_ref().map(ToString::to_string),
            token: self.token.map(|token| token.to_string()),
            agent: self.agent.map(|agent| agent.to_string()),
            client: self.client.to_string(),
            duration_us: 0,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Drop for RequestEvent {
    fn drop(&mut self) {
        let elapsed = self.began.elapsed();
        let Observers { metrics, activity } = &*self.observers;
        match &self.operation {
            Operation::Routed(counters) => counters.count(self.outcome),
            own => metrics.request(own.as_str(), self.outcome),
        }
        let traced = self.request_id.is_traced().then(|| self.request_id.as_str());
        metrics.request_took(elapsed, traced);
        if let (Outcome::Refused, Some(reason)) = (self.outcome, self.reason) {
            metrics.refusal(reason);
        }
        if self.is_shadowed() {
            metrics.shadow_refusal(self.reason.unwrap_or("unknown"));
        }
        if let Some(log) = REQUEST_LOG.get() {
            log.write(&Finished { event: self, elapsed });
        }
        if let Some(activity) = activity {
            activity.note(self.as_decision(), self.began);
        }
    }
}

/// Where the events of requests go. One is written for every request, so they do not take the way
/// of other events, which costs several times as much.
pub trait RequestLog: Send + Sync {
    /// Writes one.
    fn write(&self, event: &Finished<'_>);
}

static REQUEST_LOG: OnceLock<Box<dyn RequestLog>> = OnceLock::new();

/// Writes the events of requests to `log` from now on, until the process ends.
pub fn log_requests_to(log: Box<dyn RequestLog>) {
    // Whoever was first stays.
    let _ = REQUEST_LOG.set(log);
}

/// A request that is over.
#[derive(Debug)]
pub struct Finished<'e> {
    event: &'e RequestEvent,
    elapsed: Duration,
}

impl Finished<'_> {
    /// Whether the request was refused, even if the refusal did not hold.
    #[must_use]
    pub fn is_of_a_refusal(&self) -> bool {
        self.event.outcome == Outcome::Refused || self.event.is_shadowed()
    }

    /// When it was over, told from when it began: the wall clock is read once a request, at most.
    #[must_use]
    pub fn ended_at(&self) -> Timestamp {
        let began_at = self.event.began_at;
        began_at.saturating_add(self.elapsed).unwrap_or(began_at)
    }

    /// The request's id.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.event.request_id
    }

    /// What its spans tell beside its fields, if it is traced.
    #[must_use]
    pub fn traced(&self) -> Option<&TraceFacts> {
        self.event.traced.as_deref()
    }

    /// The path template of its operation.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.event.operation.route()
    }

    /// Where the event belongs.
    pub const TARGET: &'static str = "ckgate::request";

    /// Writes its fields.
    pub fn record(&self, fields: &mut impl Fields) {
        let event = self.event;
        fields.known(name!("message"), b"request");
        fields.known(name!("operation"), event.operation.as_str().as_bytes());
        fields.known(name!("decision"), event.decision().as_bytes());
        fields.known(name!("request.id"), event.request_id.as_bytes());
        fields.known(name!("http.request.method"), event.method.as_str().as_bytes());
        if let Some(path) = &event.path {
            fields.text(name!("url.path"), &legible(path, PATH_LENGTH_MAX));
        }
        fields.known(name!("client.address"), event.client.as_bytes());
        if let Some(account) = &event.account {
            fields.known(name!("account"), account.as_str().as_bytes());
        }
        if let Some(token) = event.token {
            fields.known(name!("token.id"), &token.spelled());
        }
        if let Some(agent) = event.agent {
            fields.known(name!("agent.id"), &agent.spelled());
        }
        if let Some(access) = event.access {
            fields.list(name!("grant.access"), access.iter().map(Permission::as_str));
        }
        if let Some(keys) = &event.query_keys {
            fields.text(name!("url.query.keys"), &legible(keys, PATH_LENGTH_MAX));
        }
        if let Some(names) = &event.body_fields {
            fields.text(name!("http.request.body.fields"), names);
        }
        if let Some(reason) = event.reason {
            fields.known(name!("deny.reason"), reason.as_bytes());
        }
        if let Some(name) = &event.parameter {
            fields.text(name!("deny.parameter"), &legible(name, PATH_LENGTH_MAX));
        }
        if let Some(detail) = &event.detail {
            let detail = match detail {
                // The gate's own words alone.
                Cow::Borrowed(own) => Cow::Borrowed(*own),
                Cow::Owned(any) => legible(any, DETAIL_LENGTH_MAX),
            };
            fields.text(name!("deny.detail"), &detail);
        }
        fields.number(name!("http.response.status_code"), event.status.into());
        if let Some(status) = event.upstream_status {
            fields.number(name!("upstream.status_code"), status.into());
        }
        if let Some((began, took)) = event.upstream_took {
            fields.number(name!("upstream.began_us"), micros(began));
            fields.number(name!("upstream.duration_us"), micros(took));
        }
        fields.number(name!("http.response.body.size"), event.sent_bytes);
        fields.flag(name!("complete"), event.complete);
        fields.number(name!("duration_us"), micros(self.elapsed));
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

/// Writes that tokens were listed.
pub fn tokens_listed(request_id: RequestId, account: &AccountName, count: usize) {
    tracing::info!(
        target: "ckgate::token",
        account = account.as_str(),
        request.id = %request_id,
        tokens = u64::try_from(count).unwrap_or(u64::MAX),
        "tokens listed"
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
