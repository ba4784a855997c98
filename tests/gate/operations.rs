//! What the operator sees: health, metrics, logs, files, stopping.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{
    A, B, Gate, Log, Recorder, Reply, SERVER_KEY, Signal, agent_path, delete, eventually, field,
    mint, says,
};

fn read(gate: &Gate, agent: &str, token: &str) -> u16 {
    gate.call("GET", &agent_path(agent, "/messages")).token(token).send().status
}

#[test]
fn health_readiness_and_metrics_answer_on_the_admin_listener_only() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    // It is ready as soon as it has read the feed of deletions once.
    eventually("the gate is ready", || gate.admin_get("/readyz").status == 200);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(gate.admin_get(path).status, 200, "{path}");
        let answer = gate.call("GET", path).send();
        assert_eq!(answer.status, 401, "{path} on the public listener");
    }
    let before = recorder.bytes_total();
    let agent = gate.admin_get(&agent_path(A, "/messages"));
    assert_eq!(agent.status, 404, "no data path on the admin listener");
    assert_eq!(recorder.bytes_total(), before);
}

#[test]
fn metrics_count_by_operation_and_reason_and_name_nobody() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages", "write_messages"]);
    assert_eq!(read(&gate, A, &token), 200);
    assert_eq!(read(&gate, A, &token), 200);
    assert_eq!(read(&gate, B, &token), 403);
    gate.call("POST", &agent_path(A, "/messages/stream")).token(&token).json(&says("x")).send();
    delete(&gate, &token);
    eventually("the gate is ready", || gate.admin_get("/readyz").status == 200);
    let answer = gate.admin_get("/metrics");
    let kind = answer.header("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = answer.text();
    let expected = [
        "ckgate_requests_total{operation=\"agents.messages.list\",outcome=\"Forwarded\"} 2",
        "ckgate_refusals_total{reason=\"permission_denied\"} 1",
        "ckgate_tokens_created_total 1",
        "ckgate_tokens_deleted_total 1",
        "ckgate_ready 1",
    ];
    for line in expected {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
    for name in ["ckgate_streams", "ckgate_connections", "ckgate_upstream_connects_total"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in:\n{text}");
    }
    assert!(!text.contains("agent-") && !text.contains(&token[7..20]), "{text}");
}

#[test]
fn each_request_is_one_event_in_the_log_with_its_decision() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let target = agent_path(A, "/messages");
    let passed = gate.call("GET", &target).token(&token).send();
    let refused = gate.call("GET", &agent_path(B, "/messages")).token(&token).send();
    for (answer, reason) in [(&passed, None), (&refused, Some("permission_denied"))] {
        let id = answer.header("x-request-id").unwrap();
        let of_this = |line: &str| (field(line, "request.id")? == id).then(|| line.to_owned());
        let line = gate.log().wait_for("the request's event", of_this).unwrap();
        assert_eq!(field(&line, "operation").unwrap(), "agents.messages.list", "{line}");
        assert!(field(&line, "decision").is_some(), "{line}");
        assert_eq!(field(&line, "deny.reason").as_ref().and_then(Value::as_str), reason, "{line}");
        let token_id = field(&line, "token.id").unwrap();
        assert_eq!(token_id.as_str().unwrap().len(), 32, "{line}");
        let same = |l: &String| field(l, "request.id").is_some_and(|i| i == id);
        assert_eq!(gate.log_lines().iter().filter(|l| same(l)).count(), 1, "one event");
    }
}

/// L-01, L-02: the harness searches the whole log of every test; here with everything that holds one.
#[test]
fn log_at_its_most_talkative_holds_no_secret_and_no_message() {
    let mut gate = Gate::before_letta_with(&[("log.level", "trace".into())]);
    let token = mint(&gate, A, &["read_messages", "write_messages", "read_agent"]);
    let say = gate.call("POST", &agent_path(A, "/messages")).token(&token);
    say.json(&says("words that are private")).send();
    gate.call("GET", &agent_path(A, "")).token(&token).send();
    let in_query = format!("{}?token={token}", agent_path(A, "/messages"));
    gate.call("GET", &in_query).token(&token).open().answer("GET");
    let in_path = format!("/v1/{token}/{SERVER_KEY}");
    gate.call("GET", &in_path).token(&token).open().answer("GET");
    let misspelt = format!("/v1/client-side-access-token/{token}");
    gate.call("DELETE", &misspelt).bearer(SERVER_KEY).open().answer("DELETE");
    let as_key = format!("{}?{token}=1", agent_path(A, "/messages"));
    gate.call("GET", &as_key).token(&token).open().answer("GET");
    let as_field = gate.call("POST", &agent_path(A, "/messages")).token(&token);
    as_field.json(&serde_json::json!({ &token: 1 })).open().answer("POST");
    let as_origin = gate.call("GET", &agent_path(A, "/messages")).bearer(&token);
    as_origin.origin(&format!("https://{token}")).open().answer("GET");
    gate.call("GET", "/")
        .bearer(&format!("{token}x"))
        .header("Cookie", &token)
        .open()
        .answer("GET");
    delete(&gate, &token);
    gate.terminate();
    gate.wait_for_exit();
    let lines = gate.log_lines().join("\n");
    assert!(!lines.contains("words that are private"), "{lines}");
    assert!(!lines.contains(&token[20..]), "{lines}");
}

