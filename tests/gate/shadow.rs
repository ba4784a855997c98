//! An account whose refusals are recorded and do not hold.

use std::fs;

use serde_json::json;

use crate::harness::{
    A, B, Gate, ORIGIN, OTHER_SERVER_KEY, Recorder, Reply, SERVER_KEY, TOKENS, agent_path,
    assert_refused, create, field, letta, says,
};

/// A gate whose account `default` is in shadow mode, `other` not; and a token of each.
fn stage(recorder: &Recorder) -> (Gate, String, String) {
    let gate = Gate::start(recorder);
    let path = gate.directory().join("ckgate.toml");
    let text = fs::read_to_string(&path).unwrap();
    let in_shadow = text.replacen("name = \"default\"", "name = \"default\"\nenforce = false", 1);
    assert_ne!(text, in_shadow);
    fs::write(&path, in_shadow).unwrap();
    let mut gate = gate;
    gate.restart();
    let mint = |key: &str| {
        let body = json!({
            "policy": [{"type": "agent", "id": A, "access": ["read_messages"]}],
            "hostname": ORIGIN,
        });
        let answer = gate.call("POST", TOKENS).bearer(key).json(&body).send();
        answer.json()["token"].as_str().unwrap().to_owned()
    };
    let (shadowed, enforced) = (mint(SERVER_KEY), mint(OTHER_SERVER_KEY));
    (gate, shadowed, enforced)
}

#[test]
fn what_the_policy_refuses_is_recorded_and_forwarded_for_that_account_only() {
    let recorder = Recorder::start();
    let (gate, shadowed, enforced) = stage(&recorder);
    let calls = |token: &str| {
        [
            (gate.call("GET", &agent_path(B, "/messages")).token(token), "permission_denied"),
            (gate.call("GET", "/v1/tools/").token(token), "route_not_allowed"),
            (
                gate.call("GET", &agent_path(A, "/messages"))
                    .bearer(token)
                    .origin("https://b.test"),
                "hostname_mismatch",
            ),
            (
                gate.call("GET", &agent_path(A, "/messages?no=1")).token(token),
                "parameter_not_allowed",
            ),
            (
                gate.call("POST", &agent_path(A, "/messages")).token(token).json(&says("hello")),
                "permission_denied",
            ),
        ]
    };
    for (at, (call, reason)) in calls(&shadowed).into_iter().enumerate() {
        assert_eq!(call.send().status, 200, "{reason}");
        recorder.wait_for_requests(at + 1);
        let told = gate.log().wait_for("the refusal", |line| {
            let shadow = field(line, "decision")? == "shadow";
            (shadow && field(line, "deny.reason")? == reason).then_some(())
        });
        assert!(told.is_some());
    }
    assert_eq!(recorder.requests()[4].json(), says("hello"));
    for (call, reason) in calls(&enforced) {
        assert_eq!(call.send().code(), reason);
    }
    assert_eq!(recorder.requests().len(), 5);
    let metrics = gate.admin_get("/metrics").text();
    for line in
        ["ckgate_shadow_accounts 1", "ckgate_shadow_refusals_total{reason=\"permission_denied\"} 2"]
    {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(gate.log_lines().iter().any(|line| line.contains("SHADOW MODE")));
}

#[test]
fn tokens_that_are_none_and_requests_in_doubt_are_refused_in_shadow_mode_too() {
    let recorder = Recorder::start();
    let (gate, shadowed, _) = stage(&recorder);
    let target = agent_path(A, "/messages");
    let (begin, last) = shadowed.split_at(shadowed.len() - 1);
    let mistyped = format!("{begin}{}", if last == "A" { "B" } else { "A" });
    for (call, status) in [
        (gate.call("GET", &target).token(&mistyped), 401),
        (gate.call("GET", &target), 401),
        (gate.call("GET", &agent_path(A, "/../x")).token(&shadowed), 400),
        (gate.call("GET", TOKENS).token(&shadowed), 403),
    ] {
        let answer = call.send();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    recorder.assert_untouched();
}

/// Whether it was refused before anybody looked at its body, or because of it.
#[test]
fn body_of_what_is_refused_goes_on_as_it_came() {
    let recorder = Recorder::start();
    let (gate, reads, _) = stage(&recorder);
    let policy = json!([{"type": "agent", "id": A, "access": ["write_messages"]}]);
    let created = create(&gate, &json!({"policy": policy, "hostname": ORIGIN}));
    let writes = created["token"].as_str().unwrap();
    let messages = agent_path(A, "/messages");
    let of_no_field = r#"{"messages": [{"role": "user", "content": "x"}], "no": 1}"#;
    let refused = [
        ("PATCH", agent_path(A, ""), &*reads, r#"{"a":"#, "permission_denied"),
        ("POST", messages.clone(), writes, r#"{"messages": ["#, "malformed_request"),
        ("POST", messages, writes, of_no_field, "parameter_not_allowed"),
    ];
    for (at, (method, target, token, body, reason)) in refused.into_iter().enumerate() {
        let call = gate.call(method, &target).token(token).body(body);
        assert_eq!(call.header("Content-Type", "application/json").send().status, 200, "{reason}");
        recorder.wait_for_requests(at + 1);
        assert_eq!(recorder.requests()[at].body, body.as_bytes(), "{reason}");
        let told = gate
            .log()
            .wait_for("the refusal", |line| (field(line, "deny.reason")? == reason).then_some(()));
        assert!(told.is_some(), "{reason}");
    }
}

/// What is forwarded costs the upstream as much, whatever the policy says to it. A request whose owner
/// had to be looked up is counted once.
#[test]
fn what_is_forwarded_all_the_same_is_held_to_the_tokens_rate() {
    let others = "conv-22222222-2222-4222-8222-222222222222";
    let recorder = Recorder::with(move |request| {
        let of_conversation = request.target().starts_with("/v1/conversations/");
        let owned = json!({"id": others, "agent_id": B});
        if of_conversation { Reply::json(200, &owned) } else { letta(request) }
    });
    let (gate, _, _) = stage(&recorder);
    let refused = [agent_path(B, "/messages"), format!("/v1/conversations/{others}/messages")];
    for target in refused {
        let body = json!({
            "policy": [{"type": "agent", "id": A, "access": ["read_messages"]}],
            "hostname": ORIGIN,
            "limits": {"requests_per_minute": 2},
        });
        let created = create(&gate, &body);
        let call = gate.call("GET", &target).token(created["token"].as_str().unwrap());
        for _ in 0..2 {
            assert_eq!(call.send().status, 200, "{target}");
        }
        let reached = recorder.requests().len();
        assert_refused(&call.send(), 429, "rate_limited");
        assert_eq!(recorder.requests().len(), reached, "{target}");
    }
}
