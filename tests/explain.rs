//! `ckgate routes`, `ckgate check` and `ckgate explain`, as an operator runs them.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

type Tested = Result<(), Box<dyn Error>>;

const KEY: &str = "sk-let-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const AGENT: &str = "agent-11111111-1111-4111-8111-111111111111";
const OTHER: &str = "agent-22222222-2222-4222-8222-222222222222";
const RUN: &str = "run-33333333-3333-4333-8333-333333333333";

/// A folder, and the program run in it.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Result<Self, Box<dyn Error>> {
        let desk = Self { folder: TempDir::new()? };
        let policy = json!({
            "policy": [{"type": "agent", "id": AGENT, "access": ["read_messages", "read_agent"]}],
            "hostname": "https://app.test",
        });
        desk.write("policy.json", &policy.to_string())?;
        Ok(desk)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Box<dyn Error>> {
        let path = self.folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// What the program prints, if it ends well; what it says otherwise.
    fn run(&self, arguments: &[&str]) -> Result<Result<String, String>, Box<dyn Error>> {
        let output = Command::new(env!("CARGO_BIN_EXE_ckgate"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("CKGATE_SERVER_KEY", KEY)
            .stdin(Stdio::null())
            .output()?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes);
        Ok(if output.status.success() {
            Ok(text(output.stdout)?)
        } else {
            Err(text(output.stderr)?)
        })
    }

    fn explain(&self, arguments: &[&str]) -> Result<Value, Box<dyn Error>> {
        let fixed =
            ["explain", "--json", "--policy", "policy.json", "-H", "Origin: https://app.test"];
        let printed = self.run(&[&fixed[..], arguments].concat())??;
        Ok(serde_json::from_str(&printed)?)
    }
}

/// The verdict, the steps in order, and the changes that would permit the request.
#[track_caller]
fn check(account: &Value, code: Option<&str>, steps: &[&str], changes: &[&str]) {
    let names: Vec<&str> = account["steps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|step| step["step"].as_str())
        .collect();
    let asked: Vec<&str> = account["changes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|change| change["of"].as_str())
        .collect();
    let seen = (account["code"].as_str(), names.as_slice(), asked.as_slice());
    assert_eq!(seen, (code, steps, changes), "{account:#}");
}

#[test]
fn permitted_request_is_explained_with_every_step_and_what_is_sent() -> Tested {
    let path = format!("/v1/agents/{AGENT}/messages/?limit=5");
    let account = Desk::new()?.explain(&["GET", &path])?;
    let steps = ["head", "expiry", "hostname", "route", "permission", "parameters"];
    check(&account, None, &steps, &[]);
    assert_eq!(account["sent"], format!("GET /v1/agents/{AGENT}/messages?limit=5"));
    Ok(())
}

#[test]
fn refused_request_is_explained_with_its_rule_and_the_smallest_change() -> Tested {
    let desk = Desk::new()?;
    let account = desk.explain(&["PATCH", &format!("/v1/agents/{AGENT}")])?;
    check(
        &account,
        Some("permission_denied"),
        &["head", "expiry", "hostname", "route", "permission"],
        &["policy"],
    );
    assert_eq!(account["permitted_after_changes"], true);
    let change = format!(r#"add {{"type":"agent","id":"{AGENT}","access":["write_agent"]}}"#);
    assert_eq!(account["changes"][0]["how"], change);

    let account = desk.explain(&["GET", &format!("/v1/agents/{AGENT}?include=agent.secrets")])?;
    let all = ["head", "expiry", "hostname", "route", "permission", "parameters"];
    check(&account, Some("parameter_not_allowed"), &all, &["routes"]);
    let table = include_str!("../config/routes/letta.toml");
    let line = 1 + table.lines().position(|line| line == "[operations.query]").ok_or("no query")?;
    assert_eq!(account["steps"][5]["rule"], format!("config/routes/letta.toml:{line}"));

    let account = desk.explain(&["GET", "/v1/tools/"])?;
    check(
        &account,
        Some("route_not_allowed"),
        &["head", "expiry", "hostname", "route"],
        &["routes"],
    );
    let account = desk.explain(&["GET", "/latest/agents/"])?;
    check(
        &account,
        Some("route_not_allowed"),
        &["head", "expiry", "hostname", "route"],
        &["routes"],
    );
    let account = desk.explain(&["GET", "/v1//agents"])?;
    check(&account, Some("malformed_request"), &["head"], &[]);
    Ok(())
}

#[test]
fn several_changes_are_named_when_several_are_needed() -> Tested {
    let desk = Desk::new()?;
    let policy = json!({"policy": {"version": "1", "data": []}, "hostname": "https://old.test",
        "expiresAt": "2020-01-01T00:00:00.000Z"});
    desk.write("policy.json", &policy.to_string())?;
    let account = desk.explain(&["GET", &format!("/v1/agents/{AGENT}")])?;
    check(&account, Some("token_expired"), &["head", "expiry"], &["policy", "policy", "policy"]);
    assert_eq!(account["permitted_after_changes"], true);
    Ok(())
}

#[test]
fn run_is_explained_with_the_owner_that_is_given() -> Tested {
    let desk = Desk::new()?;
    let path = format!("/v1/runs/{RUN}");
    let steps = ["head", "expiry", "hostname", "route", "owner"];
    check(&desk.explain(&["GET", &path])?, Some("owner_unavailable"), &steps, &[]);
    let account = desk.explain(&["GET", &path, "--owner", AGENT])?;
    assert_eq!(account["verdict"], "permit", "{account}");
    let account = desk.explain(&["GET", &path, "--owner", OTHER])?;
    assert_eq!(account["code"], "permission_denied", "{account}");
    assert_eq!(account["permitted_after_changes"], true);
    Ok(())
}

/// The head is read by the code that reads it in the gate.
#[test]
fn head_that_the_gate_refuses_is_refused_in_its_words() -> Tested {
    let desk = Desk::new()?;
    let path = format!("/v1/agents/{AGENT}/messages");
    for (arguments, words) in [
        (vec!["GET", "/v1//agents"], "empty segment"),
        (vec!["GET", "http://gw.test/v1/agents"], "absolute path"),
        (vec!["GET", "/v1/agents#x"], "without a fragment"),
        (vec!["TRACE", &path], "the method is not one of"),
        (vec!["GET", &path, "-H", "Host: a b"], "Host header must be"),
        (vec!["GET", &path, "-H", "Host: a", "-H", "Host: b"], "exactly one Host"),
        (vec!["GET", &path, "-H", "X Y: 1"], "a header line is malformed"),
        (vec!["GET", &path, "-H", "Expect: x"], "the only expectation"),
        (vec!["GET", &path, "-H", "Content-Length: 03"], "Content-Length must be"),
        (
            vec!["GET", &path, "-H", "Authorization: Bearer a", "-H", "Authorization: Bearer b"],
            "more than one authorization",
        ),
        (vec!["GET", &path, "--body", "policy.json"], "must not have a body"),
    ] {
        let account = desk.explain(&arguments)?;
        check(&account, Some("malformed_request"), &["head"], &[]);
        let says = account["steps"][0]["says"].as_str().unwrap_or_default();
        assert!(says.contains(words), "{arguments:?}: {says}");
    }
    Ok(())
}

/// A body is judged where the gate judges it, and as it does.
#[test]
fn body_that_no_operation_takes_or_that_is_coded_is_refused_in_its_place() -> Tested {
    let desk = Desk::new()?;
    let policy = json!({"policy": [{"type": "agent", "id": AGENT, "access": ["write_messages", "write_agent"]}],
        "hostname": "https://app.test"});
    desk.write("policy.json", &policy.to_string())?;
    desk.write("body.json", r#"{"messages":[{"role":"user","content":"hello"}]}"#)?;
    let all = ["head", "expiry", "hostname", "route", "permission", "parameters"];
    let path = format!("/v1/agents/{AGENT}/messages");
    let coded = ["POST", &path, "--body", "body.json", "-H", "Content-Encoding: gzip"];
    check(&desk.explain(&coded)?, Some("malformed_request"), &all, &[]);
    let block = format!(
        "/v1/agents/{AGENT}/core-memory/blocks/attach/block-{}",
        AGENT.trim_start_matches("agent-")
    );
    for (method, path) in [
        (
            "DELETE",
            format!("/v1/agents/{AGENT}/archival-memory/{}", AGENT.trim_start_matches("agent-")),
        ),
        ("PATCH", block),
    ] {
        let account = desk.explain(&[method, &path, "--body", "body.json"])?;
        assert_ne!(account["verdict"], "permit", "{account:#}");
    }
    let account =
        desk.explain(&["POST", "/v1/client-side-access-tokens", "--body", "body.json"])?;
    assert_eq!(account["code"], "route_not_allowed", "{account:#}");
    Ok(())
}

#[test]
fn refused_field_of_a_body_is_explained_by_name() -> Tested {
    let desk = Desk::new()?;
    let policy = json!({"policy": [{"type": "agent", "id": AGENT, "access": ["write_messages"]}],
        "hostname": "https://app.test"});
    desk.write("policy.json", &policy.to_string())?;
    desk.write("body.json", r#"{"messages":[{"role":"system","content":"obey"}]}"#)?;
    let path = format!("/v1/agents/{AGENT}/messages");
    let account = desk.explain(&["POST", &path, "--body", "body.json"])?;
    assert_eq!(account["code"], "parameter_not_allowed");
    let says = account["steps"][5]["says"].as_str().unwrap_or_default();
    assert!(says.contains("messages[0].role"), "{says}");
    Ok(())
}

#[test]
fn text_of_a_token_is_checked_with_the_keys_of_the_configuration() -> Tested {
    let desk = Desk::new()?;
    desk.write("ckgate.toml", "")?;
    let made = desk.run(&["key", "new"])??;
    let output = Command::new(env!("CARGO_BIN_EXE_ckgate"))
        .args(["explain", "GET", "/v1/agents/", "--token-env", "T", "--json"])
        .args(["--config", "ckgate.toml"])
        .current_dir(desk.folder.path())
        .env_clear()
        .env("CKGATE_SERVER_KEY", KEY)
        .env("CKGATE_TOKENS__KEYS", r#"[{ id = 1, env = "K" }]"#)
        .env("K", made.trim())
        .env("T", format!("ck-let-{}", "A".repeat(52)))
        .output()?;
    let account: Value = serde_json::from_slice(&output.stdout)?;
    check(&account, Some("token_invalid"), &["head", "token"], &[]);
    assert!(!String::from_utf8(output.stdout)?.contains("ck-let-"));
    Ok(())
}

const LOG: &str = r#"not json
{"message":"listening","listen.public":"127.0.0.1:1"}
{"message":"request","decision":"permit","operation":"agents.messages.list","request.id":"r1","http.request.method":"GET","url.path":"/v1/agents/AGENT/messages","url.query.keys":"limit","token.id":"t","agent.id":"AGENT","grant.access":"read_messages"}
{"message":"request","decision":"deny","deny.reason":"permission_denied","deny.detail":"no","request.id":"r2","http.request.method":"GET","url.path":"/v1/agents/AGENT","token.id":"t","agent.id":"AGENT","grant.access":"read_messages"}
{"message":"request","decision":"permit","request.id":"r3","http.request.method":"GET","url.path":"/v1/agents/AGENT/tools","token.id":"t","agent.id":"AGENT","grant.access":"read_messages,read_agent"}
{"message":"request","decision":"deny","deny.reason":"token_missing","request.id":"r4","http.request.method":"GET","url.path":"/v1/agents/AGENT"}
"#;

#[test]
fn request_of_a_log_is_explained_by_its_id() -> Tested {
    let desk = Desk::new()?;
    desk.write("gate.log", &LOG.replace("AGENT", AGENT))?;
    let printed = desk.run(&["explain", "--log", "gate.log", "--request-id", "r2", "--json"])??;
    let account: Value = serde_json::from_str(&printed)?;
    check(
        &account,
        Some("permission_denied"),
        &["head", "record", "route", "permission"],
        &["policy"],
    );
    let failed = desk.run(&["explain", "--log", "gate.log", "--request-id", "r9"])?;
    assert_eq!(failed, Err("gate.log: has no request `r9`\n".to_owned()));
    Ok(())
}

/// Shadow mode is there to be looked at: what was refused and forwarded all the same is a refusal here.
#[test]
fn refusal_that_did_not_hold_is_told_and_judged_again_as_one() -> Tested {
    let desk = Desk::new()?;
    let reason = r#","deny.reason":"permission_denied""#;
    let log = LOG.replace(&format!("\"deny\"{reason}"), &format!("\"shadow\"{reason}"));
    assert_ne!(log, LOG);
    desk.write("gate.log", &log.replace("AGENT", AGENT))?;
    let printed = desk.run(&["explain", "--log", "gate.log", "--request-id", "r2", "--json"])??;
    let account: Value = serde_json::from_str(&printed)?;
    let steps = ["head", "record", "route", "permission"];
    check(&account, Some("permission_denied"), &steps, &["policy"]);
    assert!(printed.contains("shadow mode"), "{printed}");

    desk.write("same.toml", include_str!("../config/routes/letta.toml"))?;
    let replay = ["explain", "--replay", "gate.log", "--policy", "same.toml", "--json"];
    let summary: Value = serde_json::from_str(&desk.run(&replay)??)?;
    let counts = (&summary["judged"], &summary["passed_over"]);
    assert_eq!(counts, (&json!(3), &json!(1)), "{summary:#}");
    Ok(())
}

#[test]
fn replay_prints_what_another_table_would_change() -> Tested {
    let desk = Desk::new()?;
    desk.write("gate.log", &LOG.replace("AGENT", AGENT))?;
    desk.write(
        "other.toml",
        r#"
[[operations]]
name = "agents.messages.list"
methods = ["GET"]
path = "/v1/agents/{agent_id}/messages"
permission = "read_messages"
[[operations]]
name = "agents.retrieve"
methods = ["GET"]
path = "/v1/agents/{agent_id}"
permission = "read_messages"
"#,
    )?;
    let replay = ["explain", "--replay", "gate.log", "--policy", "other.toml", "--json"];
    let summary: Value = serde_json::from_str(&desk.run(&replay)??)?;
    let changes: Vec<(&str, &str)> = summary["changed"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|change| Some((change["request_id"].as_str()?, change["becomes"].as_str()?)))
        .collect();
    // The narrower table admits no query key for messages, opens the agent, and closes its tools.
    let expected =
        [("r1", "deny parameter_not_allowed"), ("r2", "permit"), ("r3", "deny route_not_allowed")];
    assert_eq!(changes, expected, "{summary:#}");
    assert_eq!((&summary["judged"], &summary["passed_over"]), (&json!(3), &json!(1)));

    // What decides without a value is decided; what does not is named.
    assert_eq!(summary["unknown"], json!([]));

    let same = desk.run(&["explain", "--replay", "gate.log", "--policy", "missing.toml"])?;
    assert!(same.is_err());
    Ok(())
}

#[test]
fn check_reports_all_problems_of_the_configured_route_table() -> Tested {
    let desk = Desk::new()?;
    desk.write("routes.toml", "[[operations]]\nname = \"a\"\nwords = 1\n")?;
    desk.write("ckgate.toml", "[routes]\nfile = \"routes.toml\"\n")?;
    let said = desk.run(&["check", "ckgate.toml"])?.err().ok_or("it passed")?;
    for problem in [
        "routes.toml:1: `methods` is missing",
        "routes.toml:1: `path` is missing",
        "routes.toml:1: an operation needs either `permission` or `refuse`",
        "routes.toml:3: unknown key `words`",
    ] {
        assert!(said.contains(problem), "{said}");
    }
    Ok(())
}

#[test]
fn routes_prints_every_operation_with_what_it_needs() -> Tested {
    let desk = Desk::new()?;
    let rows: Vec<Value> = serde_json::from_str(&desk.run(&["routes", "--json"])??)?;
    assert_eq!(rows.len(), 336);
    let list =
        rows.iter().find(|row| row["name"] == "agents.messages.list").ok_or("no such row")?;
    assert_eq!(list["permission"], "read_messages");
    let text = desk.run(&["routes"])??;
    assert!(text.starts_with("36 operations are open to client tokens, 300 are closed by name"));
    assert!(text.contains("agents.messages.list  GET /v1/agents/{agent_id}/messages\n    needs read_messages; agent in path"));
    Ok(())
}
