//! What may be asked (operations, in a table), where (a canonical path), by whom (a grant), and the
//! answer: a permit or a denial.
//!
//! Does no I/O and never asks for the time. Leaves secrets to `token` and status codes to the data
//! path. Must always hold: nothing granted means nothing allowed, and what is sent upstream is
//! rebuilt from what was judged.

mod agent_id;
mod agent_place;
mod asked;
mod body;
mod decide;
mod denial;
mod grant;
mod hex;
mod host;
mod host_name;
mod json_keys;
mod owned_id;
mod path;
mod permission;
mod query;
mod query_rule;
mod redact;
mod route;
mod route_file;
mod route_row;
mod shape;
mod template;

#[cfg(test)]
mod tests;

pub use agent_id::{AgentId, InvalidAgentId};
pub use agent_place::AgentPlace;
pub use asked::{Asked, Bounds, OriginHeader, Rules, Whence, WithoutOrigin};
pub use body::BodyRule;
pub use decide::{
    Judged, PendingBody, PendingOwner, Permit, PermittedBody, decide, permit_in_shadow_mode,
    permit_server_key,
};
pub use denial::{Denial, Place};
pub use grant::{Grant, PolicyEntries, PolicyEntry};
pub use hex::hex;
pub use host::{Authority, BoundHost, HOSTNAME_LENGTH_MAX, InvalidHostname, Scheme, WebOrigin};
pub use owned_id::OwnedId;
pub use path::{CanonicalPath, PathRefusal};
pub use permission::{Permission, Permissions, UnknownPermission};
pub use query::{Query, QueryRefusal};
pub use query_rule::QueryRule;
pub use redact::{Unreadable, redact};
pub use route::{Lines, Operation, RouteTable, Verdict};
pub use route_file::RouteProblem;
pub use route_row::RouteRow;
