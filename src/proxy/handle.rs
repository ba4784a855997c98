//! The straight line.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response};
use jiff::Timestamp;

use super::body::collect;
use super::connection::Connection;
use super::core::Core;
use super::forward::forward;
use super::identify::{Caller, KnownAccount, identify};
use super::intake::{Received, announces_body, intake, is_preflight};
use super::reject::Refusal;
use super::relay::{ReplyBody, StreamRelay};
use super::{cors, reply};
use crate::answer::{RequestId, X_REQUEST_ID};
use crate::audit::{Operation, RequestEvent};
use crate::cache::{Cut, Known, StreamLease};
use crate::policy::{self, Denial, Judged, OriginHeader, Permit};
use crate::server::{Malformed, RequestBody};
use crate::telemetry::Outcome;
use crate::token::Record;

/// The collection of client tokens.
pub const TOKEN_API_PATH: &str = "/v1/client-side-access-tokens";

/// A request to the token API with a server key, for whoever answers it.
#[derive(Debug)]
pub struct OwnRequest<'a> {
    /// The account that asks.
    pub account: &'a crate::token::AccountName,
    /// Its head.
    pub head: &'a Parts,
    /// Its body.
    pub body: RequestBody,
    /// Its id.
    pub request_id: RequestId,
    /// When it came.
    pub now: Timestamp,
}

/// Answers one request. `own` answers the token API's; `None` closes it on this listener.
pub async fn handle<F>(
    core: &Core,
    connection: &Rc<Connection>,
    well_formed: Result<(), Malformed>,
    request: Request<RequestBody>,
    own: F,
) -> Response<ReplyBody>
where
    F: AsyncFnOnce(OwnRequest<'_>) -> Option<(&'static str, Response<Bytes>)>,
{
    let (head, body) = request.into_parts();
    let mut line = Line {
        core,
        connection,
        head: &head,
        now: core.gate.clock.now(),
        request_id: core.next_request_id(),
        origin_allowed: false,
        event: None,
    };
    let metrics = std::sync::Arc::clone(&core.gate.metrics);
    let method = head.method.clone();
    line.event =
        Some(Box::new(RequestEvent::begin(metrics, line.request_id, method, connection.client())));
    let answered = match well_formed {
        Ok(()) => line.run(body, own).await,
        Err(malformed) => Err(Refusal::Head(malformed)),
    };
    line.finish(answered)
}

/// A request on its way along the line.
struct Line<'a> {
    core: &'a Core,
    connection: &'a Rc<Connection>,
    head: &'a Parts,
    now: Timestamp,
    request_id: RequestId,
    origin_allowed: bool,
    event: Option<Box<RequestEvent>>,
}

impl<'a> Line<'a> {
    async fn run<F>(&mut self, body: RequestBody, own: F) -> Result<Response<ReplyBody>, Refusal>
    where
        F: AsyncFnOnce(OwnRequest<'_>) -> Option<(&'static str, Response<Bytes>)>,
    {
        let gate = &*self.core.gate;
        let head = self.head;
        let received = intake(head)?;
        self.note(|event| event.path = Some(received.asked.path.to_string()));
        if is_preflight(head) {
            self.note(|event| {
                event.operation = Operation::Own("preflight");
                event.outcome = Outcome::Answered;
            });
            let answer = cors::answer_preflight(gate, head, &received, self.now).await?;
            return Ok(answer.map(ReplyBody::whole));
        }
        let caller = match identify(self.core, received.bearer, self.now).await {
            Ok(caller) => caller,
            Err(refusal) => {
                if let OriginHeader::Web(origin) = received.asked.whence.origin {
                    self.origin_allowed = cors::was_preflighted(gate, &origin).await;
                }
                return Err(refusal);
            }
        };
        match caller {
            Caller::ServerKey(account) => {
                self.note(|event| event.account = Some(account.name.clone()));
                if received.is_token_api {
                    return self.answer_own(account, body, own).await;
                }
                let permit = policy::permit_server_key(&gate.routes, &received.asked);
                let operation = self.core.name(permit.operation());
                self.note(|event| event.operation = operation);
                let unread = announces_body(&head.headers).then_some(body);
                self.pass_on(permit, account, unread, None).await
            }
            Caller::Token { known, account } => {
                let record = &known.record;
                self.note(|event| {
                    event.account = Some(account.name.clone());
                    event.token = Some(record.id);
                });
                let authorized = self.authorize(&known, account, &received, body).await;
                self.note_decision(record, &received, &authorized);
                let permit = authorized?;
                self.pass_on(permit, account, None, Some(record)).await
            }
        }
    }

