//! Listing tokens: whose, which, in what order, page by page.

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    A, Answer, B, Gate, ORIGIN, OTHER_SERVER_KEY, SERVER_KEY, TOKENS, agent_path, delete,
    eventually, mint, mint_for, mint_until,
};

#[track_caller]
fn list_answer(gate: &Gate, key: &str, query: &str) -> Answer {
    gate.call("GET", &format!("{TOKENS}{query}")).bearer(key).send()
}

/// The token texts of one page, and whether there is another.
#[track_caller]
fn list(gate: &Gate, query: &str) -> (Vec<String>, bool) {
    let answer = list_answer(gate, SERVER_KEY, query);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    let token = |entry: &Value| entry["token"].as_str().unwrap().to_owned();
    let tokens = body["tokens"].as_array().unwrap().iter().map(token).collect();
    (tokens, body["hasNextPage"].as_bool().unwrap())
}

/// So many tokens, newest first. Tokens of one millisecond have no order among them, so each is
/// given a millisecond of its own.
fn several(gate: &Gate, count: usize) -> Vec<String> {
    let one = |_| {
        std::thread::sleep(Duration::from_millis(2));
        mint(gate, A, &["read_agent"])
    };
    let mut tokens: Vec<String> = (0..count).map(one).collect();
    tokens.reverse();
    tokens
}

#[test]
fn list_returns_the_same_values_as_create_newest_first() {
    let gate = Gate::before_letta();
    let tokens = several(&gate, 3);
    let answer = list_answer(&gate, SERVER_KEY, "").json();
    assert_eq!(answer["hasNextPage"], false);
    let first = &answer["tokens"][0];
    assert_eq!(first["token"], tokens[0]);
    assert_eq!(first["hostname"], ORIGIN);
    assert_eq!(first["policy"]["version"], "1");
    assert_eq!(first["policy"]["data"][0]["access"][0], "read_agent");
    assert!(first["expiresAt"].is_string());
    assert_eq!(list(&gate, "").0, tokens);
}

#[test]
fn pages_cover_every_token_once_in_order() {
    let gate = Gate::before_letta();
    let tokens = several(&gate, 12);
    assert_eq!(list(&gate, ""), (tokens[..10].to_vec(), true), "ten unless asked otherwise");
    assert_eq!(list(&gate, "?offset=10"), (tokens[10..].to_vec(), false));
    assert_eq!(list(&gate, "?limit=5&offset=5"), (tokens[5..10].to_vec(), true));
    assert_eq!(list(&gate, "?limit=12"), (tokens.clone(), false), "exactly full is no next page");
    assert_eq!(list(&gate, "?offset=12"), (Vec::new(), false));
    assert_eq!(list(&gate, "?offset=1000000"), (Vec::new(), false));
    // New tokens come first, so what has been passed over only moves back.
    several(&gate, 1);
    assert_eq!(list(&gate, "?limit=5&offset=6").0, tokens[5..10].to_vec());
}

#[test]
fn numbers_arrive_with_and_without_a_fraction_of_zero() {
    let gate = Gate::before_letta();
    let tokens = several(&gate, 3);
    assert_eq!(list(&gate, "?limit=2.0&offset=1.0"), (tokens[1..].to_vec(), false));
    assert_eq!(list(&gate, "?limit=10.0&offset=0.0"), (tokens.clone(), false));
    assert_eq!(list(&gate, "?limit=1000"), (tokens, false));
}

///
#[test]
fn numbers_out_of_range_or_of_another_kind_are_refused_by_name() {
    let gate = Gate::before_letta();
    let wrong = ["0", "-1", "1001", "1.5", "ten", "", "1e1", "0x10", "%31%30x", "1000000000000"];
    for value in wrong {
        let answer = list_answer(&gate, SERVER_KEY, &format!("?limit={value}"));
        assert_eq!(answer.status, 400, "limit={value}");
        assert!(answer.message().contains("limit"), "{}", answer.message());
    }
    for value in ["-1", "0.5", "x", ""] {
        let answer = list_answer(&gate, SERVER_KEY, &format!("?offset={value}"));
        assert_eq!(answer.status, 400, "offset={value}");
        assert!(answer.message().contains("offset"), "{}", answer.message());
    }
}

#[test]
fn agent_filter_shows_only_tokens_whose_policy_names_the_agent() {
    let gate = Gate::before_letta();
    let only_a = mint(&gate, A, &["read_agent"]);
    let both = mint_for(&gate, ORIGIN, &[(B, &["read_agent"]), (A, &["read_messages"])]);
    let only_b = mint(&gate, B, &["read_agent"]);
    assert_eq!(list(&gate, &format!("?agentId={A}")).0, [both.clone(), only_a]);
    assert_eq!(list(&gate, &format!("?agentId={B}&limit=10.0")).0, [only_b, both]);
    let other = "agent-33333333-3333-4333-8333-333333333333";
    assert_eq!(list(&gate, &format!("?agentId={other}")), (Vec::new(), false));
    for id in ["*", "agent-nope", "%27%20OR%201=1--", "%25"] {
        let answer = list_answer(&gate, SERVER_KEY, &format!("?agentId={id}"));
        assert_eq!(answer.status, 400, "{id}: {}", answer.text());
    }
}

#[test]
fn tokens_of_another_account_are_not_listed() {
    let gate = Gate::before_letta();
    let tokens = several(&gate, 2);
    let other = list_answer(&gate, OTHER_SERVER_KEY, "").json();
    assert_eq!(other["tokens"].as_array().unwrap().len(), 0);
    assert_eq!(list(&gate, "").0, tokens);
}

#[test]
fn deleted_and_expired_tokens_are_not_listed() {
    let gate = Gate::before_letta();
    let short = mint_until(&gate, A, &["read_messages"], Duration::from_millis(800));
    let tokens = several(&gate, 2);
    delete(&gate, &tokens[1]);
    let use_it = || gate.call("GET", &agent_path(A, "/messages")).token(&short).send();
    eventually("the token expires", || use_it().status == 401);
    assert_eq!(list(&gate, ""), (vec![tokens[0].clone()], false));
}
