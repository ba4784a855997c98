//! The JSON shapes of Letta 0.16, as the SDKs of both generations parse them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::agents::{Agent, Message, Role};

/// A message as the listing and the answers show it.
pub(super) fn message(message: &Message) -> Value {
    let message_type = match message.role {
        Role::User => "user_message",
        Role::Assistant => "assistant_message",
    };
    piece(&message.id, message_type, message.date, &message.content)
}

/// One piece of an assistant's message in a stream: the same shape, the same id, part of the text.
pub(super) fn piece(id: &str, message_type: &str, date: Timestamp, content: &str) -> Value {
    json!({
        "id": id,
        "date": iso(date),
        "name": null,
        "message_type": message_type,
        "otid": null,
        "sender_id": null,
        "step_id": null,
        "is_err": null,
        "seq_id": null,
        "run_id": null,
        "content": content,
    })
}

/// The first event of a stream: it shows that the server is there.
pub(super) fn ping(id: &str, date: Timestamp) -> Value {
    json!({"id": id, "date": iso(date), "message_type": "ping", "run_id": null})
}

/// Why the agent stopped.
pub(super) fn stop_reason() -> Value {
    json!({"message_type": "stop_reason", "stop_reason": "end_turn"})
}

/// What the answer cost: four bytes a token, as good a guess as any.
pub(super) fn usage(question: &str, answer: &str) -> Value {
    let (prompt, completion) = (question.len() / 4 + 1, answer.len() / 4 + 1);
    json!({
        "message_type": "usage_statistics",
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "step_count": 1,
        "steps_messages": null,
        "run_ids": null,
        "cached_input_tokens": null,
        "cache_write_tokens": null,
        "reasoning_tokens": null,
        "context_tokens": null,
    })
}

/// The answer to a message that is not streamed.
pub(super) fn letta_response(answer: &Message, usage: &Value) -> Value {
    json!({"messages": [message(answer)], "stop_reason": stop_reason(), "usage": usage})
}

/// A run: what `messages/async` answers.
pub(super) fn run(id: &str, agent: &str, now: Timestamp) -> Value {
    json!({
        "id": id,
        "agent_id": agent,
        "status": "created",
        "created_at": iso(now),
        "created_by_id": null,
        "last_updated_by_id": null,
        "updated_at": null,
        "completed_at": null,
        "background": true,
        "base_template_id": null,
        "callback_url": null,
        "callback_sent_at": null,
        "callback_status_code": null,
        "callback_error": null,
        "conversation_id": null,
        "metadata": {},
        "request_config": null,
        "stop_reason": null,
        "ttft_ns": null,
        "total_duration_ns": null,
        "job_type": "run",
        "user_id": null,
    })
}

/// The state of an agent. Like the real server's it carries secrets in clear text.
pub(super) fn agent_state(agent: &Agent) -> Value {
    let blocks = json!([
        block(agent, "human", &agent.human),
        block(agent, "persona", "I repeat what I am told."),
    ]);
    let message_ids: Vec<&str> = agent.messages.iter().map(|m| m.id.as_str()).collect();
    json!({
        "id": agent.id,
        "name": agent.name,
        "description": agent.description,
        "system": agent.system,
        "agent_type": "memgpt_v2_agent",
        "tags": agent.tags,
        "metadata": agent.metadata,
        "timezone": agent.timezone,
        "message_buffer_autoclear": agent.message_buffer_autoclear,
        "created_at": iso(agent.created_at),
        "updated_at": iso(agent.updated_at),
        "created_by_id": null,
        "last_updated_by_id": null,
        "project_id": null,
        "template_id": null,
        "base_template_id": null,
        "deployment_id": null,
        "entity_id": null,
        "model": "demo/echo",
        "embedding": "demo/none",
        "llm_config": {
            "model": "echo",
            "handle": "demo/echo",
            "model_endpoint_type": "openai",
            "model_endpoint": null,
            "context_window": 8192,
        },
        "embedding_config": {
            "embedding_model": "none",
            "embedding_endpoint_type": "openai",
            "embedding_endpoint": null,
            "embedding_dim": 1,
        },
        "memory": {"blocks": blocks.clone(), "file_blocks": [], "prompt_template": ""},
        "blocks": blocks,
        "message_ids": message_ids,
        "tools": [],
        "tool_rules": [],
        "sources": [],
        "identities": [],
        "identity_ids": [],
        "enable_sleeptime": false,
        "hidden": false,
        "secrets": [variable(agent, "DEMO_API_KEY", &agent.secret)],
        "tool_exec_environment_variables": [variable(agent, "DEMO_DATABASE_PASSWORD", &agent.secret)],
    })
}

fn block(agent: &Agent, label: &str, value: &str) -> Value {
    let uuid = agent.id.trim_start_matches("agent-");
    json!({
        "id": format!("block-{uuid}"),
        "label": label,
        "value": value,
        "limit": 2000,
        "description": null,
        "read_only": false,
        "is_template": false,
        "metadata": {},
    })
}

fn variable(agent: &Agent, key: &str, value: &str) -> Value {
    json!({"agent_id": agent.id, "key": key, "value": value, "description": null})
}

/// A moment as the server writes it.
fn iso(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}
