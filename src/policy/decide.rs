//! The decision: a pure function, no I/O, time passed in. The only file that creates a [`Permit`].
//!
//! What it cannot know by itself it asks for, in types: who owns what the path names
//! ([`PendingOwner`]), and what the body says ([`PendingBody`]). Nothing goes on without the answer.

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;

use super::asked::{Asked, Bounds, OriginHeader, Rules, Whence, WithoutOrigin};
use super::body::{BodyRefusal, JudgedBody};
use super::denial::{Denial, Place};
use super::query_rule::agent_in;
use super::route::{Matched, Operation, RouteTable, Verdict};
use super::template::Naming;
use super::{AgentId, AgentPlace, Grant, OwnedId, Permission, Query};

/// What the head of a request came to.
#[derive(Debug)]
pub enum Judged<'t, 'r> {
    /// It may go on as it is.
    Permit(Permit<'t>),
    /// It may go on if the agent that owns what it names is one it may reach.
    OwnerFirst(PendingOwner<'t, 'r>),
    /// It may go on if its body is in order.
    BodyFirst(PendingBody<'t, 'r>),
}

/// Proof that a request was judged and may go; the upstream request is built from it alone.
///
/// Cannot be made outside this file and cannot be cloned.
#[derive(Debug)]
pub struct Permit<'t> {
    operation: Option<&'t Operation>,
    agent: Option<AgentId>,
    method: Method,
    target: String,
    body: PermittedBody,
    body_fields: u64,
}

/// The body a permit lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermittedBody {
    /// None at all.
    Nothing,
    /// Exactly these bytes of JSON, which were judged.
    Inspected(Bytes),
    /// Whatever the caller sends, within the limits: only for server keys, and in shadow mode.
    Unread,
}

/// A request that names something whose agent has to be looked up.
#[derive(Debug)]
pub struct PendingOwner<'t, 'r> {
    found: Found<'t, 'r>,
    id: OwnedId,
}

/// A request that was judged but for its body.
#[derive(Debug)]
pub struct PendingBody<'t, 'r> {
    found: Found<'t, 'r>,
    /// The agent it was judged for; none when the body names it.
    agent: Option<AgentId>,
    target: String,
}

/// A request whose route was found and is open to client tokens.
#[derive(Debug)]
struct Found<'t, 'r> {
    grant: &'r Grant,
    method: &'r Method,
    query: Query<'r>,
    matched: Matched<'t, 'r>,
    permission: Permission,
    bounds: Bounds,
}

/// Judges the head of a client token's request. The first step that fails wins, in the order of the
/// decision table: expiry, hostname, route, permission, query.
pub fn decide<'t, 'r>(
    rules: Rules<'t>,
    grant: &'r Grant,
    asked: &Asked<'r>,
    now: Timestamp,
) -> Result<Judged<'t, 'r>, Denial> {
    if now >= grant.expires_at {
        return Err(Denial::TokenExpired);
    }
    judge_hostname(rules.without_origin, grant, &asked.whence)?;
    let matched = rules
        .routes
        .find(asked.method, &asked.path)
        .ok_or(Denial::RouteNotAllowed { operation: None, reason: None })?;
    let permission = match &matched.operation.verdict {
        Verdict::Open { permission } => *permission,
        Verdict::Refused { reason } => {
            return Err(Denial::RouteNotAllowed {
                operation: Some(matched.operation.name.clone()),
                reason: Some(reason.clone()),
            });
        }
    };
    let bounds = rules.bounds;
    let found =
        Found { grant, method: asked.method, query: asked.query, matched, permission, bounds };
    // What such a token may never have is not worth a look-up or a body.
    if !grant.allows_any(permission) {
        return Err(found.denied(found.matched.agent_in_path()));
    }
    found.judge_agent()
}

