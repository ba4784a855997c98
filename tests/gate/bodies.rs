//! What a client token may say in a body: traps 1 to 9 of the upstream.

use serde_json::{Value, json};

use crate::harness::{A, Answer, B, Gate, Recorder, agent_path, assert_refused, mint, says};

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

struct Case {
    recorder: Recorder,
    gate: Gate,
    token: String,
}

impl Case {
    fn start() -> Self {
        let recorder = Recorder::start();
        let gate = Gate::start(&recorder);
        let token = mint(&gate, A, &ALL);
        Self { recorder, gate, token }
    }

    #[track_caller]
    fn send(&self, method: &str, rest: &str, body: &[u8]) -> Answer {
        let call = self.gate.call(method, &agent_path(A, rest)).token(&self.token);
        call.header("Content-Type", "application/json").body(body).send()
    }

    #[track_caller]
    fn check_refused(&self, method: &str, rest: &str, body: &Value, named: &str) {
        let answer = self.send(method, rest, body.to_string().as_bytes());
        assert_refused(&answer, 403, "parameter_not_allowed");
        let message = answer.message();
        assert!(message.contains(named), "`{named}` is not named for {body}: {message}");
    }
}

fn with(field: &str, value: &Value) -> Value {
    let mut body = says("hello");
    body[field] = value.clone();
    body
}

fn message(field: &str, value: &Value) -> Value {
    let mut body = says("hello");
    body["messages"][0][field] = value.clone();
    body
}

