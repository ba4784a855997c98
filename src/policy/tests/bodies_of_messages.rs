use http::Method;

use super::super::{Denial, Permission, Place};
use super::{A, asked, built_in, grant, permit};

/// What a body for an operation on A comes to; on refusal, the name of the field.
#[track_caller]
fn check(method: &Method, below: &str, body: &str, expected: Result<(), &str>) {
    let routes = built_in();
    let grant = grant(&[(A, &Permission::ALL)]);
    let target = format!("/v1/agents/{A}{below}");
    match permit(routes, &grant, &asked(method, &target), body.as_bytes()) {
        Ok(_) => assert_eq!(expected, Ok(()), "{body}"),
        Err(Denial::ParameterNotAllowed { place: Place::Body, name, .. }) => {
            assert_eq!(Err(name.as_str()), expected, "{body}");
        }
        Err(denial) => panic!("{body}: {denial:?}"),
    }
}

const SENDING: [&str; 3] = ["/messages", "/messages/stream", "/messages/async"];

#[track_caller]
fn check_sending(body: &str, expected: Result<(), &str>) {
    for below in SENDING {
        check(&Method::POST, below, body, expected);
    }
}

#[track_caller]
fn check_message(message: &str, expected: Result<(), &str>) {
    check_sending(&format!(r#"{{"messages":[{message}]}}"#), expected);
}

#[test]
fn messages_of_a_user_pass() {
    check_message(r#"{"role":"user","content":"hi"}"#, Ok(()));
    check_message(r#"{"type":"message","role":"user","content":"hi"}"#, Ok(()));
    check_message(r#"{"content":[{"type":"text","text":"hi"}],"role":"user"}"#, Ok(()));
    check_sending(r#"{"messages":[]}"#, Ok(()));
    check_sending(r#"{"input":"hi"}"#, Ok(()));
    check_sending(r#"{"input":[{"type":"text","text":"hi"}],"messages":null}"#, Ok(()));
    check_sending(r#"{"messages":[{"role":"\u0075ser","content":"hi"}]}"#, Ok(()));
}

#[test]
fn other_admitted_fields_of_sending_pass() {
    let more = r#""max_steps":3,"use_assistant_message":true,"otid":"x","enable_thinking":"auto",
        "assistant_message_tool_name":"send_message","assistant_message_tool_kwarg":"message",
        "include_return_message_types":["assistant_message"]"#;
    check_sending(&format!(r#"{{"input":"hi",{more}}}"#), Ok(()));
    for below in ["/messages", "/messages/stream"] {
        let body = r#"{"input":"hi","streaming":true,"stream_tokens":true,"include_pings":false}"#;
        check(&Method::POST, below, body, Ok(()));
    }
}

/// A client token speaks for its user, not for the agent or its operator.
#[test]
fn other_roles_are_refused() {
    for role in ["system", "assistant", "tool", "approval", "User", "", "user "] {
        let message = format!(r#"{{"role":"{role}","content":"hi"}}"#);
        check_message(&message, Err("messages[0].role"));
    }
    check_message(r#"{"role":null,"content":"hi"}"#, Err("messages[0].role"));
    check_message(r#"{"role":["user"],"content":"hi"}"#, Err("messages[0].role"));
    check_message(r#"{"content":"hi"}"#, Err("messages[0].role"));
    check_sending(
        r#"{"messages":[{"role":"user","content":"a"},{"role":"system","content":"b"}]}"#,
        Err("messages[1].role"),
    );
}

/// They approve pending tool calls, or forge their results.
#[test]
fn other_types_of_message_are_refused() {
    for kind in ["approval", "tool_return", "system_message", ""] {
        let message = format!(r#"{{"type":"{kind}","role":"user","content":"hi"}}"#);
        check_message(&message, Err("messages[0].type"));
    }
    check_message(r#"{"type":"approval","approve":true}"#, Err("messages[0].type"));
}

/// They tie a message to other agents' data.
#[test]
fn other_fields_of_a_message_are_refused() {
    for field in ["sender_id", "group_id", "batch_item_id", "otid", "id", "name", "tool_calls"] {
        let message = format!(r#"{{"role":"user","content":"hi","{field}":"x"}}"#);
        check_message(&message, Err(&format!("messages[0].{field}")));
    }
    check_message(
        r#"{"role":"user","content":"hi","\u0073ender_id":"x"}"#,
        Err("messages[0].sender_id"),
    );
}

#[test]
fn fields_that_widen_rights_are_refused() {
    for field in [
        "override_system",
        "system",
        "override_model",
        "client_tools",
        "client_skills",
        "background",
        "return_logprobs",
        "top_logprobs",
        "return_token_ids",
        "callback_url",
        "agent_id",
        "conversation_id",
        "model",
        "run_ids",
    ] {
        check_sending(&format!(r#"{{"input":"hi","{field}":null}}"#), Err(field));
        check_sending(&format!(r#"{{"{field}":{{"x":[1]}},"input":"hi"}}"#), Err(field));
    }
    check_sending(r#"{"input":"hi","override\u005fsystem":"x"}"#, Err("override_system"));
}

/// A `url` source makes the server fetch it, from any host.
#[test]
fn only_images_that_come_with_the_message_pass() {
    let image = |source: &str| {
        format!(r#"{{"role":"user","content":[{{"type":"image","source":{source}}}]}}"#)
    };
    let at = |field: &str| format!("messages[0].content[0].source{field}");
    check_message(&image(r#"{"type":"base64","media_type":"image/png","data":"AA=="}"#), Ok(()));
    for (source, field) in [
        (r#"{"type":"url","url":"http://169.254.169.254/"}"#, ".type"),
        (r#"{"type":"letta","file_id":"file-1"}"#, ".type"),
        (r#"{"url":"http://x/"}"#, ".url"),
        (r#"{"type":"base64","media_type":"image/png","data":"","url":"http://x"}"#, ".url"),
        (r#"{"type":"base64","media_type":"image/png"}"#, ".data"),
        ("{}", ".type"),
        (r#""http://x/""#, ""),
    ] {
        check_message(&image(source), Err(&at(field)));
    }
}

#[test]
fn other_content_is_refused() {
    for (content, place) in [
        (r#"[{"type":"tool_call","id":"x"}]"#, "[0].type"),
        (r#"[{"type":"text","text":"a"},{"type":"reasoning"}]"#, "[1].type"),
        (r#"[{"type":"text","text":"a","signature":"x"}]"#, "[0].signature"),
        (r#"[{"text":"a"}]"#, "[0].type"),
        (r#"["hi"]"#, "[0]"),
        ("[[]]", "[0]"),
        (r#"{"type":"text","text":"hi"}"#, ""),
        ("null", ""),
        ("1", ""),
    ] {
        let message = format!(r#"{{"role":"user","content":{content}}}"#);
        check_message(&message, Err(&format!("messages[0].content{place}")));
        let at_input = format!("input{place}");
        let expected = if content == "null" { Ok(()) } else { Err(at_input.as_str()) };
        check_sending(&format!(r#"{{"input":{content}}}"#), expected);
    }
}

#[test]
fn messages_must_be_a_list_of_objects() {
    check_sending(r#"{"messages":{"role":"user","content":"x"}}"#, Err("messages"));
    check_sending(r#"{"messages":"hi"}"#, Err("messages"));
    check_sending(r#"{"messages":["hi"]}"#, Err("messages[0]"));
    check_sending(r#"{"messages":[null]}"#, Err("messages[0]"));
}

/// `run_ids` cancels any agent's run.
#[test]
fn cancelling_admits_no_run_ids() {
    check(&Method::POST, "/messages/cancel", "", Ok(()));
    check(&Method::POST, "/messages/cancel", "{}", Ok(()));
    check(&Method::POST, "/messages/cancel", r#"{"run_ids":["run-1"]}"#, Err("run_ids"));
    check(&Method::POST, "/messages/cancel", r#"{"run_ids":null}"#, Err("run_ids"));
}

/// They attach others' resources, change the model, or bring in messages by id.
#[test]
fn changing_an_agent_admits_only_its_own_words() {
    let good = r#"{"name":"n","description":"d","tags":["a"],"metadata":{"k":1},"system":"s",
        "timezone":"UTC","message_buffer_autoclear":true}"#;
    check(&Method::PATCH, "", good, Ok(()));
    for field in [
        "message_ids",
        "block_ids",
        "tool_ids",
        "source_ids",
        "secrets",
        "tool_exec_environment_variables",
        "llm_config",
        "model",
        "project_id",
        "identity_ids",
        "hidden",
        "tool_rules",
    ] {
        check(&Method::PATCH, "", &format!(r#"{{"name":"n","{field}":[]}}"#), Err(field));
    }
}
