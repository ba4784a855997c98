//! The smallest request for each operation of the route table.

use ckgate::policy::{AgentPlace, Operation};

use super::judge::{OTHER, OTHER_CONVERSATION, OTHER_RUN, OWN, OWN_CONVERSATION, OWN_RUN};

/// Whose id stands where the agent is named.
#[derive(Clone, Copy)]
pub(crate) enum Named {
    Own,
    Other,
    Malformed,
}

/// The smallest request for an operation, in which the agent is named where the table says.
pub(crate) fn request(operation: &Operation, named: Named) -> (String, String) {
    let (agent, conversation, run) = match named {
        Named::Own => (OWN, OWN_CONVERSATION, OWN_RUN),
        Named::Other => (OTHER, OTHER_CONVERSATION, OTHER_RUN),
        Named::Malformed => ("agent-1", "conv-1", "run-1"),
    };
    let mut target = String::new();
    for part in operation.path().split_inclusive('/') {
        let (segment, slash) = part.strip_suffix('/').map_or((part, ""), |s| (s, "/"));
        let filled = match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            None => segment.to_owned(),
            Some("agent_id") => agent.to_owned(),
            Some("conversation_id") => conversation.to_owned(),
            Some("run_id") => run.to_owned(),
            Some(name) => match name.strip_suffix("_id") {
                Some(kind) => format!("{kind}-33333333-3333-4333-8333-333333333333"),
                None => "human".to_owned(),
            },
        };
        target.push_str(&filled);
        target.push_str(slash);
    }
    let mut body = String::new();
    match &operation.agent {
        AgentPlace::Query(key) => target = format!("{target}?{key}={agent}"),
        AgentPlace::Body(field) => body = format!(r#"{{"{field}":"{agent}"}}"#),
        _ => {}
    }
    (target, body)
}
