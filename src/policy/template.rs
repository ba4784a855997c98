use super::agent_id::parse_uuid4;
use super::path::{decode, encode_onto};
use super::{AgentId, OwnedId};

/// A path template, in the slash form the route has upstream.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) text: Box<str>,
    pub(super) trailing_slash: bool,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Literal(Box<str>),
    Parameter { name: Box<str>, slot: &'static str, kind: ParameterKind },
}

/// What a path parameter may be, told from its name. Anything that does not end in `_id` is text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ParameterKind {
    /// `{agent_id}`: an agent id.
    Agent,
    /// `{conversation_id}`, where the operation says so: `conv-…`, `agent-…` or `default`.
    Conversation,
    /// `{message_id}`: `message-` and a UUID of version 4.
    Id { prefix: Box<str> },
    /// Free text, decoded and escaped anew.
    Text,
}

/// What a path's `{conversation_id}` or `{run_id}` says about the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// It is this agent.
    Agent(AgentId),
    /// It belongs to some agent, which has to be looked up.
    Owned(OwnedId),
    /// `default`: query or body name the agent.
    Elsewhere,
}

/// Longest free-text path parameter, in bytes once decoded.
const TEXT_PARAMETER_LENGTH_MAX: usize = 256;
/// What the matcher calls parameters, so that templates that differ in their names alone are one.
const SLOTS: [&str; 6] = ["0", "1", "2", "3", "4", "5"];
/// The word that stands for an agent's own conversation.
const DEFAULT_CONVERSATION: &str = "default";

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let trailing_slash = text.ends_with('/');
        let body = text.strip_prefix('/').ok_or("the path must start with `/`")?;
        let body = body.strip_suffix('/').unwrap_or(body);
        let mut parts: Vec<Part> = Vec::new();
        let mut slots = SLOTS.into_iter();
        let mut literal = String::new();
        for segment in body.split('/') {
            literal.push('/');
            match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                Some(name) if is_parameter_name(name) => {
                    if parts.iter().any(|part| part.is_named(name)) {
                        return Err(format!("the path has `{{{name}}}` twice"));
                    }
                    let slot = slots.next().ok_or("the path has too many parameters")?;
                    parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                    let kind = ParameterKind::of(name);
                    parts.push(Part::Parameter { name: name.into(), slot, kind });
                }
                Some(name) => return Err(format!("`{{{name}}}` is not a parameter name")),
                None if !is_literal_segment(segment) => {
                    return Err(format!("no canonical path has the segment `{segment}`"));
                }
                None => literal.push_str(segment),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self { text: text.into(), parts, trailing_slash })
    }

    /// What the matcher is given: without parameter names and without a trailing slash.
    pub(super) fn match_text(&self) -> String {
        let mut text = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Parameter { slot, .. } => {
                    text.push('{');
                    text.push_str(slot);
                    text.push('}');
                }
            }
        }
        text
    }

    pub(super) fn has(&self, parameter: &str) -> bool {
        self.parts.iter().any(|part| part.is_named(parameter))
    }

    /// Admits `agent-…` and `default` in the place of a conversation id.
    pub(super) fn admit_agents_as_conversations(&mut self) {
        for part in &mut self.parts {
            if let Part::Parameter { name, kind, .. } = part
                && &**name == "conversation_id"
            {
                *kind = ParameterKind::Conversation;
            }
        }
    }

    /// What the path says about the agent; `None` when the parameter is malformed, or not there.
    pub(super) fn naming(
        &self,
        parameter: &str,
        values: &matchit::Params<'_, '_>,
    ) -> Option<Naming> {
        let (slot, kind) = self.parts.iter().find_map(|part| match part {
            Part::Parameter { name, slot, kind } if &**name == parameter => Some((slot, kind)),
            _ => None,
        })?;
        let value = values.get(slot)?;
        match kind {
            ParameterKind::Agent => AgentId::parse(value).ok().map(Naming::Agent),
            ParameterKind::Conversation if value == DEFAULT_CONVERSATION => Some(Naming::Elsewhere),
            ParameterKind::Conversation => match AgentId::parse(value) {
                Ok(agent) => Some(Naming::Agent(agent)),
                Err(_) => {
                    OwnedId::parse(value).filter(|id| id.is_conversation()).map(Naming::Owned)
                }
            },
            ParameterKind::Id { prefix } if value.starts_with(&**prefix) => {
                OwnedId::parse(value).map(Naming::Owned)
            }
            ParameterKind::Id { .. } | ParameterKind::Text => None,
        }
    }

    /// The path to send, rebuilt from the template and the parsed parameters; the name of the first
    /// parameter that is not what the template says, otherwise. `agent` is what an agent id in the path
    /// was judged as.
    pub(super) fn build(
        &self,
        values: &matchit::Params<'_, '_>,
        agent: Option<AgentId>,
    ) -> Result<String, &str> {
        let mut path = String::with_capacity(self.text.len() + 96);
        for part in &self.parts {
            match part {
                Part::Literal(text) => path.push_str(text),
                Part::Parameter { name, slot, kind } => {
                    if let (ParameterKind::Agent, Some(agent)) = (kind, agent) {
                        agent.append_to(&mut path);
                        continue;
                    }
                    let value = values.get(slot).unwrap_or_default();
                    kind.append(value, &mut path).ok_or(&**name)?;
                }
            }
        }
        if self.trailing_slash {
            path.push('/');
        }
        Ok(path)
    }
}

fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether a canonical path can have the segment as it stands.
fn is_literal_segment(segment: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    !segment.is_empty() && !matches!(segment, "." | "..") && segment.bytes().all(plain)
}

impl Part {
    fn is_named(&self, parameter: &str) -> bool {
        matches!(self, Self::Parameter { name, .. } if &**name == parameter)
    }
}

impl ParameterKind {
    fn of(name: &str) -> Self {
        match name.strip_suffix("_id") {
            Some("agent") => Self::Agent,
            Some("conversation") => Self::Id { prefix: "conv-".into() },
            Some(stem) => Self::Id { prefix: format!("{stem}-").into() },
            None => Self::Text,
        }
    }

    fn append(&self, value: &str, path: &mut String) -> Option<()> {
        match self {
            Self::Agent => AgentId::parse(value).ok()?.append_to(path),
            Self::Conversation => {
                let agent = || AgentId::parse(value).is_ok();
                let conversation =
                    || matches!(OwnedId::parse(value), Some(id) if id.is_conversation());
                if value != DEFAULT_CONVERSATION && !agent() && !conversation() {
                    return None;
                }
                path.push_str(value);
            }
            Self::Id { prefix } => {
                let uuid = value.strip_prefix(&**prefix)?;
                parse_uuid4(uuid.as_bytes())?;
                path.push_str(value);
            }
            Self::Text => {
                let text = decode(value)?;
                if text.len() > TEXT_PARAMETER_LENGTH_MAX || text.chars().any(char::is_control) {
                    return None;
                }
                encode_onto(path, &text);
            }
        }
        Some(())
    }
}
