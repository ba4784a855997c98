//! Recorded decisions, judged again by another route table.
//!
//! The log has names of query keys and body fields, never values. Where a value decides, that is said.

use std::path::Path;

use serde::Serialize;

use super::log::Line;
use crate::cli::routes::Table;
use crate::cli::{Outcome, print_line};
use crate::policy::{Bounds, Operation, Verdict};

/// What another table makes of a recorded request.
#[derive(Clone, PartialEq, Eq)]
enum Judgement {
    Permit,
    Deny(&'static str),
    /// It depends on what was not recorded.
    Unknown(String),
}

use Judgement::{Deny, Permit, Unknown};

const ROUTE: Judgement = Deny("route_not_allowed");
const PERMISSION: Judgement = Deny("permission_denied");
const PARAMETER: Judgement = Deny("parameter_not_allowed");

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

/// A request that cannot be judged again.
#[derive(Serialize)]
struct Untold {
    request_id: String,
    method: String,
    path: String,
    /// What would have to be known.
    missing: String,
}

#[derive(Default, Serialize)]
struct Summary {
    judged: usize,
    unchanged: usize,
    changed: Vec<Difference>,
    /// Depends on what the log does not hold.
    unknown: Vec<Untold>,
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
    for untold in &summary.unknown {
        print_line(&format!(
            "{} {} {}\n    cannot be told: {}",
            untold.request_id, untold.method, untold.path, untold.missing
        ))?;
    }
    print_line(&format!(
        "{} decisions judged again: {} would change, {} would not, {} cannot be told; {} were not \
         the route table's",
        summary.judged,
        summary.changed.len(),
        summary.unchanged,
        summary.unknown.len(),
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
        Permit => "permit".to_owned(),
        Deny(code) => format!("deny {code}"),
        Unknown(missing) => missing.clone(),
    };
    let (request_id, method, path) =
        (line.request_id.clone(), line.method.clone(), line.path.clone());
    match becomes {
        Unknown(missing) => {
            summary.unknown.push(Untold { request_id, method, path, missing });
        }
        same if same == was => summary.unchanged += 1,
        other => summary.changed.push(Difference {
            request_id,
            method,
            path,
            was: text(&was),
            becomes: text(&other),
            rule: operation.map(|operation| format!("{}:{}", after.file, operation.lines.entry)),
        }),
    }
}

/// What the gate decided, where the route table decided it.
fn recorded(line: &Line) -> Option<Judgement> {
    line.token_id.as_ref()?;
    let decision = if line.is_of_a_refusal() { "deny" } else { line.decision.as_str() };
    match (decision, line.reason.as_deref()) {
        ("permit", _)
        | ("deny", Some("rate_limited" | "too_many_streams"))
        | ("fail", Some("upstream_unavailable" | "upstream_timeout" | "upstream_invalid")) => {
            Some(Permit)
        }
        ("deny", Some("route_not_allowed")) => Some(ROUTE),
        ("deny", Some("permission_denied")) => Some(PERMISSION),
        ("deny", Some("parameter_not_allowed")) => Some(PARAMETER),
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
        return ROUTE;
    };
    let before = before.filter(|before| before.is_open());
    if before.is_some_and(|before| before.agent != operation.agent) {
        return Unknown("which agent it is for: the table takes it from another place".to_owned());
    }
    let same_question = before.is_some_and(|before| before.verdict == Verdict::Open { permission });
    match line.access() {
        Some(access) if access.contains(permission) => {}
        Some(_) => return PERMISSION,
        // Without the grant, only the same question has the same answer.
        None if same_question && *was == PERMISSION => return PERMISSION,
        None if same_question && *was != ROUTE => {}
        None => return Unknown("what the token permits".to_owned()),
    }
    match judge_query(line, before, operation, was) {
        Permit => judge_body(line, before, operation, was),
        other => other,
    }
}

/// Judges the query's keys in their order. A value is known as far as the earlier table admitted it.
fn judge_query(
    line: &Line,
    before: Option<&Operation>,
    after: &Operation,
    was: &Judgement,
) -> Judgement {
    let keys: Vec<&str> = line.query_keys().collect();
    let refused = match line.parameter() {
        Some(("query", name)) => keys.iter().position(|key| *key == name).unwrap_or(0),
        // Refused before the query was looked at, or not by it.
        _ if *was == PERMISSION || *was == ROUTE => 0,
        _ => keys.len(),
    };
    let values = |operation: &Operation, key: &str| {
        operation.query.entries().find(|(name, _)| *name == key).map(|(_, values)| values)
    };
    if keys.len() > Bounds::default().query_pairs_max {
        return Unknown("how many pairs a query may have".to_owned());
    }
    for (index, key) in keys.iter().enumerate() {
        let Some(admitted) = values(after, key) else { return PARAMETER };
        let earlier = before.and_then(|before| values(before, key));
        let twice = keys.iter().take(index).any(|other| other == key);
        match &*admitted {
            "one" | "agent" if twice => return PARAMETER,
            "one" | "many" => {}
            words if index < refused && earlier.as_deref() == Some(words) => {}
            words if index < refused && words != "agent" && includes(words, earlier.as_deref()) => {
            }
            words if *was == PARAMETER && index == refused && earlier.as_deref() == Some(words) => {
                return PARAMETER;
            }
            _ => return Unknown(format!("the value of the query parameter `{key}`")),
        }
    }
    Permit
}

/// Whether the words of one rule are all among the words of another.
fn includes(words: &str, earlier: Option<&str>) -> bool {
    let earlier = earlier.filter(|earlier| !matches!(*earlier, "one" | "many" | "agent"));
    earlier.is_some_and(|earlier| {
        earlier.split('|').all(|word| words.split('|').any(|admitted| admitted == word))
    })
}

/// Judges the body's fields. Of a body that was refused, only the name of what was refused is known.
fn judge_body(
    line: &Line,
    before: Option<&Operation>,
    after: &Operation,
    was: &Judgement,
) -> Judgement {
    let earlier = before.and_then(|before| before.body.as_ref());
    let Some(rule) = &after.body else {
        return match line.parameter() {
            Some(("body", _)) => PARAMETER,
            _ if line.has_body() => PARAMETER,
            // A GET with a body is refused before anything is decided.
            _ if *was == Permit || matches!(&*line.method, "GET" | "HEAD") => Permit,
            _ => Unknown("whether there was a body".to_owned()),
        };
    };
    match (was, line.parameter()) {
        (Permit, _) => {
            for field in line.body_fields() {
                match rule.admits_what(earlier, field) {
                    Some(true) => {}
                    Some(false) => return PARAMETER,
                    None => return Unknown(format!("the value of the body field `{field}`")),
                }
            }
            Permit
        }
        (Deny("parameter_not_allowed"), Some(("body", name))) => {
            let top = name.split(['.', '[']).next().unwrap_or_default();
            match rule.admits_what(earlier, top) {
                Some(false) => PARAMETER,
                Some(true) if earlier == Some(rule) => PARAMETER,
                _ => Unknown(format!("the body: it was read up to `{name}` only")),
            }
        }
        _ => Unknown("the body: it was not read".to_owned()),
    }
}
