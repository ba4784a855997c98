//! The route table: every operation of the agents API, what it needs and what it admits, as data.

use std::collections::BTreeMap;

use http::Method;

use super::body::BodyRule;
use super::path::{decode, encode_onto};
use super::query_rule::QueryRule;
use super::{AgentId, CanonicalPath, Permission};

/// The operations of the agents API. Whatever is not in the table is refused.
#[derive(Debug)]
pub struct RouteTable {
    router: matchit::Router<Vec<usize>>,
    operations: Vec<Operation>,
}

/// One thing a caller can ask of the agents API.
#[derive(Debug)]
pub struct Operation {
    /// Its name, such as `agents.messages.create`: unique, and safe as a metric label.
    pub name: Box<str>,
    /// The methods it answers to. `HEAD` is judged as `GET`.
    pub methods: Vec<Method>,
    /// Whether it is open to client tokens.
    pub verdict: Verdict,
    /// The query keys it admits.
    pub query: QueryRule,
    /// The body it admits; `None` admits none at all.
    pub body: Option<BodyRule>,
    /// Keys removed from its JSON answers, wherever they stand.
    pub redact: Vec<Box<str>>,
    /// Whether its answer may be an event stream.
    pub streams: bool,
    /// The line of the table's file on which it begins.
    pub line: usize,
    template: Template,
}

/// Whether an operation is open to client tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Open to a token that has this permission for the agent.
    Open {
        /// The permission.
        permission: Permission,
    },
    /// Closed to every client token.
    Refused {
        /// Why, in words for the developer.
        reason: Box<str>,
    },
}

/// A path template, in the slash form the route has upstream.
#[derive(Debug)]
struct Template {
    text: Box<str>,
    parts: Vec<Part>,
    trailing_slash: bool,
}

#[derive(Debug)]
enum Part {
    Literal(Box<str>),
    Parameter { name: Box<str>, kind: ParameterKind },
}

/// What a path parameter may be. Told from its name: `{agent_id}` is an agent id, `{message_id}` is
/// `message-` and a UUID of version 4, anything not ending in `_id` is free text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ParameterKind {
    Agent,
    Id { prefix: Box<str> },
    Text,
}

/// A route found for a request.
#[derive(Debug)]
pub(super) struct Matched<'t, 'r> {
    pub(super) operation: &'t Operation,
    /// The agent that the path names, when it is well formed.
    pub(super) agent: Option<AgentId>,
    parameters: matchit::Params<'t, 'r>,
}

/// Longest free-text path parameter, in bytes once decoded.
const TEXT_PARAMETER_LENGTH_MAX: usize = 256;

impl RouteTable {
    /// A table of these operations, or the index of the first whose path cannot stand beside the
    /// earlier ones and why.
    pub(super) fn assemble(operations: Vec<Operation>) -> Result<Self, Vec<(usize, String)>> {
        let mut by_path: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, operation) in operations.iter().enumerate() {
            by_path.entry(operation.template.match_text().to_owned()).or_default().push(index);
        }
        let mut router = matchit::Router::new();
        let mut problems = Vec::new();
        for (path, indices) in by_path {
            let first = indices.first().copied().unwrap_or(0);
            if let Err(conflict) = router.insert(path, indices) {
                problems.push((first, conflict.to_string()));
            }
        }
        if problems.is_empty() { Ok(Self { router, operations }) } else { Err(problems) }
    }

    /// Every operation, in the order of the file.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation that answers to this method and path, one trailing slash more or less aside.
    pub(super) fn find<'t, 'r>(
        &'t self,
        method: &Method,
        path: &CanonicalPath<'r>,
    ) -> Option<Matched<'t, 'r>> {
        let found = self.router.at(path.text()).ok()?;
        let method = if method == Method::HEAD { &Method::GET } else { method };
        let operation = found
            .value
            .iter()
            .filter_map(|index| self.operations.get(*index))
            .find(|operation| operation.methods.contains(method))?;
        let agent = operation.template.agent_in(&found.params);
        Some(Matched { operation, agent, parameters: found.params })
    }

    /// The operation that a request asks for, and the agent its path names, for the log.
    pub fn look_up(
        &self,
        method: &Method,
        path: &CanonicalPath<'_>,
    ) -> Option<(&Operation, Option<AgentId>)> {
        self.find(method, path).map(|matched| (matched.operation, matched.agent))
    }

    /// The methods that the path answers to, for preflights; none when the path is unknown.
    pub fn methods_at(&self, path: &CanonicalPath<'_>) -> Vec<Method> {
        let indices = self.router.at(path.text()).map_or(&[][..], |found| found.value.as_slice());
        let open = |operation: &&Operation| matches!(operation.verdict, Verdict::Open { .. });
        indices
            .iter()
            .filter_map(|index| self.operations.get(*index))
            .filter(open)
            .flat_map(|operation| operation.methods.iter().cloned())
            .collect()
    }
}

