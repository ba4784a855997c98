//! The judgement alone, for a proxy that forwards by itself: the same intake and the same decision,
//! and what to send in the place of the gate.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::authorize::Decided;
use super::caller_body::GivenBody;
use super::connection::Connection;
use super::core::Core;
use super::forward::{JSON, SDK_VERSION, USER_ID, forwarded, is_sdk, own_fields};
use super::handle::Line;
use super::identify::KnownAccount;
use super::reject::Refusal;
use crate::message::names::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, AUTHORIZATION, VARY,
};
use crate::message::{Fields, Head, Reply};
use crate::policy::{Permit, PermittedBody};
use crate::server::Malformed;
use crate::telemetry::Outcome;

/// What the asking proxy can do with an answer.
#[derive(Clone, Copy, Debug)]
pub struct AskingProxy {
    /// Which target it sends.
    pub target: TargetSent,
    /// Which of the caller's headers it takes out.
    pub removes: HeadersRemoved,
    /// Whether it may forward operations whose answer may be a stream: it does not end a stream when
    /// its token is deleted, and does not tell the gate when one ends.
    pub streams: StreamsHere,
}

/// Which target a proxy sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSent {
    /// The one that it is told.
    AsTold,
    /// The one that it received: a request whose target would be another is refused.
    AsReceived,
}

/// Which of the caller's headers a proxy takes out.
#[derive(Clone, Copy, Debug)]
pub enum HeadersRemoved {
    /// Those that it is told.
    AsTold,
    /// These, by its configuration: a request with another one that must not go on is refused.
    Only(&'static [&'static str]),
}

/// What becomes of operations whose answer may be a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamsHere {
    /// They are refused: only the gate counts streams and ends them with their token.
    Refuse,
    /// They pass, with this time at most for the answer where the proxy can be told one.
    Pass,
}

/// What a request that was judged without being forwarded comes to.
#[derive(Debug)]
pub enum Judgement {
    /// It may go, like this.
    Permit(Permitted),
    /// The caller gets this answer: a refusal, or that of a preflight.
    Answer(Response<Bytes>),
}

/// How a permitted request has to be sent, and what its answer has to have.
#[derive(Debug)]
pub struct Permitted {
    /// Path and query, rebuilt from what was judged.
    pub target: String,
    /// Headers of the upstream's request, in the place of any of the same name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Headers of the caller that must not go on.
    pub drop: Vec<HeaderName>,
    /// Headers that the caller's answer must have.
    pub answer: HeaderMap,
    /// How long the answer may take, where it may be a stream: to the end of the token's grace, or as
    /// long as its streams may be.
    pub time: Option<Duration>,
}

/// What is to become of a judged request before its answer has what every answer has.
enum Judged {
    Permit(Permitted),
    Answer(Reply<Bytes>),
}

/// Judges one request. `well_formed` is what the strict reading of its head said.
pub async fn judge(
    core: &Core,
    connection: &Rc<Connection>,
    well_formed: Result<(), Malformed>,
    head: &Head,
    body: GivenBody,
    asking: AskingProxy,
) -> Judgement {
    let mut line = Line::begin(core, connection, head);
    let judged = match well_formed {
        Ok(()) => line.judge(body, asking).await,
        Err(malformed) => Err(Refusal::Head(malformed)),
    };
    match judged {
        Ok(Judged::Permit(mut permitted)) => {
            let mut answer = Reply::new(StatusCode::OK, ());
            line.complete(&mut answer);
            line.note(|event| event.outcome = Outcome::Judged);
            let mut relevant = Fields::new();
            for name in [VARY, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS] {
                if let Some(value) = answer.fields.get(name) {
                    relevant.append(name, value);
                }
            }
            permitted.answer = relevant.to_map();
            Judgement::Permit(permitted)
        }
        Ok(Judged::Answer(mut answer)) => {
            line.complete(&mut answer);
            Judgement::Answer(answer.into_response())
        }
        Err(refusal) => {
            let mut answer = line.refuse(&refusal);
            line.complete(&mut answer);
            Judgement::Answer(answer.into_response())
        }
    }
}

