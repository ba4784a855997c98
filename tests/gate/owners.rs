//! Conversations and runs: whose they are is asked of the upstream, once, and never guessed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::harness::{
    A, B, CREDENTIAL, Gate, Recorded, Recorder, Reply, Signal, assert_refused, mint, mint_until,
    says,
};

const OWN: &str = "conv-11111111-1111-4111-8111-111111111111";
const OTHERS: &str = "conv-22222222-2222-4222-8222-222222222222";
const NOBODYS: &str = "conv-33333333-3333-4333-8333-333333333333";
const OWN_RUN: &str = "run-11111111-1111-4111-8111-111111111111";

/// Answers as an upstream with a conversation of each agent, and a run of A.
fn upstream(request: &Recorded) -> Reply {
    let target = request.target();
    let owned = |id: &str, agent: &str| Reply::json(200, &json!({"id": id, "agent_id": agent}));
    match target.split('?').next().unwrap_or_default() {
        path if path.contains(NOBODYS) => Reply::json(404, &json!({"detail": "not found"})),
        path if path.contains(OTHERS) => owned(OTHERS, B),
        path if path.contains(OWN_RUN) => owned(OWN_RUN, A),
        _ => owned(OWN, A),
    }
}

fn messages(conversation: &str) -> String {
    format!("/v1/conversations/{conversation}/messages")
}

fn targets(recorder: &Recorder) -> Vec<String> {
    recorder.requests().iter().map(|request| request.target().to_owned()).collect()
}

#[test]
fn owner_is_asked_once_and_remembered() {
    let recorder = Recorder::with(upstream);
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    for _ in 0..3 {
        let answer = gate.call("GET", &messages(OWN)).token(&token).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let asked = format!("/v1/conversations/{OWN}");
    assert_eq!(targets(&recorder), [asked, messages(OWN), messages(OWN), messages(OWN)]);
    let look_up = &recorder.requests()[0];
    assert_eq!(look_up.header_all("authorization"), [format!("Bearer {CREDENTIAL}")]);
    assert!(!look_up.contains(&token));
}

#[test]
fn what_belongs_to_another_agent_and_what_is_not_there_look_the_same() {
    let recorder = Recorder::with(upstream);
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages", "write_messages"]);
    let mut said = Vec::new();
    for conversation in [OTHERS, NOBODYS] {
        let answer = gate.call("GET", &messages(conversation)).token(&token).send();
        assert_refused(&answer, 403, "permission_denied");
        said.push(answer.message());
        let answer = gate.call("POST", &messages(conversation)).token(&token);
        assert_refused(&answer.json(&says("hello")).send(), 403, "permission_denied");
    }
    assert_eq!(said[0], said[1]);
    // Nothing but the questions went upstream: once for the one, each time for the other.
    let asked = |id: &str| format!("/v1/conversations/{id}");
    assert_eq!(targets(&recorder), [asked(OTHERS), asked(NOBODYS), asked(NOBODYS)]);
}

#[test]
fn without_the_permission_nothing_is_asked() {
    let recorder = Recorder::with(upstream);
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_agent", "write_agent"]);
    let answer = gate.call("GET", &messages(OWN)).token(&token).send();
    assert_refused(&answer, 403, "permission_denied");
    recorder.assert_untouched();
}

#[test]
fn owner_that_cannot_be_known_is_not_guessed() {
    let bodies = [
        Reply::json(500, &json!({"detail": "broken"})),
        Reply::json(401, &json!({"detail": "Unauthorized"})),
        Reply::json(200, &json!({"id": OWN})),
        Reply::json(200, &json!({"id": OWN, "agent_id": null})),
        Reply::json(200, &json!({"id": OWN, "agent_id": "agent-1"})),
        Reply::json(200, &json!({"id": OTHERS, "agent_id": A})),
        Reply::json(200, &json!([{"id": OWN, "agent_id": A}])),
        Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":").close(),
        Reply::raw("HTTP/1.1 307 Moved\r\nlocation: /v1/x\r\ncontent-length: 0\r\n\r\n"),
        Reply::raw("").close(),
    ];
    for reply in bodies {
        let recorder = Recorder::with(move |_| reply.clone());
        let gate = Gate::start(&recorder);
        let token = mint(&gate, A, &["read_messages"]);
        let answer = gate.call("GET", &messages(OWN)).token(&token).send();
        assert_refused(&answer, 503, "owner_unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(targets(&recorder).iter().all(|target| !target.ends_with("/messages")));
    }
}

#[test]
fn many_requests_for_one_conversation_share_one_question() {
    let answered = Signal::new();
    let questions = Arc::new(AtomicUsize::new(0));
    let (held, counted) = (answered.clone(), Arc::clone(&questions));
    let recorder = Recorder::with(move |request| {
        if request.target().ends_with("/messages") {
            return upstream(request);
        }
        counted.fetch_add(1, Ordering::SeqCst);
        Reply::raw("").wait(&held).and(upstream(request))
    });
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| gate.call("GET", &messages(OWN)).token(&token).send().status))
            .collect();
        recorder.wait_for("the question arrives", |_| questions.load(Ordering::SeqCst) > 0);
        answered.raise();
        for call in calls {
            assert_eq!(call.join().unwrap(), 200);
        }
    });
    assert_eq!(questions.load(Ordering::SeqCst), 1);
}

#[test]
fn token_that_is_deleted_while_the_owner_is_asked_is_not_admitted() {
    let answered = Signal::new();
    let held = answered.clone();
    let recorder = Recorder::with(move |request| {
        if request.target().ends_with("/messages") {
            return upstream(request);
        }
        Reply::raw("").wait(&held).and(upstream(request))
    });
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    thread::scope(|scope| {
        let call = scope.spawn(|| gate.call("GET", &messages(OWN)).token(&token).send());
        recorder.wait_for_requests(1);
        crate::harness::delete(&gate, &token);
        answered.raise();
        assert_refused(&call.join().unwrap(), 401, "token_invalid");
    });
    assert_eq!(targets(&recorder), [format!("/v1/conversations/{OWN}")]);
}

#[test]
fn look_ups_count_against_the_rate_of_a_token() {
    let recorder = Recorder::with(upstream);
    let settings = [("limits.requests_per_minute_per_token", 60.into())];
    let gate = Gate::start_with(&recorder, &settings);
    let token = mint_until(&gate, A, &["read_messages"], std::time::Duration::from_mins(1));
    let codes: Vec<u16> = (0..200)
        .map(|_| gate.call("GET", &messages(NOBODYS)).token(&token).send().status)
        .collect();
    assert!(codes.contains(&429), "{codes:?}");
    assert!(targets(&recorder).len() < 200);
}

#[test]
fn run_is_permitted_to_its_agent_and_comes_without_its_call_back() {
    let run = json!({"id": OWN_RUN, "agent_id": A, "callback_url": "http://x/"});
    let recorder = Recorder::with(move |_| Reply::json(200, &run));
    let gate = Gate::start(&recorder);
    let path = format!("/v1/runs/{OWN_RUN}");
    let answer = gate.call("GET", &path).token(&mint(&gate, A, &["read_messages"])).send();
    assert_eq!((answer.status, answer.json()), (200, json!({"id": OWN_RUN, "agent_id": A})));
    let answer = gate.call("GET", &path).token(&mint(&gate, B, &["read_messages"])).send();
    assert_refused(&answer, 403, "permission_denied");
}
