//! A store that cannot answer: what is not known is neither admitted nor called invalid.

use rusqlite::Connection;

use crate::harness::{
    A, Answer, Gate, ORIGIN, SERVER_KEY, TOKENS, agent_path, assert_refused, create_answer, delete,
    eventually, mint,
};

fn read(gate: &Gate, token: &str) -> Answer {
    gate.call("GET", &agent_path(A, "/messages")).token(token).send()
}

/// Takes every table away, or brings it back.
fn rename_tables(gate: &Gate, from: &str, to: &str) {
    let store = Connection::open(gate.directory().join("ckgate.db")).unwrap();
    let names: Vec<String> = store
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for name in names.iter().filter(|name| name.starts_with(from)) {
        let renamed = format!("{to}{}", &name[from.len()..]);
        store.execute_batch(&format!("ALTER TABLE \"{name}\" RENAME TO \"{renamed}\"")).unwrap();
    }
}

fn break_store(gate: &Gate) {
    rename_tables(gate, "", "gone_");
}

fn mend_store(gate: &Gate) {
    rename_tables(gate, "gone_", "");
}

/// C-06.
#[test]
fn token_that_cannot_be_looked_up_is_neither_admitted_nor_called_invalid() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    break_store(&gate);
    let answer = read(&gate, &token);
    assert_refused(&answer, 503, "store_unavailable");
    assert!(answer.header("retry-after").is_some());
    mend_store(&gate);
    eventually("the store is back", || read(&gate, &token).status != 503);
    assert_eq!(read(&gate, &token).status, 200, "nothing of it is remembered");
}

#[test]
fn what_needs_no_store_goes_on_without_it() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    break_store(&gate);
    let forged = format!("{}AAAAAAAA", &token[..token.len() - 8]);
    assert_refused(&read(&gate, &forged), 401, "token_invalid");
    assert_eq!(gate.call("GET", "/v1/tools/").bearer(SERVER_KEY).send().status, 200);
}

/// C-06: a deletion that was not written is never acknowledged.
#[test]
fn token_api_acknowledges_nothing_that_it_could_not_write() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    break_store(&gate);
    let policy = serde_json::json!([{"type": "agent", "id": A, "access": ["read_agent"]}]);
    let body = serde_json::json!({"policy": policy, "hostname": ORIGIN});
    let answers = [
        create_answer(&gate, &body),
        gate.call("GET", TOKENS).bearer(SERVER_KEY).send(),
        gate.call("DELETE", &format!("{TOKENS}/{token}")).bearer(SERVER_KEY).send(),
    ];
    for answer in answers {
        assert_refused(&answer, 503, "store_unavailable");
    }
    mend_store(&gate);
    eventually("the store is back", || read(&gate, &token).status != 503);
    delete(&gate, &token);
    assert_refused(&read(&gate, &token), 401, "token_invalid");
}

/// C-07: what was seen lately may be believed for a while, and no longer.
#[test]
fn remembered_token_is_believed_only_while_the_feed_is_confirmed() {
    let gate = Gate::before_letta_with(&[("revocation.max_staleness", "1500ms".into())]);
    let token = mint(&gate, A, &["read_messages"]);
    assert_eq!(read(&gate, &token).status, 200);
    break_store(&gate);
    eventually("it is believed no more", || read(&gate, &token).status != 200);
    let refused = read(&gate, &token);
    assert_refused(&refused, 503, "store_unavailable");
    mend_store(&gate);
    eventually("the store is back", || read(&gate, &token).status != 503);
    assert_eq!(read(&gate, &token).status, 200);
}
