mod agent_ids;
mod bodies;
mod bodies_of_messages;
mod decisions;
mod decisions_properties;
mod hosts;
mod hosts_properties;
mod origins;
mod paths;
mod permissions;
mod queries;
mod redaction;
mod route_files;

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;

use super::{
    AgentId, Asked, Authority, BoundHost, Bounds, CanonicalPath, Denial, Grant, Judged,
    OriginHeader, Permission, Permit, PolicyEntry, Query, RouteTable, Rules, WebOrigin, Whence,
    WithoutOrigin, decide,
};

const A: &str = "agent-11111111-1111-4111-8111-111111111111";
const B: &str = "agent-22222222-2222-4222-8222-222222222222";
const BOUND: &str = "https://app.test";

const EXPIRES_AT_SECONDS: i64 = 1_800_000_000;

/// The compiled-in table, read once.
fn built_in() -> &'static RouteTable {
    static ROUTES: std::sync::OnceLock<RouteTable> = std::sync::OnceLock::new();
    ROUTES.get_or_init(|| RouteTable::built_in().unwrap())
}

fn agent(id: &str) -> AgentId {
    AgentId::parse(id).unwrap()
}

fn before_expiry() -> Timestamp {
    Timestamp::from_second(EXPIRES_AT_SECONDS - 1).unwrap()
}

/// What a token bound to [`BOUND`] is granted.
fn grant(entries: &[(&str, &[Permission])]) -> Grant {
    let entry = |(id, access): &(&str, &[Permission])| PolicyEntry {
        agent: agent(id),
        access: access.iter().copied().collect(),
    };
    Grant {
        host: BoundHost::parse(BOUND).unwrap(),
        expires_at: Timestamp::from_second(EXPIRES_AT_SECONDS).unwrap(),
        entries: entries.iter().map(entry).collect(),
    }
}

fn from_bound_origin() -> Whence<'static> {
    Whence {
        origin: OriginHeader::Web(WebOrigin::parse(BOUND.as_bytes()).unwrap()),
        host: Authority::parse(b"gate.test").unwrap(),
        from_browser: true,
    }
}

fn rules(routes: &RouteTable) -> Rules<'_> {
    Rules {
        routes,
        without_origin: WithoutOrigin::Refuse,
        bounds: Bounds { json_depth_max: 16, ..Bounds::default() },
    }
}

/// A request as the policy sees it; its target must be canonical.
fn asked<'r>(method: &'r Method, target: &'r str) -> Asked<'r> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    Asked {
        method,
        path: CanonicalPath::parse(path).unwrap(),
        query: Query::parse(query).unwrap(),
        whence: from_bound_origin(),
    }
}

/// The permit for a request with a body; whatever has to be looked up belongs to nobody.
fn permit<'t>(
    routes: &'t RouteTable,
    grant: &Grant,
    asked: &Asked<'_>,
    body: &[u8],
) -> Result<Permit<'t>, Denial> {
    permit_owned(routes, grant, asked, (None, body))
}

/// The permit for a request with a body, on something that belongs to `owner`.
fn permit_owned<'t>(
    routes: &'t RouteTable,
    grant: &Grant,
    asked: &Asked<'_>,
    (owner, body): (Option<AgentId>, &[u8]),
) -> Result<Permit<'t>, Denial> {
    let mut judged = decide(rules(routes), grant, asked, before_expiry())?;
    loop {
        judged = match judged {
            Judged::Permit(permit) => return Ok(permit),
            Judged::OwnerFirst(pending) => pending.judge_owner(owner)?,
            Judged::BodyFirst(pending) => {
                return pending.judge_body(Bytes::copy_from_slice(body));
            }
        };
    }
}
