//! The straight line.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;

use super::authorize::Decided;
use super::connection::Connection;
use super::core::Core;
use super::identify::KnownAccount;
use super::intake::announces_body;
use super::reject::Refusal;
use super::relay::{ReplyBody, StreamRelay};
use super::{cors, forward, reply};
use crate::answer::RequestId;
use crate::audit::{Operation, RequestEvent, TraceFacts};
use crate::cache::{Cut, Known, NewStream, StreamLease};
use crate::clock::step_time;
use crate::message::names::{CONNECTION, CONTENT_TYPE, HOST, X_REQUEST_ID};
use crate::message::{Fields, Head, Reply};
use crate::policy::{Denial, Permit};
use crate::server::{Incoming, RequestBody};
use crate::telemetry::Outcome;

/// The collection of client tokens.
pub const TOKEN_API_PATH: &str = "/v1/client-side-access-tokens";

/// A request to the token API with a server key, for whoever answers it.
#[derive(Debug)]
pub struct OwnRequest<'a> {
    /// The account that asks.
    pub account: &'a crate::token::AccountName,
    /// Its head.
    pub head: &'a Head,
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
    incoming: &mut Incoming,
    own: F,
) -> Reply<ReplyBody>
where
    F: AsyncFnOnce(OwnRequest<'_>) -> Option<(&'static str, Reply<Bytes>)>,
{
    let body = incoming.take_body();
    let mut line = Line::begin(core, connection, &incoming.head);
    let answered = match incoming.well_formed {
        Ok(()) => line.run(body, own).await,
        Err(malformed) => Err(Refusal::Head(malformed)),
    };
    line.finish(answered)
}

/// A request on its way along the line.
pub(super) struct Line<'a> {
    pub(super) core: &'a Core,
    connection: &'a Rc<Connection>,
    pub(super) head: &'a Head,
    pub(super) now: Timestamp,
    pub(super) request_id: RequestId,
    pub(super) origin_allowed: bool,
    event: Option<Box<RequestEvent>>,
}

fn facts(core: &Core, connection: &Connection, head: &Head) -> TraceFacts {
    let host = head.fields().get(HOST).and_then(|host| std::str::from_utf8(host).ok());
    TraceFacts {
        is_tls: connection.is_tls(),
        version: head.version,
        host: host.map(str::to_owned),
        upstream: core.upstream.origin(),
    }
}

impl<'a> Line<'a> {
    /// A request whose head has just been read.
    pub(super) fn begin(core: &'a Core, connection: &'a Rc<Connection>, head: &'a Head) -> Self {
        let request_id = core.next_request_id();
        let observers = Rc::clone(&core.observers);
        let began = step_time();
        let now = core.gate.clock.at(began);
        let method = head.method.clone();
        let began = (began.into_std(), now);
        let mut event =
            RequestEvent::begin(observers, began, request_id, method, connection.client());
        event.traced = request_id.is_traced().then(|| Box::new(facts(core, connection, head)));
        Self { core, connection, head, now, request_id, origin_allowed: false, event: Some(event) }
    }

    async fn run<F>(&mut self, body: RequestBody, own: F) -> Result<Reply<ReplyBody>, Refusal>
    where
        F: AsyncFnOnce(OwnRequest<'_>) -> Option<(&'static str, Reply<Bytes>)>,
    {
        match self.decide(body).await {
            Err(refusal) => Err(refusal),
            Ok(Decided::Preflight(answer)) => Ok(answer.map(ReplyBody::whole)),
            Ok(Decided::TokenApi { account, body }) => {
                Box::pin(self.answer_own(account, body, own)).await
            }
            Ok(Decided::Permit { permit, account, known, unread }) => {
                let token = known.as_ref().map(|(known, until)| (&**known, *until));
                self.pass_on(permit, account, unread, token).await
            }
        }
    }

    /// Steps 4 and 5: forward and relay.
    async fn pass_on(
        &mut self,
        permit: Permit<'_>,
        account: &KnownAccount,
        unread: Option<RequestBody>,
        token: Option<(&Known, Instant)>,
    ) -> Result<Reply<ReplyBody>, Refusal> {
        let gate = &*self.core.gate;
        let operation = permit.operation();
        let streams = operation.is_some_and(|operation| operation.streams);
        let lease = match token {
            Some((known, until)) if streams => Some(self.open_stream(known, until)?),
            _ => None,
        };
        let redact = match (token, operation) {
            (Some(_), Some(operation)) => operation.redact.as_slice(),
            _ => &[],
        };
        let fields = self.head.fields();
        let sent = self.request_id.is_traced().then(Instant::now);
        let request = forward::build(self.core, permit, account, fields, unread, self.request_id)?;
        let answer = self.core.upstream.send(request, reply::wanted).await;
        let mut answer = answer.map_err(forward::refusal)?;
        self.note(|event| {
            if let Some(sent) = sent {
                event.note_upstream(sent);
            }
            event.outcome = Outcome::Forwarded;
            event.upstream_status = Some(answer.status.as_u16());
        });
        reply::admit(&mut answer, token.is_some(), self.core.upstream.authority())?;
        if !redact.is_empty() {
            return reply::redact(answer, redact, gate.rules.redacted_answer_bytes_max).await;
        }
        let lease = lease.filter(|_| is_event_stream(&answer.fields));
        Ok(answer.map(|body| match lease {
            Some((lease, told, deadline)) => {
                let hold = self.connection.watch(lease, told, deadline);
                let metrics = std::sync::Arc::clone(&gate.metrics);
                ReplyBody::stream(StreamRelay::new(body, hold, metrics))
            }
            None => ReplyBody::upstream(body),
        }))
    }

