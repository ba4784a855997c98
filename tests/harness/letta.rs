//! The answers of the real server, as far as tests look at them.

use serde_json::{Value, json};

use super::reply::Reply;
use super::wire::Recorded;

/// Stands in every secret of an agent's state; no client token may ever see it.
pub(crate) const SECRET_MARKER: &str = "decrypted-agent-secret";

/// What Letta would answer, in short: states with secrets, messages, streams, runs.
pub(crate) fn letta(request: &Recorded) -> Reply {
    let path = request.target().split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (request.method(), &segments[..]) {
        ("GET" | "PATCH", ["v1", "agents", agent]) => Reply::json(200, &agent_state(agent)),
        ("GET", ["v1", "agents", _, "messages"]) => Reply::json(200, &json!([message("listed")])),
        ("POST", ["v1", "agents", _, "messages"]) if !wants_stream(request) => {
            Reply::json(200, &response())
        }
        ("POST", ["v1", "agents", _, "messages"] | ["v1", "agents", _, "messages", "stream"]) => {
            events().into_iter().fold(Reply::stream(), |reply, e| reply.event(&e)).last_chunk()
        }
        ("POST", ["v1", "agents", agent, "messages", "async"]) => Reply::json(
            200,
            &json!({"id": "run-00000000-0000-4000-8000-000000000001", "agent_id": agent}),
        ),
        _ => Reply::json(200, &json!({})),
    }
}

/// The data of the events of a short stream.
pub(crate) fn events() -> [String; 6] {
    let piece = |text: &str| message(text).to_string();
    [
        json!({"message_type": "ping"}).to_string(),
        piece("one "),
        piece("two"),
        json!({"message_type": "stop_reason", "stop_reason": "end_turn"}).to_string(),
        json!({"message_type": "usage_statistics", "total_tokens": 3}).to_string(),
        "[DONE]".to_owned(),
    ]
}

fn wants_stream(request: &Recorded) -> bool {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    body["streaming"] == true
}

fn response() -> Value {
    json!({
        "messages": [message("an answer")],
        "stop_reason": {"message_type": "stop_reason", "stop_reason": "end_turn"},
        "usage": {"message_type": "usage_statistics", "total_tokens": 3},
    })
}

fn message(text: &str) -> Value {
    json!({
        "id": "message-00000000-0000-4000-8000-000000000001",
        "date": "2100-01-01T00:00:00+00:00",
        "message_type": "assistant_message",
        "content": text,
    })
}

fn agent_state(agent: &str) -> Value {
    let variable = json!({"key": "API_KEY", "value": SECRET_MARKER, "agent_id": agent});
    json!({
        "id": agent,
        "name": "an agent",
        "secrets": [variable],
        "tool_exec_environment_variables": [variable],
        "memory": {"blocks": []},
        "managed_group": {"agents": [{"id": "other", "secrets": [variable]}]},
    })
}