impl<'t, 'r> Found<'t, 'r> {
    /// Finds out which agent the request is for, and judges it for that agent.
    fn judge_agent(self) -> Result<Judged<'t, 'r>, Denial> {
        let operation = self.matched.operation;
        match &operation.agent {
            AgentPlace::Query(key) => {
                let agent = agent_in(self.query, key)?;
                self.judge_for(agent)
            }
            AgentPlace::Body(_) => self.judge_for_body(),
            AgentPlace::Path
            | AgentPlace::Conversation
            | AgentPlace::ConversationOrAgent
            | AgentPlace::Run => match self.matched.naming() {
                Some(Naming::Agent(agent)) => self.judge_for(Some(agent)),
                Some(Naming::Owned(id)) => Ok(Judged::OwnerFirst(PendingOwner { found: self, id })),
                Some(Naming::Elsewhere)
                    if operation.query.names_agent_in(AgentPlace::BESIDE_DEFAULT) =>
                {
                    let agent = agent_in(self.query, AgentPlace::BESIDE_DEFAULT)?;
                    self.judge_for(agent)
                }
                Some(Naming::Elsewhere) => self.judge_for_body(),
                None => Err(self.denied(None)),
            },
        }
    }

    /// Judges the request for this agent: permission, query; the body is still to come.
    fn judge_for(self, agent: Option<AgentId>) -> Result<Judged<'t, 'r>, Denial> {
        let Some(agent) = agent.filter(|agent| self.grant.allows(*agent, self.permission)) else {
            return Err(self.denied(agent));
        };
        let target = self.target(Some(agent))?;
        let operation = self.matched.operation;
        if operation.body.is_some() {
            return Ok(Judged::BodyFirst(PendingBody { found: self, agent: Some(agent), target }));
        }
        Ok(Judged::Permit(Permit {
            operation: Some(operation),
            agent: Some(agent),
            method: self.method.clone(),
            target,
            body: PermittedBody::Nothing,
            body_fields: 0,
        }))
    }

    /// Leaves the agent, and the permission for it, to the body.
    fn judge_for_body(self) -> Result<Judged<'t, 'r>, Denial> {
        let target = self.target(None)?;
        Ok(Judged::BodyFirst(PendingBody { found: self, agent: None, target }))
    }

    fn target(&self, agent: Option<AgentId>) -> Result<String, Denial> {
        let mut target = self.matched.path(agent).map_err(|name| Denial::ParameterNotAllowed {
            place: Place::Path,
            name: name.to_owned(),
            problem: "is not well formed".to_owned(),
        })?;
        let rule = &self.matched.operation.query;
        let pairs_max = self.bounds.query_pairs_max;
        rule.append_admitted(self.query, agent, pairs_max, &mut target)?;
        Ok(target)
    }

    fn denied(&self, agent: Option<AgentId>) -> Denial {
        let operation = self.matched.operation.name.clone();
        Denial::PermissionDenied { operation, permission: self.permission, agent }
    }
}

impl<'t, 'r> PendingOwner<'t, 'r> {
    /// What has to be looked up.
    #[must_use]
    pub fn id(&self) -> OwnedId {
        self.id
    }

    /// Goes on with the agent that owns it. `None`: there is no such thing, which the caller is
    /// told in the same words as that it is not the token's.
    pub fn judge_owner(self, owner: Option<AgentId>) -> Result<Judged<'t, 'r>, Denial> {
        self.found.judge_for(owner)
    }
}

impl<'t> PendingBody<'t, '_> {
    /// The operation that was asked for.
    #[must_use]
    pub fn operation(&self) -> &'t Operation {
        self.found.matched.operation
    }

    /// Judges the whole body; an empty one asks for nothing beyond the operation itself.
    pub fn judge_body(self, body: Bytes) -> Result<Permit<'t>, Denial> {
        let operation = self.operation();
        let rule = operation.body.as_ref();
        let rule = rule.ok_or(Denial::RouteNotAllowed { operation: None, reason: None })?;
        let (judged, body) = if body.is_empty() {
            (JudgedBody { agent: self.agent, fields: 0 }, PermittedBody::Nothing)
        } else {
            let judged = rule.judge(&body, self.found.bounds, self.agent);
            (judged.map_err(refusal)?, PermittedBody::Inspected(body))
        };
        let Some(agent) = judged.agent else { return Err(agent_missing(&operation.agent)) };
        if !self.found.grant.allows(agent, self.found.permission) {
            return Err(self.found.denied(Some(agent)));
        }
        Ok(Permit {
            operation: Some(operation),
            agent: Some(agent),
            method: self.found.method.clone(),
            target: self.target,
            body,
            body_fields: judged.fields,
        })
    }
}

