//! `ckgate explain` beside a running gate: its tokens, and its log.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    A, Gate, HOST, ORIGIN, Pki, Recorder, SERVER_KEY, agent_path, delete, mint, says,
};

/// What the command prints; the arguments are those of `ckgate explain --json`.
#[track_caller]
fn explain(gate: &Gate, token: &str, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_ckgate"))
        .args(["explain", "--json"])
        .args(arguments)
        .current_dir(gate.directory())
        .env_clear()
        .env("TOKEN", token)
        .env("CKGATE_SERVER_KEY", SERVER_KEY)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(!printed.contains(token), "the token is printed");
    serde_json::from_str(&printed).unwrap()
}

#[test]
fn running_gate_is_asked_what_a_token_may_do() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let url = format!("http://{}", gate.public());
    let origin = format!("Origin: {ORIGIN}");
    let ask = |target: &str| {
        let asked = ["GET", target, "-H", &origin, "--gate", &url, "--token-env", "TOKEN"];
        explain(&gate, &token, &asked)
    };
    for (rest, answered) in [("/messages", 200), ("", 403)] {
        let target = agent_path(A, rest);
        let account = ask(&target);
        let answer = gate.call("GET", &target).token(&token).send();
        assert_eq!(answer.status, answered);
        assert_eq!(account["verdict"] == "permit", answered == 200, "{account:#}");
        assert_eq!(account["code"].as_str().unwrap_or_default(), answer.code_if_any());
    }
    delete(&gate, &token);
    assert_eq!(ask(&agent_path(A, "/messages"))["code"], "token_invalid");
}

#[test]
fn running_gate_within_tls_is_asked_if_the_named_authority_vouches_for_it() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let directory = tempfile::tempdir().unwrap();
    let pair = pki.leaf(&[HOST, "127.0.0.1"]).write(directory.path(), "gate");
    let gate = Gate::start_tls(&recorder, &pki, &[("tls.certificates", vec![pair].into())]);
    fs::write(gate.directory().join("ca.pem"), pki.pem()).unwrap();
    let token = mint(&gate, A, &["read_messages"]);
    let (target, url) = (agent_path(A, "/messages"), format!("https://{}", gate.public()));
    let origin = format!("Origin: {ORIGIN}");
    let of_gate = ["--gate", &url, "--gate-ca", "ca.pem", "--token-env", "TOKEN"];
    let asked = [&["GET", &*target, "-H", &origin][..], &of_gate].concat();
    assert_eq!(explain(&gate, &token, &asked)["verdict"], "permit");
}

#[test]
fn log_of_a_gate_tells_enough_to_judge_by_another_table() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages", "write_messages", "write_agent"]);
    let ask = |method: &str, rest: &str, body: Option<Value>| {
        let call = gate.call(method, &agent_path(A, rest)).token(&token);
        let call = match &body {
            Some(body) => call.json(body),
            None => call,
        };
        let answer = call.send();
        (answer.header("x-request-id").unwrap().to_owned(), answer.status)
    };
    let said = says("hello");
    let more = |field: &str, value: Value| {
        let mut body = said.clone();
        body[field] = value;
        Some(body)
    };
    let requests = [
        (ask("GET", "/messages?limit=5&order=asc", None), 200, "unchanged"),
        (ask("GET", "/messages?order_by=x", None), 200, "deny parameter_not_allowed"),
        (ask("GET", "/messages?secret_key=x", None), 403, "permit"),
        (ask("POST", "/messages", Some(said.clone())), 200, "unchanged"),
        (ask("POST", "/messages", more("max_steps", json!(3))), 200, "deny parameter_not_allowed"),
        (ask("POST", "/messages", more("override_model", json!("x"))), 403, "unchanged"),
        (
            ask("POST", "/messages", more("callback_url", json!("x"))),
            403,
            "the body: it was read up to `callback_url` only",
        ),
        (
            ask("PATCH", "", Some(json!({"name": "x", "description": "y"}))),
            200,
            "the value of the body field `description`",
        ),
        (ask("GET", "/tools", None), 403, "deny route_not_allowed"),
    ];
    let table = r#"
[[operations]]
name = "agents.messages.list"
methods = ["GET"]
path = "/v1/agents/{agent_id}/messages"
permission = "read_messages"
query = { limit = "one", order = "one", secret_key = "one" }
[[operations]]
name = "agents.messages.create"
methods = ["POST"]
path = "/v1/agents/{agent_id}/messages"
permission = "write_messages"
body = { messages = "user_messages", callback_url = "string" }
[[operations]]
name = "agents.modify"
methods = ["PATCH"]
path = "/v1/agents/{agent_id}"
permission = "write_agent"
body = { name = "any", description = "integer" }
"#;
    fs::write(gate.directory().join("other.toml"), table).unwrap();
    let log = gate.log();
    for ((id, status), expected, _) in &requests {
        assert_eq!(status, expected);
        log.wait_for("the request", |line| line.contains(id).then_some(()));
    }
    let lines = gate.log_lines().join("\n");
    assert!(!lines.contains("hello"), "the log has a body");
    fs::write(gate.directory().join("gate.log"), lines).unwrap();
    let summary = explain(&gate, &token, &["--replay", "gate.log", "--policy", "other.toml"]);
    let told = |list: &str, id: &str, field: &str| {
        let found = summary[list].as_array().unwrap().iter().find(|row| row["request_id"] == id);
        found.map(|row| row[field].as_str().unwrap().to_owned())
    };
    for ((id, _), _, expected) in &requests {
        let becomes = told("changed", id, "becomes").or_else(|| told("unknown", id, "missing"));
        assert_eq!(becomes.as_deref().unwrap_or("unchanged"), *expected, "{summary:#}");
    }
    assert_eq!(summary["judged"], requests.len());
}
