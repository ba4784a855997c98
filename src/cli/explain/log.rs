//! Requests as the gate's log keeps them: enough to say again why, without tokens and bodies.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use http::Method;
use serde::Deserialize;

use super::account::{Account, Change};
use super::remedy;
use crate::cli::routes::Table;
use crate::policy::{AgentId, CanonicalPath, Operation, Permission, Permissions, Verdict};

/// Longest line that is read.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// One line of a log, if it is about a request.
#[derive(Deserialize)]
pub(super) struct Line {
    message: String,
    #[serde(rename = "request.id", default)]
    pub(super) request_id: String,
    #[serde(rename = "http.request.method", default)]
    pub(super) method: String,
    #[serde(rename = "url.path", default)]
    pub(super) path: String,
    #[serde(rename = "url.query.keys", default)]
    query_keys: Option<String>,
    #[serde(default)]
    pub(super) decision: String,
    #[serde(rename = "deny.reason", default)]
    pub(super) reason: Option<String>,
    #[serde(rename = "deny.detail", default)]
    detail: Option<String>,
    #[serde(rename = "deny.parameter", default)]
    parameter: Option<String>,
    #[serde(rename = "http.request.body.fields", default)]
    body_fields: Option<String>,
    #[serde(rename = "token.id", default)]
    pub(super) token_id: Option<String>,
    #[serde(rename = "agent.id", default)]
    agent_id: Option<String>,
    #[serde(rename = "grant.access", default)]
    access: Option<String>,
}

impl Line {
    /// The requests of a log, in order. Lines that are no JSON or about something else are passed
    /// over.
    pub(super) fn read_all(log: &Path, mut each: impl FnMut(Self)) -> Result<(), Box<dyn Error>> {
        let cannot = |e: io::Error| format!("{}: cannot be read: {e}", log.display());
        let mut log = BufReader::new(File::open(log).map_err(cannot)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut log).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            if read.map_err(cannot)? == 0 {
                return Ok(());
            }
            if let Ok(line) = serde_json::from_slice::<Self>(&line)
                && line.message == "request"
            {
                each(line);
            }
        }
    }

    /// The operation that `table` knows at the recorded method and path.
    pub(super) fn operation<'t>(&self, table: &'t Table) -> Option<&'t Operation> {
        let method = Method::from_bytes(self.method.as_bytes()).ok()?;
        let path = CanonicalPath::parse(&self.path).ok()?;
        table.routes.look_up(&method, &path).map(|(operation, _)| operation)
    }

    /// What the token permitted with the agent, if that was recorded.
    pub(super) fn access(&self) -> Option<Permissions> {
        let words = self.access.as_deref()?.split(',').filter(|word| !word.is_empty());
        words.map(|word| word.parse::<Permission>().ok()).collect()
    }

    /// Whether it was refused, even if the refusal did not hold (shadow mode).
    pub(super) fn is_of_a_refusal(&self) -> bool {
        matches!(self.decision.as_str(), "deny" | "shadow")
    }

    /// The place and the name of the parameter that was refused.
    pub(super) fn parameter(&self) -> Option<(&str, &str)> {
        self.parameter.as_deref()?.split_once(' ')
    }

    /// The names of the query's keys, in order.
    pub(super) fn query_keys(&self) -> impl Iterator<Item = &str> {
        names(self.query_keys.as_deref())
    }

    /// Whether a body was looked at.
    pub(super) fn has_body(&self) -> bool {
        self.body_fields.is_some()
    }

    /// The names of the body's fields.
    pub(super) fn body_fields(&self) -> impl Iterator<Item = &str> {
        names(self.body_fields.as_deref())
    }

    pub(super) fn agent(&self) -> Option<AgentId> {
        AgentId::parse(self.agent_id.as_deref()?).ok()
    }
}

fn names(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').filter(|name| !name.is_empty())
}

/// Explains the request of this id.
pub(super) fn explain(log: &Path, id: &str, table: &Table) -> Result<Account, Box<dyn Error>> {
    let mut found = None;
    Line::read_all(log, |line| {
        if line.request_id == id {
            found = Some(line);
        }
    })?;
    let line = found.ok_or_else(|| format!("{}: has no request `{id}`", log.display()))?;
    let mut account = Account::default();
    account.pass("head", format!("{} {}", line.method, line.path), None);
    if let Some(token) = &line.token_id {
        account.pass("record", format!("the token {token}"), None);
    }
    let operation = line.operation(table);
    let rule = operation.map(|operation| format!("{}:{}", table.file, operation.lines.entry));
    let permission = match operation.map(|operation| &operation.verdict) {
        Some(Verdict::Open { permission }) => Some(*permission),
        _ => None,
    };
    let is_past_route = !line.is_of_a_refusal()
        || matches!(line.reason.as_deref(), Some("permission_denied" | "parameter_not_allowed"));
    if let (Some(operation), Some(permission), true) = (operation, permission, is_past_route) {
        let says = format!("`{}` is open, and needs `{permission}`", operation.name);
        account.pass("route", says, rule.clone());
    }
    if let (Some(agent), Some(access)) = (line.agent(), line.access()) {
        let says = format!("the policy gave `{access}` for {agent}");
        if line.reason.as_deref() != Some("permission_denied") {
            account.pass("permission", says, Some("the token's policy".to_owned()));
        }
    }
    if let ("deny" | "shadow" | "fail", Some(reason)) = (line.decision.as_str(), &line.reason) {
        let mut says = line.detail.clone().unwrap_or_else(|| "no more was recorded".to_owned());
        if line.decision == "shadow" {
            says.push_str(" (in shadow mode: it was forwarded all the same)");
        }
        account.refuse(step_of(reason), says, reason, rule);
        if let ("permission_denied", Some(agent), Some(permission)) =
            (reason.as_str(), line.agent(), permission)
        {
            let how = remedy::entry(agent, permission);
            account.changes.push(Change { of: "policy", how, at: None });
        }
    }
    Ok(account)
}

fn step_of(reason: &str) -> &'static str {
    match reason {
        "malformed_request" => "head or body",
        "token_missing" | "token_invalid" => "token",
        "token_expired" => "expiry",
        "hostname_mismatch" => "hostname",
        "route_not_allowed" => "route",
        "permission_denied" => "permission",
        "parameter_not_allowed" => "parameters",
        "owner_unavailable" => "owner",
        "rate_limited" | "too_many_streams" => "limits",
        _ => "upstream",
    }
}
