//! `ckgate demo`, taken as a newcomer would.

use std::collections::BTreeSet;
use std::sync::Mutex;

use ckgate::demo::{DemoOptions, DemoUpstream, run};
use ckgate::token::Secret;
use serde_json::json;

use crate::harness::{A, B, CREDENTIAL, Recorded, Recorder, Reply, letta};

fn tour_before(upstream: Option<DemoUpstream>) -> DemoOptions {
    let loopback = ([127, 0, 0, 1], 0).into();
    DemoOptions {
        tour: true,
        upstream,
        listen_public: loopback,
        listen_admin: loopback,
        listen_chat: loopback,
        token_lifetime: std::time::Duration::from_mins(5),
    }
}

/// A server with one of the demo's agents; it streams poems without an end.
fn server(request: &Recorded, made: &Mutex<BTreeSet<String>>) -> Reply {
    match (request.method(), request.target()) {
        ("GET", "/v1/agents/?name=ckgate-demo-ann") => Reply::json(200, &json!([{"id": A}])),
        ("GET", "/v1/agents/?name=ckgate-demo-ben") => Reply::json(200, &json!([])),
        ("GET", "/v1/models/" | "/v1/models/embedding") => {
            Reply::json(200, &json!([{"handle": "first/model"}, {"handle": "second/model"}]))
        }
        ("POST", "/v1/agents/") => {
            assert_eq!(request.json()["model"], "first/model");
            let name = request.json()["name"].as_str().unwrap().to_owned();
            made.lock().unwrap().insert(name);
            Reply::json(200, &json!({"id": B}))
        }
        _ if request.contains("poem") => Reply::stream().event("1").event("2").event("3"),
        _ => letta(request),
    }
}

#[test]
fn demo_keeps_every_promise_of_its_tour() {
    run(&tour_before(None)).unwrap();
}

#[test]
fn demo_finds_or_makes_its_agents_on_a_given_server() {
    let made: &'static Mutex<BTreeSet<String>> = Box::leak(Box::default());
    let recorder = Recorder::with(|request| server(request, made));
    let url = format!("http://{}", recorder.address());
    let credential = Secret::new(CREDENTIAL.to_owned());
    run(&tour_before(Some(DemoUpstream { url, credential, model: None }))).unwrap();
    assert_eq!(*made.lock().unwrap(), BTreeSet::from(["ckgate-demo-ben".to_owned()]));
}
