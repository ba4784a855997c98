//! Secrets that the upstream puts into agent states, and that no client token may see.

use serde_json::{Value, json};

use crate::harness::{A, Answer, Gate, Recorder, Reply, SECRET_MARKER, agent_path, mint};

fn read_agent(gate: &Gate) -> Answer {
    let token = mint(gate, A, &["read_agent"]);
    gate.call("GET", &agent_path(A, "")).token(&token).send()
}

fn read_from(reply: Reply) -> Answer {
    let recorder = Recorder::with(move |_| reply.clone());
    read_agent(&Gate::start(&recorder))
}

fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(fields) => {
            fields.contains_key(key) || fields.values().any(|v| has_key(v, key))
        }
        Value::Array(items) => items.iter().any(|v| has_key(v, key)),
        _ => false,
    }
}

#[track_caller]
fn assert_redacted(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let state = answer.json();
    for key in ["secrets", "tool_exec_environment_variables"] {
        assert!(!has_key(&state, key), "{key} in {state}");
    }
    assert!(!answer.text().contains(SECRET_MARKER));
}

/// Trap 1, for both operations that return states.
#[test]
fn agent_states_come_without_secrets_at_any_depth() {
    let gate = Gate::before_letta();
    let read = read_agent(&gate);
    assert_redacted(&read);
    assert_eq!(read.json()["managed_group"]["agents"], json!([{"id": "other"}]));
    let token = mint(&gate, A, &["write_agent"]);
    let patch = gate.call("PATCH", &agent_path(A, "")).token(&token);
    assert_redacted(&patch.json(&json!({"name": "n"})).send());
}

#[test]
fn everything_else_of_a_state_stays_as_it_is() {
    let kept = json!({
        "id": A, "name": "\u{e9}\u{1f600}\"\\", "empty": {}, "list": [1, -2.5, 1e3, null, true, []],
        "big": 12_345_678_901_234_567_890_u64, "secret": "singular", "xsecrets": 1,
    });
    let mut state = kept.clone();
    state["secrets"] = json!([{"key": "k", "value": SECRET_MARKER}]);
    let answer = read_from(Reply::json(200, &state));
    assert_redacted(&answer);
    assert_eq!(answer.json(), kept);
}

#[test]
fn secret_under_an_escaped_or_repeated_key_is_removed_as_well() {
    let body = format!(
        r#"{{"id":"x","\u0073ecrets":"{SECRET_MARKER}","a":{{"secrets":1,"secrets":"{SECRET_MARKER}"}}}}"#
    );
    let length = body.len();
    let answer = read_from(Reply::raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )));
    if answer.status == 200 {
        assert_redacted(&answer);
    }
}

#[test]
fn state_that_arrives_in_pieces_is_redacted_whole() {
    let state = format!(r#"{{"id":"x","secrets":[{{"value":"{SECRET_MARKER}"}}],"name":"n"}}"#);
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let reply =
        state.bytes().fold(Reply::raw(head), |reply, byte| reply.chunk([byte])).last_chunk();
    let answer = read_from(reply);
    assert_redacted(&answer);
    assert_eq!(answer.json(), json!({"id": "x", "name": "n"}));
}

/// What cannot be read cannot be redacted, and is not relayed.
#[test]
fn answer_that_cannot_be_redacted_is_not_relayed() {
    let raw = |headers: &str, body: &str| {
        let length = body.len();
        Reply::raw(format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n{body}"))
    };
    let json_type = "content-type: application/json\r\n";
    let secret = format!(r#"{{"secrets":"{SECRET_MARKER}"}}"#);
    let replies = [
        raw(json_type, &format!("{secret} trailing")),
        raw(json_type, &format!("not json {SECRET_MARKER}")),
        raw(&format!("{json_type}content-encoding: gzip\r\n"), &secret),
        raw(json_type, &format!("{}{secret}{}", "[".repeat(100_000), "]".repeat(100_000))),
    ];
    for reply in replies {
        let answer = read_from(reply);
        let text = answer.text();
        assert!(!text.contains(SECRET_MARKER), "{text}");
        assert!(answer.status >= 500 || answer.status == 200, "{}: {text}", answer.status);
    }
}

#[test]
fn state_that_is_too_large_to_redact_is_not_relayed() {
    let state = json!({"padding": "x".repeat(5000), "secrets": SECRET_MARKER});
    let recorder = Recorder::with(move |_| Reply::json(200, &state));
    let gate = Gate::start_with(&recorder, &[("limits.redacted_answer_bytes_max", 1024.into())]);
    let answer = read_agent(&gate);
    assert_eq!(answer.status, 502, "{}", answer.text());
}

/// An error can repeat what was sent, and a state with it.
#[test]
fn errors_of_a_redacted_operation_are_redacted_too() {
    let error = json!({"detail": "conflict", "agent": {"secrets": SECRET_MARKER}});
    let answer = read_from(Reply::json(409, &error));
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json(), json!({"detail": "conflict", "agent": {}}));
}