impl Operation {
    pub(super) fn new(
        name: &str,
        methods: Vec<Method>,
        path: &str,
        verdict: Verdict,
    ) -> Result<Self, String> {
        Ok(Self {
            name: name.into(),
            methods,
            verdict,
            query: QueryRule::default(),
            body: None,
            redact: Vec::new(),
            streams: false,
            line: 0,
            template: Template::parse(path)?,
        })
    }

    /// The path template, as the table writes it.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.template.text
    }

    /// Whether the route's own form ends in a slash.
    #[must_use]
    pub fn has_trailing_slash(&self) -> bool {
        self.template.trailing_slash
    }

    /// Whether the path names the agent.
    pub(super) fn names_agent_in_path(&self) -> bool {
        self.template
            .parts
            .iter()
            .any(|part| matches!(part, Part::Parameter { kind: ParameterKind::Agent, .. }))
    }
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let trailing_slash = text.ends_with('/');
        let body = text.strip_prefix('/').ok_or("the path must start with `/`")?;
        let mut parts = Vec::new();
        let mut literal = String::new();
        for segment in body.trim_end_matches('/').split('/') {
            literal.push('/');
            match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                Some(name) if !name.is_empty() && !name.contains(['{', '}', '*']) => {
                    parts.push(Part::Literal(std::mem::take(&mut literal).into()));
                    parts
                        .push(Part::Parameter { name: name.into(), kind: ParameterKind::of(name) });
                }
                Some(name) => return Err(format!("`{{{name}}}` is not a parameter name")),
                None if segment.contains(['{', '}', '*', '%']) || segment.is_empty() => {
                    return Err(format!("`{segment}` is not a path segment"));
                }
                None => literal.push_str(segment),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        Ok(Self { text: text.into(), parts, trailing_slash })
    }

    fn match_text(&self) -> &str {
        self.text.strip_suffix('/').unwrap_or(&self.text)
    }

    fn agent_in(&self, parameters: &matchit::Params<'_, '_>) -> Option<AgentId> {
        self.parts.iter().find_map(|part| match part {
            Part::Parameter { name, kind: ParameterKind::Agent } => {
                AgentId::parse(parameters.get(name)?).ok()
            }
            _ => None,
        })
    }
}

impl ParameterKind {
    fn of(name: &str) -> Self {
        match name.strip_suffix("_id") {
            Some("agent") => Self::Agent,
            Some(stem) => Self::Id { prefix: format!("{stem}-").into() },
            None => Self::Text,
        }
    }
}

impl Matched<'_, '_> {
    /// The path to send, rebuilt from the template and the parsed parameters; the name of the first
    /// parameter that is not what the template says, otherwise.
    pub(super) fn path(&self) -> Result<String, &str> {
        let template = &self.operation.template;
        let mut path = String::with_capacity(template.text.len() + 48);
        for part in &template.parts {
            match part {
                Part::Literal(text) => path.push_str(text),
                Part::Parameter { name, kind } => {
                    let value = self.parameters.get(name).unwrap_or_default();
                    kind.append(value, &mut path).ok_or(&**name)?;
                }
            }
        }
        if template.trailing_slash {
            path.push('/');
        }
        Ok(path)
    }
}

impl ParameterKind {
    fn append(&self, value: &str, path: &mut String) -> Option<()> {
        match self {
            Self::Agent => AgentId::parse(value).ok()?.append_to(path),
            Self::Id { prefix } => {
                let uuid = value.strip_prefix(&**prefix)?;
                super::agent_id::parse_uuid4(uuid.as_bytes())?;
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
