//! The decision: one pure function, no I/O, time passed in. The only file that creates a [`Permit`].

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;

use super::body::BodyRefusal;
use super::denial::{Denial, Place};
use super::host::{Authority, WebOrigin};
use super::route::{Matched, Operation, RouteTable, Verdict};
use super::{CanonicalPath, Grant, Query};

/// Where a request says it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Whence<'r> {
    /// Its `Origin`.
    pub origin: OriginHeader<'r>,
    /// Its `Host`.
    pub host: Authority<'r>,
    /// Whether it carries `Sec-Fetch-Site`, which browsers always send and scripts cannot set.
    pub from_browser: bool,
}

/// The `Origin` header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginHeader<'r> {
    /// There is none.
    Absent,
    /// One web origin.
    Web(WebOrigin<'r>),
    /// `null`, or anything else that is not one web origin.
    Opaque,
}

/// What to do with a request that shows neither a matching `Origin` nor a matching `Host`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutOrigin {
    /// Refuse it.
    #[default]
    Refuse,
    /// Let it pass when it comes from no browser: no `Origin`, no `Sec-Fetch-Site`.
    Allow,
}

/// A request, as far as the policy looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Its path.
    pub path: CanonicalPath<'r>,
    /// Its query.
    pub query: Query<'r>,
    /// Where it comes from.
    pub whence: Whence<'r>,
}

/// The rules a request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'t> {
    /// The operations there are.
    pub routes: &'t RouteTable,
    /// What to do without an `Origin`.
    pub without_origin: WithoutOrigin,
    /// How deep the JSON of an inspected body may nest.
    pub json_depth_max: usize,
}

/// What the head of a request came to.
#[derive(Debug)]
pub enum Judged<'t> {
    /// It may go on as it is.
    Permit(Permit<'t>),
    /// It may go on if its body is in order.
    BodyFirst(PendingPermit<'t>),
}

/// Proof that a request was judged and may go; the upstream request is built from it alone.
///
/// Cannot be made outside this file and cannot be cloned.
#[derive(Debug)]
pub struct Permit<'t> {
    operation: Option<&'t Operation>,
    method: Method,
    target: String,
    body: PermittedBody,
}

/// The body a permit lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermittedBody {
    /// None at all.
    Nothing,
    /// Exactly these bytes of JSON, which were judged.
    Inspected(Bytes),
    /// Whatever the caller sends, within the limits: only for server keys.
    Unread,
}

/// A request that was judged but for its body.
#[derive(Debug)]
pub struct PendingPermit<'t> {
    permit: Permit<'t>,
    json_depth_max: usize,
}

/// Judges the head of a client token's request. The first step that fails wins, in the order of the
/// decision table: expiry, hostname, route, permission, query.
pub fn decide<'t>(
    rules: Rules<'t>,
    grant: &Grant,
    asked: &Asked<'_>,
    now: Timestamp,
) -> Result<Judged<'t>, Denial> {
    if now >= grant.expires_at {
        return Err(Denial::TokenExpired);
    }
    judge_hostname(rules.without_origin, grant, &asked.whence)?;
    let matched = rules
        .routes
        .find(asked.method, &asked.path)
        .ok_or(Denial::RouteNotAllowed { operation: None, reason: None })?;
    let operation = matched.operation;
    let permission = match &operation.verdict {
        Verdict::Open { permission } => *permission,
        Verdict::Refused { reason } => {
            return Err(Denial::RouteNotAllowed {
                operation: Some(operation.name.clone()),
                reason: Some(reason.clone()),
            });
        }
    };
    if !matched.agent.is_some_and(|agent| grant.allows(agent, permission)) {
        return Err(Denial::PermissionDenied { operation: operation.name.clone(), permission });
    }
    let target = target_of(&matched, asked.query)?;
    let permit = Permit {
        operation: Some(operation),
        method: asked.method.clone(),
        target,
        body: PermittedBody::Nothing,
    };
    Ok(match operation.body {
        Some(_) => {
            Judged::BodyFirst(PendingPermit { permit, json_depth_max: rules.json_depth_max })
        }
        None => Judged::Permit(permit),
    })
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
    Permit { operation, method: asked.method.clone(), target, body: PermittedBody::Unread }
}

impl<'t> PendingPermit<'t> {
    /// The operation that was asked for.
    #[must_use]
    pub fn operation(&self) -> Option<&'t Operation> {
        self.permit.operation
    }

    /// Judges the whole body; an empty one asks for nothing beyond the operation itself.
    pub fn judge_body(self, body: Bytes) -> Result<Permit<'t>, Denial> {
        if body.is_empty() {
            return Ok(self.permit);
        }
        let rule = self.permit.operation.and_then(|operation| operation.body.as_ref());
        let rule = rule.ok_or(Denial::RouteNotAllowed { operation: None, reason: None })?;
        rule.judge(&body, self.json_depth_max).map_err(|refusal| match refusal {
            BodyRefusal::NotStrictJson(problem) => Denial::MalformedBody { problem },
            BodyRefusal::NotAdmitted { name, problem } => {
                Denial::ParameterNotAllowed { place: Place::Body, name, problem }
            }
        })?;
        Ok(Permit { body: PermittedBody::Inspected(body), ..self.permit })
    }
}

impl<'t> Permit<'t> {
    /// The operation, where the table knows one.
    #[must_use]
    pub fn operation(&self) -> Option<&'t Operation> {
        self.operation
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

fn target_of(matched: &Matched<'_, '_>, query: Query<'_>) -> Result<String, Denial> {
    let mut target = matched.path().map_err(|name| Denial::ParameterNotAllowed {
        place: Place::Path,
        name: name.to_owned(),
        problem: "is not well formed".to_owned(),
    })?;
    matched.operation.query.append_admitted(query, &mut target)?;
    Ok(target)
}
