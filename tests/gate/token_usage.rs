//! What a token was used for, and when last.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::harness::{
    A, B, Call, Connection, Gate, SERVER_KEY, TOKENS, agent_path, delete, eventually, hang_up,
    mint, says,
};

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

fn list(gate: &Gate, query: &str) -> Vec<Value> {
    let answer = gate.call("GET", &format!("{TOKENS}{query}")).bearer(SERVER_KEY).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["tokens"].as_array().unwrap().clone()
}

/// What is shown of the only token.
fn usage(gate: &Gate) -> Value {
    list(gate, "?usage=true")[0]["usage"].clone()
}

fn requests(gate: &Gate, permission: &str) -> u64 {
    usage(gate)[permission]["requests"].as_u64().unwrap()
}

fn read(gate: &Gate, token: &str) -> Call {
    gate.call("GET", &agent_path(A, "/messages")).token(token)
}

/// Reads so often.
#[track_caller]
fn use_token(gate: &Gate, token: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(read(gate, token).send().status, 200);
    }
}

#[test]
fn list_shows_how_often_and_when_last_each_permission_was_used() {
    let gate = Gate::before_letta();
    let began = Timestamp::now();
    let token = mint(&gate, A, &ALL);
    let unused = json!({"requests": 0, "last_used_at": null});
    for permission in ALL {
        assert_eq!(usage(&gate)[permission], unused);
    }
    use_token(&gate, &token, 3);
    let stream = gate.call("POST", &agent_path(A, "/messages/stream")).token(&token);
    assert_eq!(stream.json(&says("hello")).send().status, 200);
    let ended = Timestamp::now();
    eventually("it is counted", || requests(&gate, "write_messages") == 1);
    let shown = usage(&gate);
    assert_eq!(shown["read_messages"]["requests"], 3);
    assert_eq!((&shown["read_agent"], &shown["write_agent"]), (&unused, &unused));
    for permission in ["read_messages", "write_messages"] {
        let last: Timestamp = shown[permission]["last_used_at"].as_str().unwrap().parse().unwrap();
        let slack = jiff::SignedDuration::from_millis(1);
        assert!(began - slack <= last && last <= ended, "{permission}: {last}");
    }
    assert_eq!(list(&gate, "")[0].get("usage"), None, "only for those who ask");
    assert_eq!(list(&gate, "?usage=false")[0].get("usage"), None);
}

#[test]
fn only_what_the_token_has_is_shown_and_only_what_was_admitted_is_counted() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let refused = [
        gate.call("GET", &agent_path(A, "")).token(&token),
        gate.call("GET", &agent_path(B, "/messages")).token(&token),
        gate.call("GET", &agent_path(A, "/messages")).bearer(&token).origin("https://other.test"),
        gate.call("GET", &agent_path(A, "/messages?nonsense=1")).token(&token),
    ];
    for call in refused {
        assert_eq!(call.send().status, 403);
    }
    use_token(&gate, &token, 1);
    eventually("it is counted", || requests(&gate, "read_messages") > 0);
    let shown = usage(&gate);
    assert_eq!(shown["read_messages"]["requests"], 1);
    assert_eq!(shown.as_object().unwrap().len(), 1, "{shown}");
}

#[test]
fn gate_that_ends_in_order_forgets_no_request() {
    let mut gate = Gate::before_letta();
    let token = mint(&gate, A, &ALL);
    use_token(&gate, &token, 7);
    gate.terminate();
    assert!(gate.wait_for_exit().success());
    gate.restart();
    assert_eq!(requests(&gate, "read_messages"), 7);
}

/// It waits for its body while the configuration changes, and is judged by the one it came under.
#[test]
fn request_that_outlasts_its_configuration_is_counted() {
    let mut gate = Gate::before_letta_with(&[("server.workers", 1.into())]);
    let token = mint(&gate, A, &ALL);
    let body = says("hello");
    let call = gate.call("POST", &agent_path(A, "/messages")).token(&token).json(&body);
    let bytes = call.header("Expect", "100-continue").bytes();
    let (head, body) = bytes.split_at(bytes.len() - body.to_string().len());
    let mut connection = Connection::open(gate.public());
    connection.send(head);
    assert_eq!(connection.until_first_bytes(), b"HTTP/1.1 100 Continue\r\n\r\n");
    hang_up(&gate);
    use_token(&gate, &token, 1);
    connection.send(body);
    assert_eq!(connection.answer("POST").status, 200);
    drop(connection);
    gate.terminate();
    assert!(gate.wait_for_exit().success());
    gate.restart();
    assert_eq!((requests(&gate, "read_messages"), requests(&gate, "write_messages")), (1, 1));
}

/// What was written stays; what was counted since may be lost, and nothing is counted that was not.
#[test]
fn gate_that_is_killed_loses_the_last_seconds_at_most() {
    let mut gate = Gate::before_letta();
    let token = mint(&gate, A, &ALL);
    use_token(&gate, &token, 5);
    eventually("it is written", || requests(&gate, "read_messages") == 5);
    use_token(&gate, &token, 3);
    gate.restart();
    let kept = requests(&gate, "read_messages");
    assert!((5..=8).contains(&kept), "{kept}");
    use_token(&gate, &token, 2);
    eventually("it counts on", || requests(&gate, "read_messages") == kept + 2);
}

#[test]
fn cores_count_together() {
    let gate = Gate::before_letta_with(&[("server.workers", 4.into())]);
    let token = mint(&gate, A, &ALL);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| use_token(&gate, &token, 5));
        }
    });
    eventually("all are counted", || requests(&gate, "read_messages") == 40);
}

#[test]
fn usage_of_others_is_not_shown() {
    let gate = Gate::before_letta();
    let (used, unused) = (mint(&gate, A, &ALL), mint(&gate, A, &ALL));
    use_token(&gate, &used, 2);
    // In either order, if both were made in the same millisecond.
    let requests_of = |token: &str| {
        let shown = list(&gate, "?usage=true");
        let one = shown.iter().find(|one| one["token"] == token).expect("it is in the list");
        one["usage"]["read_messages"]["requests"].clone()
    };
    eventually("it is counted", || requests_of(&used) == 2);
    assert_eq!(requests_of(&unused), 0);
    delete(&gate, &used);
    let left = list(&gate, "?usage=true");
    assert_eq!(left.len(), 1, "what is deleted is shown no more");
    assert_eq!(left[0]["token"], unused);
}

#[test]
fn parameter_that_is_neither_true_nor_false_is_refused() {
    let gate = Gate::before_letta();
    for query in ["?usage=1", "?usage=", "?usage=TRUE", "?usage=true&usage=true"] {
        let answer = gate.call("GET", &format!("{TOKENS}{query}")).bearer(SERVER_KEY).send();
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{query}");
        assert!(answer.message().contains("usage"));
    }
}

/// A gate that is idle writes nothing, and one that was used writes within seconds.
#[test]
fn what_was_counted_is_shown_within_seconds() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &ALL);
    use_token(&gate, &token, 1);
    let used = std::time::Instant::now();
    eventually("it is counted", || requests(&gate, "read_messages") == 1);
    // Told by the core within a second, written within five, and a busy machine.
    assert!(used.elapsed() < Duration::from_secs(12), "{:?}", used.elapsed());
}
