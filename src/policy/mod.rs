//! What may be asked, where, by whom, and the answer.
mod agent_id;
mod grant;
mod host;
mod permission;

pub use agent_id::{AgentId, InvalidAgentId};
pub use grant::{Grant, PolicyEntry};
pub use host::{Authority, BoundHost, HOSTNAME_LENGTH_MAX, InvalidHostname, Scheme, WebOrigin};
pub use permission::{Permission, Permissions, UnknownPermission};
