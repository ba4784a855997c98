//! Steps 1 to 3: from a request's head to a permit or a refusal. The proxy and the decision API share
//! this, so that they cannot differ.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::body::BodyLimits;
use super::caller_body::CallerBody;
use super::core::Core;
use super::cors;
use super::handle::Line;
use super::identify::{Caller, KnownAccount, identify};
use super::intake::{Received, check_coding, intake, is_preflight};
use super::reject::Refusal;
use crate::audit::Operation;
use crate::cache::Known;
use crate::message::{Fields, Reply};
use crate::policy::{self, Denial, Judged, OriginHeader, Permit};
use crate::telemetry::Outcome;
use crate::token::Record;

/// What the first three steps come to.
pub(super) enum Decided<'a, B> {
    /// A browser's preflight, answered here.
    Preflight(Reply<Bytes>),
    /// A server key's request to the token API.
    TokenApi { account: &'a KnownAccount, body: B },
    /// It may go on.
    Permit {
        permit: Permit<'a>,
        account: &'a KnownAccount,
        /// The client token, and until when it may be believed to exist; none for a server key.
        known: Option<(Rc<Known>, Instant)>,
        /// A body that goes on unread.
        unread: Option<B>,
    },
}

/// A body on its way through the judgement.
enum Carried<B> {
    /// Nobody has looked at it.
    Unread(B),
    /// All of it was read.
    Read(Bytes),
    /// It was handed over, or could not be read.
    Taken,
}

impl<B: CallerBody> Carried<B> {
    fn admit_none(&self, fields: &Fields) -> Result<(), Refusal> {
        match self {
            Self::Unread(body) => body.admit_none(fields),
            Self::Read(_) | Self::Taken => Ok(()),
        }
    }

    /// All of it; kept here as well where a refusal of it does not hold.
    async fn whole(&mut self, limits: BodyLimits, is_kept: bool) -> Result<Bytes, Refusal> {
        let Self::Unread(body) = std::mem::replace(self, Self::Taken) else {
            // Not possible: a request's body is judged once.
            return Err(Refusal::malformed("the body cannot be read twice"));
        };
        let bytes = body.whole(limits).await?;
        if is_kept {
            *self = Self::Read(bytes.clone());
        }
        Ok(bytes)
    }

    /// What was read, and what was not.
    fn split(self) -> (Option<Bytes>, Option<B>) {
        match self {
            Self::Unread(body) => (None, Some(body)),
            Self::Read(bytes) => (Some(bytes), None),
            Self::Taken => (None, None),
        }
    }
}

