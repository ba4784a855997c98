use std::fmt;

use super::AgentId;
use super::agent_id::parse_uuid4;

/// The id of something that belongs to one agent for good, and whose agent the upstream tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnedId {
    /// `conv-` and a UUID.
    Conversation(u128),
    /// `run-` and a UUID.
    Run(u128),
}

impl OwnedId {
    /// Parses an id; only the canonical spelling is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, uuid) = text.split_once('-')?;
        let uuid = parse_uuid4(uuid.as_bytes())?;
        match kind {
            "conv" => Some(Self::Conversation(uuid)),
            "run" => Some(Self::Run(uuid)),
            _ => None,
        }
    }

    /// Whether it is a conversation's.
    #[must_use]
    pub const fn is_conversation(self) -> bool {
        matches!(self, Self::Conversation(_))
    }

    /// Where the upstream tells its agent, as `agent_id`.
    #[must_use]
    pub fn path(self) -> String {
        match self {
            Self::Conversation(_) => format!("/v1/conversations/{self}"),
            Self::Run(_) => format!("/v1/runs/{self}"),
        }
    }
}

impl fmt::Display for OwnedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, uuid) = match self {
            Self::Conversation(uuid) => ("conv", uuid),
            Self::Run(uuid) => ("run", uuid),
        };
        // Both are UUIDs of version 4, as an agent's is: the spelling is the same.
        let spelled = AgentId::from_u128(*uuid).map(|id| id.to_string()).unwrap_or_default();
        write!(f, "{kind}-{}", spelled.strip_prefix("agent-").unwrap_or_default())
    }
}
