//! Recorded decisions, judged again by another route table.

use std::path::Path;

use serde::Serialize;

use super::log::Line;
use crate::cli::routes::Table;
use crate::cli::{Outcome, print_line};
use crate::policy::{Operation, Verdict};

/// What another table makes of a recorded request.
#[derive(Clone, PartialEq, Eq)]
enum Judgement {
    Permit,
    Deny(&'static str),
    /// It depends on what was not recorded.
    Unknown(&'static str),
}

/// A request that the other table would decide differently.
#[derive(Serialize)]
struct Difference {
    request_id: String,
    method: String,
    path: String,
    was: String,
    becomes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
}

#[derive(Default, Serialize)]
struct Summary {
    judged: usize,
    unchanged: usize,
    changed: Vec<Difference>,
    /// Depends on what the log does not hold.
    unknown: usize,
    /// Decided by something else than the route table.
    passed_over: usize,
}

/// Prints what would change.
pub(super) fn execute(log: &Path, before: &Table, after: &Table, json: bool) -> Outcome {
    let mut summary = Summary::default();
    Line::read_all(log, |line| consider(&line, before, after, &mut summary))?;
    if json {
        return print_line(&serde_json::to_string(&summary)?);
    }
    for change in &summary.changed {
        let rule = change.rule.as_deref().unwrap_or("nothing names it");
        print_line(&format!(
            "{} {} {}\n    {} -> {}  ({rule})",
            change.request_id, change.method, change.path, change.was, change.becomes
        ))?;
    }
    print_line(&format!(
        "{} decisions judged again: {} would change, {} would not, {} cannot be told; {} were not \
         the route table's",
        summary.judged,
        summary.changed.len(),
        summary.unchanged,
        summary.unknown,
        summary.passed_over
    ))
}

fn consider(line: &Line, before: &Table, after: &Table, summary: &mut Summary) {
    let Some(was) = recorded(line) else {
        summary.passed_over += 1;
        return;
    };
    summary.judged += 1;
    let operation = line.operation(after);
    let becomes = judge(line, line.operation(before), operation, &was);
    let text = |judgement: &Judgement| match judgement {
        Judgement::Permit => "permit".to_owned(),
        Judgement::Deny(code) => format!("deny {code}"),
        Judgement::Unknown(why) => format!("cannot be told: {why}"),
    };
    match &becomes {
        Judgement::Unknown(_) => summary.unknown += 1,
        same if *same == was => summary.unchanged += 1,
        other => summary.changed.push(Difference {
            request_id: line.request_id.clone(),
            method: line.method.clone(),
            path: line.path.clone(),
            was: text(&was),
            becomes: text(other),
            rule: operation.map(|operation| format!("{}:{}", after.file, operation.lines.entry)),
        }),
    }
}

/// What the gate decided, where the route table decided it.
fn recorded(line: &Line) -> Option<Judgement> {
    line.token_id.as_ref()?;
    match (line.decision.as_str(), line.reason.as_deref()) {
        ("permit", _)
        | ("deny", Some("rate_limited" | "too_many_streams"))
        | ("fail", Some("upstream_unavailable" | "upstream_timeout" | "upstream_invalid")) => {
            Some(Judgement::Permit)
        }
        ("deny", Some("route_not_allowed")) => Some(Judgement::Deny("route_not_allowed")),
        ("deny", Some("permission_denied")) => Some(Judgement::Deny("permission_denied")),
        ("deny", Some("parameter_not_allowed")) => Some(Judgement::Deny("parameter_not_allowed")),
        _ => None,
    }
}

fn judge(
    line: &Line,
    before: Option<&Operation>,
    after: Option<&Operation>,
    was: &Judgement,
) -> Judgement {
    let Some((operation, permission)) = after.and_then(|operation| match operation.verdict {
        Verdict::Open { permission } => Some((operation, permission)),
        Verdict::Refused { .. } => None,
    }) else {
        return Judgement::Deny("route_not_allowed");
    };
    let needed = before.and_then(|operation| match operation.verdict {
        Verdict::Open { permission } => Some(permission),
        Verdict::Refused { .. } => None,
    });
    let allowed = match line.access() {
        Some(access) => Some(access.contains(permission)),
        // Without the grant, only the same question has the same answer.
        None if needed == Some(permission) => Some(*was != Judgement::Deny("permission_denied")),
        None => None,
    };
    match allowed {
        Some(true) => {}
        Some(false) => return Judgement::Deny("permission_denied"),
        None => return Judgement::Unknown("what the token permits was not recorded"),
    }
    let keys = line.query_keys.as_deref().unwrap_or_default().split(',');
    let refused =
        |key: &str| !key.is_empty() && !operation.query.keys().any(|admitted| admitted == key);
    if keys.into_iter().any(refused) {
        return Judgement::Deny("parameter_not_allowed");
    }
    let same_body = before
        .is_some_and(|before| before.body == operation.body && before.query == operation.query);
    match was {
        Judgement::Permit | Judgement::Deny("parameter_not_allowed") if same_body => was.clone(),
        Judgement::Permit if operation.body.is_none() => Judgement::Permit,
        _ if operation.body.is_none() && before.is_none_or(|before| before.body.is_none()) => {
            Judgement::Permit
        }
        _ => Judgement::Unknown("bodies and query values are not recorded"),
    }
}