impl Line<'_> {
    async fn judge(&mut self, body: GivenBody, asking: AskingProxy) -> Result<Judged, Refusal> {
        match self.decide(body).await? {
            Decided::Preflight(answer) => Ok(Judged::Answer(answer)),
            Decided::TokenApi { .. } => {
                Err(Refusal::ProxyRequired("the token API is answered by the gate"))
            }
            Decided::Permit { permit, account, known, .. } => {
                let known = known.map(|(known, _)| known);
                let mut permitted = self.permitted(&permit, account);
                if let Some(why) = self.beyond(asking, &permit, known.is_some(), &permitted) {
                    return Err(Refusal::ProxyRequired(why));
                }
                let streams = permit.operation().is_some_and(|found| found.streams);
                permitted.time =
                    known.filter(|_| streams).map(|known| self.stream_deadline(&known).0);
                Ok(Judged::Permit(permitted))
            }
        }
    }

    /// What of a permitted request the asking proxy cannot do.
    fn beyond(
        &self,
        asking: AskingProxy,
        permit: &Permit<'_>,
        is_of_a_token: bool,
        permitted: &Permitted,
    ) -> Option<&'static str> {
        let operation = permit.operation().filter(|_| is_of_a_token);
        if operation.is_some_and(|found| !found.redact.is_empty()) {
            return Some("the answer holds secrets that the gate takes out");
        }
        if asking.streams == StreamsHere::Refuse && operation.is_some_and(|found| found.streams) {
            return Some(
                "the answer may be a stream, which only the gate counts and ends with its token",
            );
        }
        if asking.target == TargetSent::AsReceived && self.head.target() != permit.target() {
            return Some("the asking proxy cannot rewrite the target into the route's own form");
        }
        match asking.removes {
            HeadersRemoved::Only(removed)
                if !permitted.drop.iter().all(|name| removed.contains(&name.as_str())) =>
            {
                Some("the asking proxy cannot take out all headers that must not go on")
            }
            _ => None,
        }
    }

    fn permitted(&self, permit: &Permit<'_>, account: &KnownAccount) -> Permitted {
        let fields = self.head.fields();
        let inspected = matches!(permit.body(), PermittedBody::Inspected(_));
        let unread = matches!(permit.body(), PermittedBody::Unread);
        let mut set = Vec::with_capacity(8);
        let named = |name: &'static str, value: &Option<HeaderValue>| {
            value.clone().map(|value| (HeaderName::from_static(name), value))
        };
        set.extend(named(AUTHORIZATION, &account.authorization));
        set.extend(named(USER_ID, &account.user_id));
        let mut put = |name: &[u8], value: &[u8]| {
            // Names and values of fields that were read, constants, or digits.
            let named = HeaderName::from_bytes(name).ok().zip(HeaderValue::from_bytes(value).ok());
            set.extend(named);
        };
        let is_of_an_sdk = forwarded(fields).any(|(name, _)| is_sdk(name));
        let content_type = inspected.then_some(JSON.as_bytes());
        let Ok(()) = own_fields(is_of_an_sdk, content_type, self.request_id, &mut |name, value| {
            put(name.as_bytes(), value);
            Ok::<_, Infallible>(())
        });
        // Some proxies take the caller's out before they set the one they are told.
        let version = forwarded(fields).find(|(name, _)| *name == SDK_VERSION.as_bytes());
        if let Some((name, value)) = version {
            put(name, value);
        }
        let goes_on = |name: &[u8]| {
            name == b"host"
                || (unread && name == b"content-type")
                || forwarded(fields).any(|(forwarded, _)| forwarded == name)
                || set.iter().any(|(set, _)| set.as_str().as_bytes() == name)
                || is_framing(name)
        };
        let mut drop: Vec<HeaderName> = Vec::new();
        for (name, _) in fields.iter().filter(|(name, _)| !goes_on(name)) {
            let name = HeaderName::from_bytes(name).ok().filter(|name| !drop.contains(name));
            drop.extend(name);
        }
        let (target, answer) = (permit.target().to_owned(), HeaderMap::new());
        Permitted { target, set, drop, answer, time: None }
    }
}

/// Headers that belong to the asking proxy's own connections.
fn is_framing(name: &[u8]) -> bool {
    matches!(name, b"content-length" | b"transfer-encoding")
}
