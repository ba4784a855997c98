//! The route table: every operation of the agents API, what it needs and what it admits, as data.

use std::collections::BTreeMap;

use http::Method;

use super::body::BodyRule;
use super::query_rule::QueryRule;
use super::template::{Naming, Template};
use super::{AgentId, AgentPlace, CanonicalPath, Permission};

/// The operations of the agents API. Whatever is not in the table is refused.
#[derive(Debug)]
pub struct RouteTable {
    router: matchit::Router<Vec<usize>>,
    operations: Vec<Operation>,
}

/// One thing a caller can ask of the agents API.
#[derive(Debug)]
pub struct Operation {
    /// Its place among [`RouteTable::operations`].
    pub number: usize,
    /// Its name, such as `agents.messages.create`: unique, and safe as a metric label.
    pub name: Box<str>,
    /// The methods it answers to. `HEAD` is judged as `GET`.
    pub methods: Vec<Method>,
    /// Whether it is open to client tokens.
    pub verdict: Verdict,
    /// Where a request for it names the agent.
    pub agent: AgentPlace,
    /// The query keys it admits.
    pub query: QueryRule,
    /// The body it admits; `None` admits none at all.
    pub body: Option<BodyRule>,
    /// Keys removed from its JSON answers, wherever they stand.
    pub redact: Vec<Box<str>>,
    /// Whether its answer may be an event stream.
    pub streams: bool,
    /// Where the table's file says so.
    pub lines: Lines,
    pub(super) template: Template,
}

/// Lines of a route table's file, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Where the operation begins.
    pub entry: usize,
    /// Where its admitted query keys stand, if it admits any.
    pub query: Option<usize>,
    /// Where its admitted body fields stand, if it admits any.
    pub body: Option<usize>,
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

/// A route found for a request.
#[derive(Debug)]
pub(super) struct Matched<'t, 'r> {
    pub(super) operation: &'t Operation,
    parameters: matchit::Params<'t, 'r>,
}

impl RouteTable {
    /// A table of these operations, or the index of each whose path cannot stand beside the others
    /// and why.
    pub(super) fn assemble(mut operations: Vec<Operation>) -> Result<Self, Vec<(usize, String)>> {
        let mut by_path: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, operation) in operations.iter_mut().enumerate() {
            operation.number = index;
            by_path.entry(operation.template.match_text()).or_default().push(index);
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
    #[must_use]
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
        Some(Matched { operation, parameters: found.params })
    }

    /// The operation that a request asks for, and the agent its path names, for the log.
    #[must_use]
    pub fn look_up(
        &self,
        method: &Method,
        path: &CanonicalPath<'_>,
    ) -> Option<(&Operation, Option<AgentId>)> {
        let matched = self.find(method, path)?;
        Some((matched.operation, matched.agent_in_path()))
    }

    /// The methods that the path answers to, for preflights; none when the path is unknown.
    #[must_use]
    pub fn methods_at(&self, path: &CanonicalPath<'_>) -> Vec<Method> {
        let indices = self.router.at(path.text()).map_or(&[][..], |found| found.value.as_slice());
        indices
            .iter()
            .filter_map(|index| self.operations.get(*index))
            .filter(|operation| operation.is_open())
            .flat_map(|operation| operation.methods.iter().cloned())
            .collect()
    }
}

impl Operation {
    /// The permission that opens it to client tokens, if any does.
    #[must_use]
    pub fn permission(&self) -> Option<Permission> {
        match self.verdict {
            Verdict::Open { permission } => Some(permission),
            Verdict::Refused { .. } => None,
        }
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

    /// Whether client tokens may ask for it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.verdict, Verdict::Open { .. })
    }
}

impl Matched<'_, '_> {
    /// What the path says about the agent; `None` when it names none, or none that is well formed.
    pub(super) fn naming(&self) -> Option<Naming> {
        let parameter = self.operation.agent.path_parameter()?;
        self.operation.template.naming(parameter, &self.parameters)
    }

    /// The agent that the path itself names.
    pub(super) fn agent_in_path(&self) -> Option<AgentId> {
        match self.naming() {
            Some(Naming::Agent(agent)) => Some(agent),
            Some(Naming::Owned(_) | Naming::Elsewhere) | None => None,
        }
    }

    /// The path to send for the agent it was judged for; the name of the first malformed parameter,
    /// otherwise.
    pub(super) fn path(&self, judged_for: Option<AgentId>) -> Result<String, &str> {
        let in_path = matches!(self.operation.agent, AgentPlace::Path);
        self.operation.template.build(&self.parameters, judged_for.filter(|_| in_path))
    }
}
