//! The smallest changes that would permit a request: what refuses is changed, and the request judged
//! again, until nothing refuses or no change of the token would help.

use jiff::SignedDuration;

use super::account::{Account, Change};
use super::request::Request;
use super::{Bench, Decision, judge};
use crate::policy::{
    AgentId, Asked, BoundHost, Denial, Grant, OriginHeader, Permission, Place, PolicyEntry,
};

/// How long the token is made to live.
const LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// Expiry, hostname and permission: nothing else of a token can refuse.
const ROUNDS_MAX: usize = 4;

/// Adds the changes to the account.
pub(super) fn find(
    account: &mut Account,
    bench: &Bench,
    mut grant: Grant,
    asked: &Asked<'_>,
    request: &Request,
) {
    for _ in 0..ROUNDS_MAX {
        let denial = match judge(bench, &grant, asked, request) {
            Decision::Denied(denial) => denial,
            Decision::Permit(_) => {
                account.permitted_after_changes = Some(true);
                return;
            }
            Decision::Owner(_) | Decision::Unreadable(_) => break,
        };
        let Some(how) = change_token(&mut grant, bench, asked, &denial) else {
            account.changes.push(elsewhere(bench, asked, &denial));
            break;
        };
        account.changes.push(Change { of: "policy", how, at: None });
    }
    account.permitted_after_changes = Some(false);
}

/// Changes the token so that this denial does not come again; says how.
fn change_token(
    grant: &mut Grant,
    bench: &Bench,
    asked: &Asked<'_>,
    denial: &Denial,
) -> Option<String> {
    match denial {
        Denial::TokenExpired => {
            grant.expires_at = bench.now.saturating_add(LIFETIME).ok()?;
            Some("create a new token: this one has expired".to_owned())
        }
        Denial::HostnameMismatch { .. } => {
            let hostname = match asked.whence.origin {
                OriginHeader::Web(origin) => origin.to_string(),
                OriginHeader::Absent => asked.whence.host.to_string(),
                OriginHeader::Opaque => return None,
            };
            grant.host = BoundHost::parse(&hostname).ok()?;
            Some(format!("\"hostname\": {}", serde_json::Value::from(hostname)))
        }
        Denial::PermissionDenied { permission, agent, .. } => {
            let agent = agent.or(bench.owner)?;
            if grant.allows(agent, *permission) {
                return None;
            }
            let access = [*permission].into_iter().collect();
            grant.entries.push(PolicyEntry { agent, access });
            Some(entry(agent, *permission))
        }
        Denial::RouteNotAllowed { .. }
        | Denial::ParameterNotAllowed { .. }
        | Denial::MalformedBody { .. } => None,
    }
}

/// The entry of a token's policy that gives this permission.
pub(super) fn entry(agent: AgentId, permission: Permission) -> String {
    format!(r#"add {{"type":"agent","id":"{agent}","access":["{permission}"]}}"#)
}

/// A change that is not the token's.
fn elsewhere(bench: &Bench, asked: &Asked<'_>, denial: &Denial) -> Change {
    let found = bench.table.routes.look_up(asked.method, &asked.path);
    let lines = found.map(|(operation, _)| operation.lines);
    let of_request = |how: String| Change { of: "request", how, at: None };
    match denial {
        Denial::RouteNotAllowed { operation: Some(operation), .. } => Change {
            of: "routes",
            how: format!(
                "give `{operation}` an entry in [[operations]] with a `permission`, in the place \
                 of this one, if your agents' users may have it"
            ),
            at: lines.map(|lines| bench.rule(lines.entry)),
        },
        Denial::RouteNotAllowed { operation: None, .. } => Change {
            of: "routes",
            how: format!(
                "add an entry in [[operations]] for {} {}, with a `permission` and the place of \
                 the agent",
                asked.method, asked.path
            ),
            at: Some(bench.table.file.clone()),
        },
        Denial::ParameterNotAllowed {
            place: place @ (Place::Query | Place::Body), name, ..
        } => {
            let (word, line) = match place {
                Place::Query => ("query", lines.and_then(|lines| lines.query)),
                _ => ("body", lines.and_then(|lines| lines.body)),
            };
            let line = line.or(lines.map(|lines| lines.entry));
            Change {
                of: "routes",
                how: format!(
                    "admit it in the operation's `{word}`, if your agents' users may have it; or \
                     send the request without `{name}`"
                ),
                at: line.map(|line| bench.rule(line)),
            }
        }
        Denial::ParameterNotAllowed { place: Place::Path, name, .. } => {
            of_request(format!("send a well-formed `{name}`"))
        }
        Denial::PermissionDenied { .. } => {
            of_request("name an agent of the token, or what belongs to one".to_owned())
        }
        Denial::HostnameMismatch { .. } => of_request("send one web origin as `Origin`".to_owned()),
        Denial::MalformedBody { .. } => of_request("send strict JSON".to_owned()),
        Denial::TokenExpired => of_request("use a live token".to_owned()),
    }
}
