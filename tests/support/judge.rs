//! Judges requests as the gate does, without sockets: the head's facts, the decision, the owner,
//! the body.

use std::collections::HashMap;
use std::error::Error;

use bytes::Bytes;
use ckgate::policy::{
    AgentId, Asked, Authority, BoundHost, Bounds, CanonicalPath, Denial, Grant, Judged,
    OriginHeader, OwnedId, Permissions, Permit, PolicyEntry, Query, RouteTable, Rules, WebOrigin,
    Whence, WithoutOrigin, decide,
};
use http::{Method, Uri};
use jiff::{SignedDuration, Timestamp};

/// The agent that tokens here open.
pub(crate) const OWN: &str = "agent-11111111-1111-4111-8111-111111111111";
/// Somebody else's.
pub(crate) const OTHER: &str = "agent-22222222-2222-4222-8222-222222222222";
/// A conversation of [`OWN`].
pub(crate) const OWN_CONVERSATION: &str = "conv-11111111-1111-4111-8111-111111111111";
/// A conversation of [`OTHER`].
pub(crate) const OTHER_CONVERSATION: &str = "conv-22222222-2222-4222-8222-222222222222";
/// A run of [`OWN`].
pub(crate) const OWN_RUN: &str = "run-11111111-1111-4111-8111-111111111111";
/// A run of [`OTHER`].
pub(crate) const OTHER_RUN: &str = "run-22222222-2222-4222-8222-222222222222";

const ORIGIN: &str = "https://app.test";

/// Whatever a test trips over.
pub(crate) type Tested = Result<(), Box<dyn Error>>;

/// A route table, and who owns what.
pub(crate) struct Judge {
    /// The table.
    pub(crate) routes: RouteTable,
    owners: HashMap<OwnedId, AgentId>,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It may go: this agent, method and target.
    Permit { operation: String, agent: AgentId, target: String },
    /// It is refused by the policy.
    Deny(Denial),
    /// Its head is not canonical.
    Malformed,
}

impl Verdict {
    /// `permit`, or the code of the refusal.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Permit { .. } => "permit",
            Self::Deny(denial) => denial.code(),
            Self::Malformed => "malformed_request",
        }
    }
}

impl Judge {
    /// The table that is compiled in.
    pub(crate) fn built_in() -> Result<Self, Box<dyn Error>> {
        let routes = RouteTable::built_in().map_err(|problems| format!("{problems:?}"))?;
        Ok(Self::with(routes))
    }

    /// This table.
    pub(crate) fn with(routes: RouteTable) -> Self {
        let owned = [
            (OWN_CONVERSATION, OWN),
            (OTHER_CONVERSATION, OTHER),
            (OWN_RUN, OWN),
            (OTHER_RUN, OTHER),
        ];
        let pair = |(id, agent): (&str, &str)| OwnedId::parse(id).zip(AgentId::parse(agent).ok());
        Self { routes, owners: owned.into_iter().filter_map(pair).collect() }
    }

    /// What becomes of a request with a token that has `access` to [`OWN`].
    pub(crate) fn judge(
        &self,
        access: Permissions,
        method: &str,
        target: &str,
        body: &str,
    ) -> Verdict {
        self.try_judge(access, method, target, body).unwrap_or(Verdict::Malformed)
    }

    fn try_judge(
        &self,
        access: Permissions,
        method: &str,
        target: &str,
        body: &str,
    ) -> Option<Verdict> {
        let uri: Uri = target.parse().ok()?;
        if uri.scheme().is_some() || uri.authority().is_some() {
            return None;
        }
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        let now = Timestamp::UNIX_EPOCH;
        let grant = Grant {
            host: BoundHost::parse(ORIGIN).ok()?,
            expires_at: now.saturating_add(SignedDuration::from_secs(60)).ok()?,
            entries: [PolicyEntry { agent: AgentId::parse(OWN).ok()?, access }].into(),
        };
        let whence = Whence {
            origin: OriginHeader::Web(WebOrigin::parse(ORIGIN.as_bytes())?),
            host: Authority::parse(b"gate.test")?,
            from_browser: true,
        };
        let path = CanonicalPath::parse(uri.path()).ok()?;
        let query = Query::parse(uri.query()).ok()?;
        let asked = Asked { method: &method, path, query, whence };
        let rules = Rules {
            routes: &self.routes,
            without_origin: WithoutOrigin::Refuse,
            bounds: Bounds::default(),
        };
        Some(match self.permit(rules, &grant, &asked, now, body) {
            Ok(permit) => Verdict::Permit {
                operation: permit.operation()?.name.to_string(),
                agent: permit.agent()?,
                target: permit.target().to_owned(),
            },
            Err(denial) => Verdict::Deny(denial),
        })
    }

    fn permit<'t>(
        &self,
        rules: Rules<'t>,
        grant: &Grant,
        asked: &Asked<'_>,
        now: Timestamp,
        body: &str,
    ) -> Result<Permit<'t>, Denial> {
        let mut judged = decide(rules, grant, asked, now)?;
        if let Judged::OwnerFirst(pending) = judged {
            let owner = self.owners.get(&pending.id()).copied();
            judged = pending.judge_owner(owner)?;
        }
        match judged {
            Judged::Permit(permit) => Ok(permit),
            Judged::BodyFirst(pending) => {
                pending.judge_body(Bytes::copy_from_slice(body.as_bytes()))
            }
            Judged::OwnerFirst(_) => Err(Denial::RouteNotAllowed { operation: None, reason: None }),
        }
    }
}

/// Every permission.
pub(crate) fn everything() -> Permissions {
    ckgate::policy::Permission::ALL.into_iter().collect()
}