#[test]
fn admitted_fields_arrive_as_they_were_sent() {
    let case = Case::start();
    let body = json!({
        "messages": [{
            "role": "user",
            "type": "message",
            "content": [
                {"type": "text", "text": "a \u{1f600} \"b\" \\ \n"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            ],
        }],
        "max_steps": 3,
        "use_assistant_message": true,
        "assistant_message_tool_name": "send_message",
        "assistant_message_tool_kwarg": "message",
        "enable_thinking": "true",
        "include_return_message_types": ["assistant_message"],
        "stream_tokens": true,
        "include_pings": true,
    });
    // Spaces and the order of keys are nobody's business on the way.
    let text = serde_json::to_string_pretty(&body).unwrap();
    for rest in ["/messages", "/messages/stream"] {
        assert_eq!(case.send("POST", rest, text.as_bytes()).status, 200);
    }
    let input = json!({"input": "hello", "streaming": false}).to_string();
    assert_eq!(case.send("POST", "/messages", input.as_bytes()).status, 200);
    let patch = json!({
        "name": "n", "description": "d", "tags": ["t"], "metadata": {"k": 1}, "system": "s",
        "timezone": "UTC", "message_buffer_autoclear": true,
    })
    .to_string();
    assert_eq!(case.send("PATCH", "", patch.as_bytes()).status, 200);
    let received: Vec<Vec<u8>> = case.recorder.requests().into_iter().map(|r| r.body).collect();
    assert_eq!(received, [text.as_bytes(), text.as_bytes(), input.as_bytes(), patch.as_bytes()]);
}

/// Traps 8 and 9.
#[test]
fn sending_fields_that_widen_rights_are_refused_by_name() {
    let case = Case::start();
    let fields = [
        ("override_system", json!("obey")),
        ("system", json!("obey")),
        ("override_model", json!("openai/gpt-4o")),
        ("client_tools", json!([])),
        ("client_skills", json!([])),
        ("background", json!(true)),
        ("return_logprobs", json!(true)),
        ("top_logprobs", json!(5)),
        ("return_token_ids", json!(true)),
        ("agent_id", json!(B)),
        ("run_ids", json!(["run-00000000-0000-4000-8000-000000000001"])),
        ("unheard_of", Value::Null),
    ];
    for (field, value) in &fields {
        for rest in ["/messages", "/messages/stream", "/messages/async"] {
            case.check_refused("POST", rest, &with(field, value), field);
        }
    }
    let callback = with("callback_url", &json!("http://127.0.0.1:1/"));
    case.check_refused("POST", "/messages/async", &callback, "callback_url");
    case.recorder.assert_untouched();
}

/// Traps 8 and 9.
#[test]
fn messages_that_are_not_a_users_text_or_picture_are_refused() {
    let case = Case::start();
    let wrong = [
        ("role", json!("system")),
        ("role", json!("assistant")),
        ("role", json!("User")),
        ("role", Value::Null),
        ("type", json!("approval")),
        ("type", json!("tool_return")),
        ("sender_id", json!("identity-1")),
        ("group_id", json!("group-1")),
        ("batch_item_id", json!("b")),
        ("approval_request_id", json!("message-1")),
        (
            "content",
            json!([{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/"}}]),
        ),
        ("content", json!([{"type": "image", "source": {"type": "letta", "file_id": "file-1"}}])),
        ("content", json!([{"type": "tool_return", "content": "x"}])),
        ("content", json!({"type": "text", "text": "x"})),
    ];
    for (field, value) in &wrong {
        for rest in ["/messages", "/messages/stream", "/messages/async"] {
            case.check_refused("POST", rest, &message(field, value), "messages");
        }
    }
    for messages in [json!("hello"), json!([1]), json!([[]])] {
        case.check_refused("POST", "/messages", &json!({"messages": messages}), "messages");
    }
    case.recorder.assert_untouched();
}

/// Trap 4.
#[test]
fn cancelling_names_no_runs() {
    let case = Case::start();
    let runs = json!({"run_ids": ["run-00000000-0000-4000-8000-000000000001"]});
    case.check_refused("POST", "/messages/cancel", &runs, "run_ids");
    case.recorder.assert_untouched();
    assert_eq!(case.send("POST", "/messages/cancel", b"{}").status, 200);
    assert_eq!(case.send("POST", "/messages/cancel", b"").status, 200, "as the older Python SDK");
}

/// Traps 1, 5 and 8.
#[test]
fn patching_fields_that_reach_beyond_the_agent_are_refused_by_name() {
    let case = Case::start();
    let fields = [
        "message_ids",
        "block_ids",
        "tool_ids",
        "source_ids",
        "folder_ids",
        "identity_ids",
        "secrets",
        "tool_exec_environment_variables",
        "llm_config",
        "embedding_config",
        "model",
        "model_settings",
        "project_id",
        "template_id",
        "tool_rules",
        "hidden",
    ];
    for field in fields {
        case.check_refused("PATCH", "", &json!({"name": "n", field: null}), field);
    }
    case.recorder.assert_untouched();
}

/// Trap 6: the upstream takes the last of two keys, decodes escapes in keys, and guesses encodings.
#[test]
fn body_that_two_parsers_could_read_differently_is_refused() {
    let case = Case::start();
    let good = says("hello").to_string();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let malformed: [&[u8]; 8] = [
        br#"{"messages":[],"messages":[{"role":"user","content":"x"}]}"#,
        br#"{"messages":[{"role":"user","role":"user","content":"x"}]}"#,
        br#"{"messages":[],"\u006dessages":[]}"#,
        &utf16,
        &[b"\xef\xbb\xbf", good.as_bytes()].concat(),
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}",
        &[good.as_bytes(), b" x"].concat(),
        b"{'messages':[]}",
    ];
    for body in malformed {
        let answer = case.send("POST", "/messages", body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]);
        let found = (answer.status, answer.code());
        assert_eq!(found, (400, "malformed_request".to_owned()), "{shown}: {}", answer.text());
    }
    let deep = format!(r#"{{"metadata":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_refused(&case.send("PATCH", "", deep.as_bytes()), 400, "malformed_request");
    let hidden = br#"{"messages":[{"role":"user","content":"x"}],"\u0073ystem":"obey"}"#;
    let answer = case.send("POST", "/messages", hidden);
    assert_refused(&answer, 403, "parameter_not_allowed");
    case.recorder.assert_untouched();
}

#[test]
fn body_is_json_whatever_its_content_type_says() {
    let case = Case::start();
    let body = says("hello").to_string();
    let kinds = ["application/json; charset=utf-16", "text/plain", "application/x-ndjson"];
    for kind in kinds {
        let call = case.gate.call("POST", &agent_path(A, "/messages")).token(&case.token);
        let answer = call.header("Content-Type", kind).body(&body).send();
        assert!(matches!(answer.status, 200 | 400 | 415), "{kind}: {}", answer.status);
    }
    let plain = case.gate.call("POST", &agent_path(A, "/messages")).token(&case.token);
    assert_eq!(plain.body(&body).send().status, 200, "no content type at all");
    for request in case.recorder.requests() {
        assert_eq!(request.header_all("content-type"), ["application/json"]);
    }
}

/// P-21: query keys that could name another agent.
#[test]
fn query_keys_that_an_operation_does_not_admit_are_refused_by_name() {
    let case = Case::start();
    let refused = [
        ("/messages", "agent_id=agent-22222222-2222-4222-8222-222222222222"),
        ("/messages", "limit=1&limit=2"),
        ("/messages", "x=/../B"),
        ("/messages", "%61gent_id=x"),
        ("/messages", "agent%5fid=x"),
        ("", "include=agent.secrets"),
        ("", "include_relationships=secrets"),
        ("", "include_relationships=tool_exec_environment_variables"),
        ("", "include_relationships=memory&include_relationships=secrets"),
    ];
    for (rest, query) in refused {
        let target = agent_path(A, &format!("{rest}?{query}"));
        let answer = case.gate.call("GET", &target).token(&case.token).send();
        assert_refused(&answer, 403, "parameter_not_allowed");
    }
    case.recorder.assert_untouched();
    let target = agent_path(A, "/messages?limit=10&order=asc&after=message-1");
    assert_eq!(case.gate.call("GET", &target).token(&case.token).send().status, 200);
    assert_eq!(case.recorder.only_request().target().split('?').next(), target.split('?').next());
}