    /// Step 3: the decision, with what it has to ask for: an owner, a body. Then the token's rate.
    async fn authorize(
        &mut self,
        known: &Known,
        account: &KnownAccount,
        received: &Received<'_>,
        body: RequestBody,
    ) -> Result<Permit<'a>, Refusal> {
        let core: &'a Core = self.core;
        let gate = &*core.gate;
        let record = &known.record;
        if let OriginHeader::Web(origin) = received.asked.whence.origin {
            self.origin_allowed = record.grant.host.matches_origin(&origin);
        }
        let rules = policy::Rules {
            routes: &gate.routes,
            without_origin: gate.rules.without_origin,
            json_depth_max: gate.rules.json_depth_max,
        };
        let mut judged = policy::decide(rules, &record.grant, &received.asked, self.now);
        let asks_for_owner = matches!(judged, Ok(Judged::OwnerFirst(_)));
        let mut waited = asks_for_owner;
        if let Ok(Judged::OwnerFirst(pending)) = judged {
            // A look-up costs the upstream as much as a request.
            known.rate.take().map_err(Refusal::RateLimited)?;
            let owner = gate.owners.find(core, account, pending.id(), self.request_id).await;
            judged = pending.judge_owner(owner.map_err(Refusal::OwnerUnavailable)?);
        }
        let permit = match judged.map_err(Refusal::Denied)? {
            Judged::Permit(permit) => {
                if announces_body(&self.head.headers) {
                    return Err(body_not_admitted());
                }
                permit
            }
            Judged::BodyFirst(pending) => {
                if !is_identity_coded(self.head) {
                    return Err(Refusal::malformed("the body must not have a Content-Encoding"));
                }
                let body = collect(body, gate.rules.inspected_body).await.map_err(Refusal::Body)?;
                waited = true;
                pending.judge_body(body).map_err(Refusal::Denied)?
            }
            // The answer on the owner asks for no other owner.
            Judged::OwnerFirst(_) => {
                let denial = Denial::RouteNotAllowed { operation: None, reason: None };
                return Err(Refusal::Denied(denial));
            }
        };
        if waited {
            self.still_live(record)?;
        }
        if !asks_for_owner {
            known.rate.take().map_err(Refusal::RateLimited)?;
        }
        Ok(permit)
    }

    /// A body or an owner may have taken a while to come: the token may have gone meanwhile.
    fn still_live(&self, record: &Record) -> Result<(), Refusal> {
        let gate = &*self.core.gate;
        if gate.records.deleted().contains(record.id) {
            return Err(Refusal::token_invalid("deleted a moment ago"));
        }
        if gate.clock.now() >= record.grant.expires_at {
            return Err(Refusal::Denied(Denial::TokenExpired));
        }
        Ok(())
    }

    /// Steps 4 and 5: forward and relay.
    async fn pass_on(
        &mut self,
        permit: Permit<'_>,
        account: &KnownAccount,
        unread: Option<RequestBody>,
        record: Option<&Record>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let gate = &*self.core.gate;
        let operation = permit.operation();
        let streams = operation.is_some_and(|operation| operation.streams);
        let lease = match record {
            Some(record) if streams => Some(self.open_stream(record)?),
            _ => None,
        };
        let redact = match (record, operation) {
            (Some(_), Some(operation)) => operation.redact.as_slice(),
            _ => &[],
        };
        let headers = &self.head.headers;
        let answer = forward(self.core, permit, account, headers, unread, self.request_id).await?;
        self.note(|event| {
            event.outcome = Outcome::Forwarded;
            event.upstream_status = Some(answer.status().as_u16());
        });
        let answer = reply::admit(answer, record.is_some(), self.core.upstream.authority())?;
        if !redact.is_empty() {
            return reply::redact(answer, redact, gate.rules.redacted_answer_bytes_max).await;
        }
        let (parts, body) = answer.into_parts();
        let body = match lease {
            Some((lease, told, deadline)) if is_event_stream(&parts.headers) => {
                let hold = self.connection.watch(lease, told, deadline);
                let metrics = std::sync::Arc::clone(&gate.metrics);
                ReplyBody::stream(StreamRelay::new(body, hold, metrics))
            }
            _ => ReplyBody::upstream(body),
        };
        Ok(Response::from_parts(parts, body))
    }

    /// Takes a place for a stream before it is asked for: afterwards it could not be refused.
    fn open_stream(&self, record: &Record) -> Result<Place, Refusal> {
        let gate = &*self.core.gate;
        let (lease, told) = gate.streams.open(record.id).map_err(Refusal::TooManyStreams)?;
        // A deletion that came before there was a place to tell it to.
        if gate.records.deleted().contains(record.id) {
            return Err(Refusal::token_invalid("deleted a moment ago"));
        }
        let ends_at = record.grant.expires_at.saturating_add(gate.rules.expiry_grace);
        let until_expiry = ends_at
            .ok()
            .and_then(|ends_at| ends_at.duration_since(self.now).try_into().ok())
            .unwrap_or(std::time::Duration::ZERO);
        let longest = gate.rules.stream_length_max;
        let deadline = if until_expiry < longest {
            (until_expiry, Cut::TokenExpired)
        } else {
            (longest, Cut::StreamTooLong)
        };
        Ok((lease, told, deadline))
    }

    async fn answer_own<F>(
        &mut self,
        account: &KnownAccount,
        body: RequestBody,
        own: F,
    ) -> Result<Response<ReplyBody>, Refusal>
    where
        F: AsyncFnOnce(OwnRequest<'_>) -> Option<(&'static str, Response<Bytes>)>,
    {
        let request = OwnRequest {
            account: &account.name,
            head: self.head,
            body,
            request_id: self.request_id,
            now: self.now,
        };
        let (operation, answer) = own(request).await.ok_or_else(|| {
            Refusal::Denied(Denial::RouteNotAllowed { operation: None, reason: None })
        })?;
        self.note(|event| {
            event.operation = Operation::Own(operation);
            event.outcome =
                if answer.status().is_success() { Outcome::Answered } else { Outcome::Refused };
        });
        Ok(answer.map(ReplyBody::whole))
    }

    /// Step 6, and what every answer has.
    fn finish(mut self, answered: Result<Response<ReplyBody>, Refusal>) -> Response<ReplyBody> {
        let mut response = answered.unwrap_or_else(|refusal| {
            self.note(|event| {
                event.outcome = refusal.outcome();
                event.reason = Some(refusal.code());
                event.detail = Some(refusal.detail());
            });
            if let Refusal::Upstream(error) = &refusal {
                self.core.gate.metrics.upstream_failure(error.failure.label());
            }
            let mut answer = refusal.answer(self.request_id);
            // The body may still be on its way: whoever sends it must not send a request behind it.
            if announces_body(&self.head.headers) {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            answer.map(ReplyBody::whole)
        });
        let headers = response.headers_mut();
        cors::vary(headers);
        if self.origin_allowed {
            cors::allow_origin(headers, &self.head.headers);
        }
        headers.insert(X_REQUEST_ID, self.request_id.header_value());
        let status = response.status().as_u16();
        self.note(|event| event.status = status);
        match self.event {
            Some(event) => response.map(|body| body.with_event(event)),
            None => response,
        }
    }

    fn note(&mut self, what: impl FnOnce(&mut RequestEvent)) {
        if let Some(event) = &mut self.event {
            what(event);
        }
    }

    /// What a decision was about, as far as it is known: enough to judge it again from the log.
    fn note_decision(
        &mut self,
        record: &Record,
        received: &Received<'_>,
        authorized: &Result<Permit<'_>, Refusal>,
    ) {
        let asked = &received.asked;
        let (operation, agent) = match authorized {
            Ok(permit) => (permit.operation(), permit.agent()),
            Err(refusal) => {
                let found = self.core.gate.routes.look_up(asked.method, &asked.path);
                let agent = match refusal {
                    Refusal::Denied(Denial::PermissionDenied { agent, .. }) => *agent,
                    _ => found.and_then(|(_, agent)| agent),
                };
                (found.map(|(operation, _)| operation), agent)
            }
        };
        let operation = self.core.name(operation);
        self.note(|event| {
            event.operation = operation;
            event.agent = agent;
            event.access = agent.map(|agent| record.grant.access_to(agent));
            event.query_keys = asked.query.key_list();
        });
    }
}

fn body_not_admitted() -> Refusal {
    Refusal::Denied(Denial::ParameterNotAllowed {
        place: policy::Place::Body,
        name: "(body)".to_owned(),
        problem: "is not admitted for this operation".to_owned(),
    })
}

type Place = (StreamLease, tokio::sync::oneshot::Receiver<Cut>, (std::time::Duration, Cut));

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = media_type.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

fn is_identity_coded(head: &Parts) -> bool {
    const CONTENT_ENCODING: HeaderName = http::header::CONTENT_ENCODING;
    head.headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding == "identity")
}
