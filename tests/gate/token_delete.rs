//! Deleting tokens: what the answer means, and what it never does.

use std::time::Duration;

use crate::harness::{
    A, Answer, Gate, OTHER_SERVER_KEY, SERVER_KEY, TOKENS, agent_path, assert_refused, delete,
    eventually, mint, mint_until,
};

#[track_caller]
fn use_token(gate: &Gate, token: &str) -> Answer {
    gate.call("GET", &agent_path(A, "/messages")).token(token).send()
}

#[track_caller]
fn delete_answer(gate: &Gate, key: &str, token: &str) -> Answer {
    gate.call("DELETE", &format!("{TOKENS}/{token}")).bearer(key).send()
}

#[test]
fn deleted_token_is_refused_at_the_next_request() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    assert_eq!(use_token(&gate, &token).status, 200);
    let answer = delete_answer(&gate, SERVER_KEY, &token);
    assert_eq!((answer.status, answer.text()), (200, "{}".to_owned()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_refused(&use_token(&gate, &token), 401, "token_invalid");
}

#[test]
fn deleting_again_or_after_expiry_answers_the_same() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let short = mint_until(&gate, A, &["read_messages"], Duration::from_millis(500));
    delete(&gate, &token);
    delete(&gate, &token);
    eventually("the token expires", || use_token(&gate, &short).status == 401);
    delete(&gate, &short);
    delete(&gate, &short);
}

/// What is not there and what is not yours look the same.
#[test]
fn token_that_was_never_issued_or_is_anothers_is_not_found() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let last = token.chars().last().unwrap();
    let forged = format!("{}{}", &token[..token.len() - 1], if last == 'A' { 'B' } else { 'A' });
    let foreign = delete_answer(&gate, OTHER_SERVER_KEY, &token);
    let unissued = delete_answer(&gate, SERVER_KEY, &forged);
    assert_eq!((foreign.status, unissued.status), (404, 404));
    assert_eq!((foreign.code(), foreign.message()), (unissued.code(), unissued.message()));
    for text in ["ck-let-", "nonsense", "ck-let-AAAA", SERVER_KEY] {
        let call = gate.call("DELETE", &format!("{TOKENS}/{text}")).bearer(SERVER_KEY);
        assert_eq!(call.open().answer("DELETE").status, 404, "{text}");
    }
    assert_eq!(use_token(&gate, &token).status, 200, "another account has not deleted it");
}

/// The SDKs send a content type with no body, or a body that nobody needs.
#[test]
fn body_of_a_deletion_is_ignored() {
    let gate = Gate::before_letta();
    let call = |token: &str| {
        let call = gate.call("DELETE", &format!("{TOKENS}/{token}")).bearer(SERVER_KEY);
        call.header("Content-Type", "application/json")
    };
    let tokens: Vec<String> = (0..4).map(|_| mint(&gate, A, &["read_messages"])).collect();
    let calls = [
        call(&tokens[0]),
        call(&tokens[1]).body(""),
        call(&tokens[2]).body("{}"),
        call(&tokens[3]).body(r#"{"reason":"logged out"}"#),
    ];
    for (call, token) in calls.iter().zip(&tokens) {
        assert_eq!(call.send().status, 200);
        assert_refused(&use_token(&gate, token), 401, "token_invalid");
    }
}

#[test]
fn escaped_token_in_the_path_is_the_token() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let escaped = token.replacen('-', "%2D", 2);
    assert_eq!(delete_answer(&gate, SERVER_KEY, &escaped).status, 200);
    assert_refused(&use_token(&gate, &token), 401, "token_invalid");
}

/// C-12.
#[test]
fn acknowledged_deletion_survives_a_kill() {
    let mut gate = Gate::before_letta();
    let kept = mint(&gate, A, &["read_messages"]);
    let token = mint(&gate, A, &["read_messages"]);
    assert_eq!(use_token(&gate, &token).status, 200);
    delete(&gate, &token);
    gate.restart();
    assert_refused(&use_token(&gate, &token), 401, "token_invalid");
    assert_ne!(use_token(&gate, &kept).status, 401);
}

/// C-01 for one gate: every request that starts after the answer is refused.
#[test]
fn no_request_passes_after_the_answer_whatever_is_in_flight() {
    let gate = Gate::before_letta();
    for _ in 0..10 {
        let token = mint(&gate, A, &["read_messages"]);
        std::thread::scope(|scope| {
            let hammering: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| while use_token(&gate, &token).status == 200 {}))
                .collect();
            delete(&gate, &token);
            assert_eq!(use_token(&gate, &token).status, 401);
            for thread in hammering {
                thread.join().unwrap();
            }
            assert_eq!(use_token(&gate, &token).status, 401, "deleted stays deleted");
        });
    }
}
