use jiff::Timestamp;
use smallvec::SmallVec;

use super::{AgentId, BoundHost, Permission, Permissions};

/// One line of a token's policy: what it may do with one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyEntry {
    /// The agent.
    pub agent: AgentId,
    /// What is permitted with it; never empty.
    pub access: Permissions,
}

/// The entries of a policy: one, the usual number, needs no memory of its own, and is where the record is.
pub type PolicyEntries = SmallVec<[PolicyEntry; 1]>;

/// What a live record permits: these agents, from this host, until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Where requests must come from.
    pub host: BoundHost,
    /// The first moment at which nothing is permitted any more, to the millisecond.
    pub expires_at: Timestamp,
    /// At most one entry an agent, in the order in which they were given.
    pub entries: PolicyEntries,
}

impl Grant {
    /// Whether some entry names `agent` with `permission`.
    #[must_use]
    pub fn allows(&self, agent: AgentId, permission: Permission) -> bool {
        self.entries.iter().any(|entry| entry.agent == agent && entry.access.contains(permission))
    }

    /// Whether some entry has `permission`, for whatever agent.
    #[must_use]
    pub fn allows_any(&self, permission: Permission) -> bool {
        self.entries.iter().any(|entry| entry.access.contains(permission))
    }

    /// What is permitted with `agent`.
    #[must_use]
    pub fn access_to(&self, agent: AgentId) -> Permissions {
        let entries = self.entries.iter().filter(|entry| entry.agent == agent);
        entries.fold(Permissions::NONE, |access, entry| access.union(entry.access))
    }
}
