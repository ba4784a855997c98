//! The audit log of a running gate.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::harness::{
    A, B, Gate, Recorder, SERVER_KEY, TOKENS, agent_path, delete, eventually, mint,
};

fn gate(recorder: &Recorder, directory: &tempfile::TempDir) -> Gate {
    let file = directory.path().join("audit.log");
    let settings = [
        ("audit.file", file.to_str().unwrap().into()),
        // What is audited does not depend on what is logged.
        ("log.layers", toml::Value::Table(toml::toml! { proxy = "error" })),
    ];
    Gate::start_with(recorder, &settings)
}

fn entries(directory: &tempfile::TempDir) -> Vec<Value> {
    let text = fs::read_to_string(directory.path().join("audit.log")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn verify(files: &[&std::path::Path]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ckgate"));
    let output = command.args(["audit", "verify"]).args(files).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn tokens_and_refusals_are_kept_in_a_chain_over_rotation_and_restart() {
    let (recorder, directory) = (Recorder::start(), tempfile::tempdir().unwrap());
    let mut gate = gate(&recorder, &directory);
    let (path, old) = (directory.path().join("audit.log"), directory.path().join("audit.log.1"));
    let token = mint(&gate, A, &["read_messages"]);
    assert_eq!(gate.call("GET", &agent_path(A, "/messages")).token(&token).send().status, 200);
    assert_eq!(gate.call("GET", &agent_path(B, "/messages")).token(&token).send().status, 403);
    // A refusal is written when its answer has been sent, and what follows may be on another core.
    eventually("the refusal is there", || entries(&directory).len() == 2);
    assert_eq!(gate.call("GET", TOKENS).bearer(SERVER_KEY).send().status, 200);
    delete(&gate, &token);
    eventually("four entries", || entries(&directory).len() == 4);
    let said: Vec<_> = entries(&directory)
        .iter()
        .map(|entry| (entry["message"].clone(), entry["deny.reason"].clone()))
        .collect();
    let message = |text: &str| (Value::from(text), Value::Null);
    let refusal = (Value::from("request"), Value::from("permission_denied"));
    let expected =
        [message("token created"), refusal, message("tokens listed"), message("token deleted")];
    assert_eq!(said, expected);

    fs::rename(&path, &old).unwrap();
    assert_eq!(gate.call("GET", &agent_path(A, "/messages")).token(&token).send().status, 401);
    eventually("the new file has an entry", || entries(&directory).len() == 1);
    gate.restart();
    assert_eq!(gate.call("GET", &agent_path(A, "/messages")).token(&token).send().status, 401);
    eventually("the restarted gate goes on", || entries(&directory).len() == 2);
    assert_eq!(verify(&[&old, &path]), (true, "ok: 6 entries\n".to_owned()));

    let text = fs::read_to_string(&old).unwrap();
    assert!(!text.contains("ck-let-") && !text.contains("sk-let-"), "{text}");
    fs::write(&old, text.replace("permission_denied", "route_not_allowed")).unwrap();
    let (ok, said) = verify(&[&old, &path]);
    assert!(!ok && said.contains("audit.log.1:2"), "{said}");
}