impl<'a> Line<'a> {
    /// Steps 1 to 3: the whole judgement, with nothing forwarded yet.
    pub(super) async fn decide<B: CallerBody>(
        &mut self,
        body: B,
    ) -> Result<Decided<'a, B>, Refusal> {
        let core: &'a Core = self.core;
        let gate = &*core.gate;
        let head = self.head;
        let received = intake(head, |credential| core.expect(credential))?;
        self.note(|event| event.path = Some(received.asked.path.to_text()));
        if is_preflight(head) {
            self.note(|event| {
                event.operation = Operation::Own("preflight");
                event.outcome = Outcome::Answered;
            });
            let answer = cors::answer_preflight(gate, head, &received, self.now).await?;
            return Ok(Decided::Preflight(answer));
        }
        let caller = match identify(core, received.bearer, self.now).await {
            Ok(caller) => caller,
            Err(refusal) => {
                if let OriginHeader::Web(origin) = received.asked.whence.origin {
                    self.origin_allowed = cors::was_preflighted(gate, &origin);
                }
                return Err(refusal);
            }
        };
        match caller {
            Caller::ServerKey(account) => {
                self.note(|event| event.account = Some(account.name.clone()));
                if received.is_token_api {
                    return Ok(Decided::TokenApi { account, body });
                }
                let permit = policy::permit_server_key(&gate.routes, &received.asked);
                let operation = self.core.name(permit.operation());
                self.note(|event| event.operation = operation);
                let unread = body.is_announced(head.fields()).then_some(body);
                Ok(Decided::Permit { permit, account, known: None, unread })
            }
            Caller::Token { known, account } => {
                let record = &known.record;
                self.note(|event| {
                    event.account = Some(account.name.clone());
                    event.token = Some(record.id);
                });
                let (mut body, mut taken) = (Carried::Unread(body), false);
                let authorized =
                    self.authorize(&known, account, &received, &mut body, &mut taken).await;
                self.note_decision(record, &received, &authorized);
                let (permit, until, unread) = match authorized {
                    Ok((permit, until)) => (permit, until, None),
                    Err(Refusal::Denied(denial))
                        if !account.enforce && !received.is_token_api && denial.is_of_policy() =>
                    {
                        if !taken {
                            gate.rates.take(&known.rate).map_err(Refusal::RateLimited)?;
                        }
                        self.note_shadow(&Refusal::Denied(denial));
                        let (read, unread) = body.split();
                        let unread = unread.filter(|body| body.is_announced(head.fields()));
                        let asked = &received.asked;
                        let permit = policy::permit_in_shadow_mode(&gate.routes, asked, read);
                        (permit, self.still_live(&known).await?, unread)
                    }
                    Err(refusal) => return Err(refusal),
                };
                self.core.count(&known, permit.operation(), self.now);
                Ok(Decided::Permit { permit, account, known: Some((known, until)), unread })
            }
        }
    }

    /// Step 3: the decision, with what it has to ask for: an owner, a body. Then the token's rate, of
    /// which `taken` tells whether the request has taken.
    async fn authorize<B: CallerBody>(
        &mut self,
        known: &Known,
        account: &KnownAccount,
        received: &Received<'_>,
        body: &mut Carried<B>,
        taken: &mut bool,
    ) -> Result<(Permit<'a>, Instant), Refusal> {
        let core: &'a Core = self.core;
        let gate = &*core.gate;
        let record = &known.record;
        if let OriginHeader::Web(origin) = received.asked.whence.origin {
            self.origin_allowed = record.grant.host.matches_origin(&origin);
        }
        let rules = policy::Rules {
            routes: &gate.routes,
            without_origin: gate.rules.without_origin,
            bounds: gate.rules.bounds,
        };
        let mut judged = policy::decide(rules, &record.grant, &received.asked, self.now);
        let mut waited = false;
        if let Ok(Judged::OwnerFirst(pending)) = judged {
            // A look-up costs the upstream as much as a request.
            gate.rates.take(&known.rate).map_err(Refusal::RateLimited)?;
            (*taken, waited) = (true, true);
            // On the heap, like all that few requests wait for: each connection has room for the rest.
            let asked = gate.owners.find(core, account, pending.id(), self.request_id);
            let owner = Box::pin(asked).await;
            judged = pending.judge_owner(owner.map_err(Refusal::OwnerUnavailable)?);
        }
        let permit = match judged {
            Err(denial) => return Err(Refusal::Denied(denial)),
            Ok(Judged::Permit(permit)) => {
                body.admit_none(self.head.fields())?;
                permit
            }
            Ok(Judged::BodyFirst(pending)) => {
                check_coding(self.head.fields())?;
                let body = body.whole(gate.rules.inspected_body, !account.enforce).await?;
                waited = true;
                pending.judge_body(body).map_err(Refusal::Denied)?
            }
            // The answer on the owner asks for no other owner.
            Ok(Judged::OwnerFirst(_)) => {
                let denial = Denial::RouteNotAllowed { operation: None, reason: None };
                return Err(Refusal::Denied(denial));
            }
        };
        let until = if waited { self.still_live(known).await? } else { known.found.until };
        if !*taken {
            gate.rates.take(&known.rate).map_err(Refusal::RateLimited)?;
        }
        Ok((permit, until))
    }

    /// Takes note of a refusal that does not hold.
    fn note_shadow(&mut self, refusal: &Refusal) {
        self.note(|event| {
            event.shadow = true;
            event.reason = Some(refusal.code());
            event.detail = Some(refusal.detail());
        });
    }

    /// A body or an owner may have taken a while to come: the token may have gone meanwhile. Until
    /// when it may be believed that it has not.
    async fn still_live(&self, known: &Known) -> Result<Instant, Refusal> {
        let gate = &*self.core.gate;
        let record = &known.record;
        let exists = gate.records.still_exists(record.id, known.found).await;
        let Some(until) = exists.map_err(Refusal::StoreUnavailable)? else {
            return Err(Refusal::token_invalid("deleted a moment ago"));
        };
        if gate.clock.now() >= record.grant.expires_at {
            return Err(Refusal::Denied(Denial::TokenExpired));
        }
        Ok(until)
    }

    /// What a decision was about, as far as it is known: enough to judge it again from the log.
    fn note_decision(
        &mut self,
        record: &Record,
        received: &Received<'_>,
        authorized: &Result<(Permit<'_>, Instant), Refusal>,
    ) {
        let asked = &received.asked;
        let (operation, agent) = match authorized {
            Ok((permit, _)) => (permit.operation(), permit.agent()),
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
        let permit = authorized.as_ref().ok().map(|(permit, _)| permit);
        let inspected = permit.filter(|permit| permit.is_inspected());
        let body_fields =
            inspected.map(|permit| permit.body_fields().collect::<Vec<_>>().join(","));
        let parameter = match authorized {
            Err(Refusal::Denied(Denial::ParameterNotAllowed { place, name, .. })) => {
                Some(format!("{} {name}", place.as_str()))
            }
            _ => None,
        };
        self.note(|event| {
            event.operation = operation;
            event.body_fields = body_fields;
            event.parameter = parameter;
            event.agent = agent;
            event.access = agent.map(|agent| record.grant.access_to(agent));
            event.query_keys = asked.query.key_list();
        });
    }
}
