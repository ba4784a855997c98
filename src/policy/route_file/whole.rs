use std::collections::BTreeMap;

use super::Problems;
use crate::policy::AgentPlace;
use crate::policy::route::Operation;

/// The gate answers here itself: no request for it reaches the table.
const OWN_PATH: &str = "/v1/client-side-access-tokens";

/// Finds what is wrong with operations beyond what each line says.
pub(super) fn check(operations: &[Operation], problems: &mut Problems) {
    overlaps(operations, problems);
    for operation in operations {
        for problem in [
            unreachable(operation),
            without_agent(operation),
            unknown_agent(operation),
            unreadable(operation),
        ]
        .into_iter()
        .flatten()
        {
            problems.add(operation.lines.entry, format!("`{}`: {problem}", operation.name));
        }
    }
}

/// The same name twice, or two operations that the same request would match.
fn overlaps(operations: &[Operation], problems: &mut Problems) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut routes = BTreeMap::new();
    for operation in operations {
        let line = operation.lines.entry;
        if let Some(earlier) = names.insert(&operation.name, line) {
            problems.add(line, format!("line {earlier} has the name `{}` already", operation.name));
        }
        for method in &operation.methods {
            let route = (operation.template.match_text(), method.as_str());
            if let Some(earlier) = routes.insert(route, line) {
                problems.add(
                    line,
                    format!(
                        "`{}` is never reached: line {earlier} answers {method} {}",
                        operation.name,
                        operation.path()
                    ),
                );
            }
        }
    }
}

fn unreachable(operation: &Operation) -> Option<String> {
    let own = operation.path().strip_prefix(OWN_PATH);
    let own = own.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    (own && operation.is_open()).then(|| "the gate itself answers at this path".to_owned())
}

/// An open operation must say where the agent is named, and the place must be there.
fn without_agent(operation: &Operation) -> Option<String> {
    if !operation.is_open() {
        return None;
    }
    if let Some(parameter) = operation.agent.path_parameter() {
        if !operation.template.has(parameter) {
            return Some(format!("its path has no `{{{parameter}}}` to tell the agent by"));
        }
        let key = AgentPlace::BESIDE_DEFAULT;
        let beside = operation.query.names_agent_in(key)
            || operation.body.as_ref().is_some_and(|rule| rule.names_agent_in(key));
        let needs_beside = operation.agent == AgentPlace::ConversationOrAgent;
        return (needs_beside && !beside).then(|| {
            format!(
                "query or body must admit `{key}` as an `agent`, for the conversation `default`"
            )
        });
    }
    let names_agent = match &operation.agent {
        AgentPlace::Query(key) => operation.query.names_agent_in(key),
        AgentPlace::Body(field) => {
            operation.body.as_ref().is_some_and(|rule| rule.names_agent_in(field))
        }
        _ => true,
    };
    (!names_agent).then(|| format!("`{}` must be admitted as an `agent`", operation.agent))
}

/// An agent id in the path that is not the one judged would be forwarded unjudged.
fn unknown_agent(operation: &Operation) -> Option<String> {
    let unjudged = operation.is_open()
        && operation.template.has("agent_id")
        && operation.agent.path_parameter() != Some("agent_id");
    unjudged.then(|| "its path has an `{agent_id}` that is not where the agent is".to_owned())
}

fn unreadable(operation: &Operation) -> Option<String> {
    if operation.streams && !operation.redact.is_empty() {
        return Some("an event stream cannot be redacted".to_owned());
    }
    let has_body = operation.methods.iter().all(|method| *method != http::Method::GET);
    (operation.body.is_some() && !has_body).then(|| "a GET has no body".to_owned())
}