    /// Takes a place for a stream before it is asked for: afterwards it could not be refused.
    fn open_stream(&self, known: &Known, until: Instant) -> Result<Place, Refusal> {
        let gate = &*self.core.gate;
        let record = &known.record;
        let streams_max = gate.rates.streams_here(&known.limits);
        let streams_max = usize::try_from(streams_max).unwrap_or(usize::MAX);
        let stream = NewStream { token: record.id, until, streams_max };
        let (lease, told) = gate.streams.open(stream).map_err(Refusal::TooManyStreams)?;
        // A deletion that came before there was a place to tell it to.
        if gate.records.deleted().contains(record.id) {
            return Err(Refusal::token_invalid("deleted a moment ago"));
        }
        Ok((lease, told, self.stream_deadline(known)))
    }

    /// How long a stream of this token may last from now, and why it ends then.
    pub(super) fn stream_deadline(&self, known: &Known) -> (Duration, Cut) {
        let grace = self.core.gate.rules.expiry_grace;
        let ends_at = known.record.grant.expires_at.saturating_add(grace);
        let until_expiry = ends_at
            .ok()
            .and_then(|ends_at| ends_at.duration_since(self.now).try_into().ok())
            .unwrap_or(Duration::ZERO);
        let longest = known.limits.stream_length;
        if until_expiry < longest {
            (until_expiry, Cut::TokenExpired)
        } else {
            (longest, Cut::StreamTooLong)
        }
    }

    async fn answer_own<F>(
        &mut self,
        account: &KnownAccount,
        body: RequestBody,
        own: F,
    ) -> Result<Reply<ReplyBody>, Refusal>
    where
        F: AsyncFnOnce(OwnRequest<'_>) -> Option<(&'static str, Reply<Bytes>)>,
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
                if answer.status.is_success() { Outcome::Answered } else { Outcome::Refused };
        });
        Ok(answer.map(ReplyBody::whole))
    }

    /// Step 6, and what every answer has.
    fn finish(mut self, answered: Result<Reply<ReplyBody>, Refusal>) -> Reply<ReplyBody> {
        let mut reply = match answered {
            Ok(reply) => reply,
            Err(refusal) => self.refuse(&refusal).map(ReplyBody::whole),
        };
        self.complete(&mut reply);
        reply.body.carry(self.event);
        reply
    }

    /// The answer of a refusal or failure, noted.
    pub(super) fn refuse(&mut self, refusal: &Refusal) -> Reply<Bytes> {
        self.note(|event| {
            event.outcome = refusal.outcome();
            event.reason = Some(refusal.code());
            event.detail = Some(refusal.detail());
        });
        if let Refusal::Upstream(error) = refusal {
            self.core.gate.metrics.upstream_failure(error.failure.label());
        }
        let mut answer = refusal.answer(self.request_id);
        // The body may still be on its way: whoever sends it must not send a request behind it.
        if announces_body(self.head.fields()) {
            answer.fields.set(CONNECTION, b"close");
        }
        answer
    }

    /// Gives an answer what every answer has.
    pub(super) fn complete<B>(&mut self, reply: &mut Reply<B>) {
        let fields = &mut reply.fields;
        cors::vary(fields);
        if self.origin_allowed {
            cors::allow_origin(fields, self.head.fields());
        }
        fields.append(X_REQUEST_ID, self.request_id.as_bytes());
        let status = reply.status.as_u16();
        self.note(|event| event.status = status);
    }

    pub(super) fn note(&mut self, what: impl FnOnce(&mut RequestEvent)) {
        if let Some(event) = &mut self.event {
            what(event);
        }
    }
}

type Place = (StreamLease, tokio::sync::oneshot::Receiver<Cut>, (Duration, Cut));

pub(super) fn is_event_stream(fields: &Fields) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let media_type = fields.get(CONTENT_TYPE).unwrap_or_default();
    let Some((essence, rest)) = media_type.split_at_checked(EVENTS.len()) else { return false };
    let ends = matches!(rest.trim_ascii_start(), [] | [b';', ..]);
    ends && essence.eq_ignore_ascii_case(EVENTS)
}