fn refusal(refusal: BodyRefusal) -> Denial {
    match refusal {
        BodyRefusal::NotStrictJson(problem) => Denial::MalformedBody { problem },
        BodyRefusal::NotAdmitted { name, problem } => {
            Denial::ParameterNotAllowed { place: Place::Body, name, problem }
        }
    }
}

fn agent_missing(place: &AgentPlace) -> Denial {
    let name = match place {
        AgentPlace::Body(field) => &**field,
        _ => AgentPlace::BESIDE_DEFAULT,
    };
    Denial::ParameterNotAllowed {
        place: Place::Body,
        name: name.to_owned(),
        problem: "is missing: it names the agent".to_owned(),
    }
}

/// The permit of a server key: every canonical request passes, in the route's own slash form.
#[must_use]
pub fn permit_server_key<'t>(routes: &'t RouteTable, asked: &Asked<'_>) -> Permit<'t> {
    let operation = routes.find(asked.method, &asked.path).map(|matched| matched.operation);
    let slash = operation.map_or(asked.path.has_trailing_slash(), Operation::has_trailing_slash);
    let mut target = String::with_capacity(asked.path.text().len() + 1);
    target.push_str(asked.path.text());
    if slash {
        target.push('/');
    }
    if let Some(query) = asked.query.text() {
        target.push('?');
        target.push_str(query);
    }
    Permit {
        operation,
        agent: None,
        method: asked.method.clone(),
        target,
        body: PermittedBody::Unread,
        body_fields: 0,
    }
}

/// The permit of a request that the policy refuses, in an account whose refusals do not hold (shadow
/// mode): as it was asked, with the body that was read for the judgement, if it was.
#[must_use]
pub fn permit_in_shadow_mode<'t>(
    routes: &'t RouteTable,
    asked: &Asked<'_>,
    read: Option<Bytes>,
) -> Permit<'t> {
    let permit = permit_server_key(routes, asked);
    let body = read.map_or(PermittedBody::Unread, PermittedBody::Inspected);
    Permit { body, ..permit }
}

impl<'t> Permit<'t> {
    /// The operation, where the table knows one.
    #[must_use]
    pub fn operation(&self) -> Option<&'t Operation> {
        self.operation
    }

    /// The agent it was judged for; none for a server key, which is judged for none.
    #[must_use]
    pub fn agent(&self) -> Option<AgentId> {
        self.agent
    }

    /// The method to send.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target to send: path rebuilt from the route and its ids, and the admitted query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether its body was looked at.
    #[must_use]
    pub fn is_inspected(&self) -> bool {
        matches!(self.body, PermittedBody::Inspected(_))
    }

    /// The names of the fields at the top of an inspected body, in alphabetical order.
    pub fn body_fields(&self) -> impl Iterator<Item = &str> {
        let rule = self.operation.and_then(|operation| operation.body.as_ref());
        rule.into_iter().flat_map(|rule| rule.names_of(self.body_fields))
    }

    /// What is sent, and uses the permit up: method, target and body.
    #[must_use]
    pub fn into_parts(self) -> (Method, String, PermittedBody) {
        (self.method, self.target, self.body)
    }

    /// The body to send.
    #[must_use]
    pub fn body(&self) -> &PermittedBody {
        &self.body
    }
}

fn judge_hostname(
    without_origin: WithoutOrigin,
    grant: &Grant,
    whence: &Whence<'_>,
) -> Result<(), Denial> {
    let matches = match whence.origin {
        OriginHeader::Web(origin) => grant.host.matches_origin(&origin),
        OriginHeader::Opaque => false,
        OriginHeader::Absent => {
            grant.host.matches_host(&whence.host)
                || (without_origin == WithoutOrigin::Allow && !whence.from_browser)
        }
    };
    if matches {
        return Ok(());
    }
    let seen = match whence.origin {
        OriginHeader::Web(origin) => format!("Origin `{origin}`"),
        OriginHeader::Opaque => "an Origin that is not one web origin".to_owned(),
        OriginHeader::Absent => format!("no Origin and Host `{}`", whence.host),
    };
    Err(Denial::HostnameMismatch { bound: grant.host.serialised().to_owned(), seen })
}