/// C-11.
#[test]
fn stolen_store_holds_no_usable_token() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let parts = [&b"ck-let-"[..], &token.as_bytes()[30..], SERVER_KEY.as_bytes()];
    let mut looked_at = 0;
    for entry in fs::read_dir(gate.directory()).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_str().unwrap().starts_with("ckgate.db") {
            continue;
        }
        looked_at += 1;
        let bytes = fs::read(&path).unwrap();
        for part in parts {
            assert!(!bytes.windows(part.len()).any(|window| window == part), "{}", path.display());
        }
    }
    assert!(looked_at > 0, "no store in {}", gate.directory().display());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&gate.directory().join("ckgate.key")), 0o600);
}

/// G-03.
#[test]
fn termination_lets_open_streams_finish_and_takes_nobody_new() {
    let signal = Signal::new();
    let reply = Reply::stream().event("one").wait(&signal).event("two").last_chunk();
    let recorder = Recorder::with(move |_| reply.clone());
    let mut gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["write_messages"]);
    let stream =
        gate.call("POST", &agent_path(A, "/messages/stream")).token(&token).json(&says("x"));
    let (_, mut connection) = stream.start();
    connection.read_until("the first event", |read| read.ends_with("\n\n"));
    gate.terminate();
    // The listener closes as soon as the signal has been handled.
    eventually("the listener closes", || TcpStream::connect(gate.public()).is_err());
    assert_eq!(gate.admin_get("/readyz").status, 503, "not ready while it drains");
    assert_eq!(gate.admin_get("/healthz").status, 200, "but alive");
    signal.raise();
    assert_eq!(connection.rest(), "data: two\n\n");
    assert_eq!(gate.wait_for_exit().code(), Some(0));
}

/// G-03.
#[test]
fn stream_that_does_not_finish_is_ended_at_the_drain_deadline() {
    let recorder = Recorder::with(|_| Reply::stream().event("one"));
    let mut gate = Gate::start_with(&recorder, &[("server.drain_timeout", "300ms".into())]);
    let token = mint(&gate, A, &["write_messages"]);
    let stream =
        gate.call("POST", &agent_path(A, "/messages/stream")).token(&token).json(&says("x"));
    let (_, mut connection) = stream.start();
    connection.read_until("the first event", |read| read.ends_with("\n\n"));
    gate.terminate();
    let last = String::from_utf8(connection.until_close()).unwrap();
    assert!(last.contains("event: error\n"), "a stream ends with a word: {last:?}");
    assert_eq!(gate.wait_for_exit().code(), Some(0));
}

#[test]
fn tokens_and_their_values_survive_a_restart() {
    let recorder = Recorder::start();
    let mut gate = Gate::start(&recorder);
    let tokens: BTreeSet<String> = (0..3).map(|_| mint(&gate, A, &["read_messages"])).collect();
    gate.terminate();
    gate.wait_for_exit();
    gate.restart();
    let listed = gate.call("GET", crate::harness::TOKENS).bearer(SERVER_KEY).send().json();
    let values = listed["tokens"].as_array().unwrap().iter();
    let listed: BTreeSet<String> =
        values.map(|t| t["token"].as_str().unwrap().to_owned()).collect();
    assert_eq!(listed, tokens);
    for token in &tokens {
        assert_eq!(read(&gate, A, token), 200);
    }
}

///
#[test]
fn gate_without_a_server_key_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ckgate"))
        .arg("serve")
        .current_dir(directory.path())
        .env_clear()
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("CKGATE_SERVER_KEY"), "{said}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "and leaves nothing behind");
}

/// The token API can be kept away from the public listener.
#[test]
fn control_listener_takes_the_token_api_over() {
    let recorder = Recorder::start();
    let gate = Gate::start_with(&recorder, &[("listen.control", "127.0.0.1:0".into())]);
    let listed = gate.call("GET", crate::harness::TOKENS).bearer(SERVER_KEY).send();
    assert_ne!(listed.status, 200, "not on the public listener");
    assert!(
        !recorder.requests().iter().any(|r| r.target().contains("client-side")),
        "nor upstream"
    );
    let control = |line: &str| field(line, "listen.control")?.as_str()?.parse().ok();
    let control = Log::wait_for(gate.log(), "the control address", control).unwrap();
    let there = crate::harness::Call::to(control, "GET", crate::harness::TOKENS).bearer(SERVER_KEY);
    assert_eq!(there.send().status, 200);
}
