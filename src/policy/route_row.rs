use schemars::JsonSchema;
use serde::Serialize;

use super::route::{Operation, Verdict};

/// One operation of the route table, as JSON: what it needs, what it admits, or why it is closed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RouteRow<'t> {
    name: &'t str,
    methods: Vec<&'t str>,
    path: &'t str,
    /// The permission it needs; absent where it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<&'static str>,
    /// Why it is closed to client tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    refuse: Option<&'t str>,
    /// Where a request names the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// Admitted query keys and their values.
    query: Vec<(&'t str, String)>,
    /// Admitted body fields and their shapes.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Vec<(&'t str, &'static str)>>,
    /// Keys removed from its answers.
    redact: &'t [Box<str>],
    /// Whether it may answer with an event stream.
    streams: bool,
    /// The line of the table's file.
    line: usize,
}

impl<'t> RouteRow<'t> {
    /// The row of an operation.
    #[must_use]
    pub fn of(row: &'t Operation) -> Self {
        let (permission, refuse) = match &row.verdict {
            Verdict::Open { permission } => (Some(permission.as_str()), None),
            Verdict::Refused { reason } => (None, Some(&**reason)),
        };
        Self {
            name: &row.name,
            methods: row.methods.iter().map(http::Method::as_str).collect(),
            path: row.path(),
            permission,
            refuse,
            agent: row.is_open().then(|| row.agent.to_string()),
            query: row.query.entries().collect(),
            body: row.body.as_ref().map(|rule| rule.fields().collect()),
            redact: &row.redact,
            streams: row.streams,
            line: row.lines.entry,
        }
    }
}
