use std::fmt;

/// Where a request for an operation names the agent. Wherever else it names one, it must be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentPlace {
    /// The path's `{agent_id}`.
    Path,
    /// This query key.
    Query(Box<str>),
    /// This body field.
    Body(Box<str>),
    /// The path's `{conversation_id}`, whose agent is looked up.
    Conversation,
    /// The same; or the id is an agent's, or `default`, for which query or body name it in
    /// `agent_id`.
    ConversationOrAgent,
    /// The path's `{run_id}`, whose agent is looked up.
    Run,
}

impl AgentPlace {
    /// The key and field that name the agent where the path says `default`.
    pub(super) const BESIDE_DEFAULT: &'static str = "agent_id";

    /// Reads the word of a route table.
    pub(super) fn parse(word: &str) -> Result<Self, String> {
        match (word, word.split_once('.')) {
            ("path", _) => Ok(Self::Path),
            ("conversation", _) => Ok(Self::Conversation),
            ("conversation_or_agent", _) => Ok(Self::ConversationOrAgent),
            ("run", _) => Ok(Self::Run),
            (_, Some(("query", key))) if !key.is_empty() => Ok(Self::Query(key.into())),
            (_, Some(("body", field))) if !field.is_empty() => Ok(Self::Body(field.into())),
            _ => Err(format!(
                "`{word}` is no place of the agent: use `path`, `query.KEY`, `body.FIELD`, \
                 `conversation`, `conversation_or_agent` or `run`"
            )),
        }
    }

    /// Whether the agent may have to be looked up.
    #[must_use]
    pub fn is_looked_up(&self) -> bool {
        matches!(self, Self::Conversation | Self::ConversationOrAgent | Self::Run)
    }

    /// The path parameter that names the agent, or what belongs to it.
    pub(super) fn path_parameter(&self) -> Option<&'static str> {
        match self {
            Self::Path => Some("agent_id"),
            Self::Conversation | Self::ConversationOrAgent => Some("conversation_id"),
            Self::Run => Some("run_id"),
            Self::Query(_) | Self::Body(_) => None,
        }
    }
}

/// As a route table writes it.
impl fmt::Display for AgentPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("path"),
            Self::Query(key) => write!(f, "query.{key}"),
            Self::Body(field) => write!(f, "body.{field}"),
            Self::Conversation => f.write_str("conversation"),
            Self::ConversationOrAgent => f.write_str("conversation_or_agent"),
            Self::Run => f.write_str("run"),
        }
    }
}
