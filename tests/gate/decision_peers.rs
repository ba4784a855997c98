//! Who may ask the decision API: listed addresses only, over HTTP and over gRPC, at each question.

use std::net::SocketAddr;

use crate::envoy::{Envoy, Http, PERMISSION_DENIED};
use crate::harness::{
    A, Call, Connection, Gate, HOST, Recorder, Settings, agent_path, edit, eventually, field,
    hang_up, mint, section,
};

const LISTED: &str = "127.0.0.7";

struct Stage {
    recorder: Recorder,
    gate: Gate,
    http: SocketAddr,
    grpc: SocketAddr,
    token: String,
}

fn stage() -> Stage {
    let recorder = Recorder::start();
    let settings: Settings<'_> = &[
        ("listen.decision", "127.0.0.1:0".into()),
        ("listen.decision_grpc", "127.0.0.1:0".into()),
        ("decision.peers", vec![toml::Value::from(LISTED)].into()),
    ];
    let gate = Gate::start_with(&recorder, settings);
    let address = |name: &str| {
        let of = |line: &String| field(line, name)?.as_str()?.parse().ok();
        gate.log_lines().iter().find_map(of).unwrap()
    };
    let (http, grpc) = (address("listen.decision"), address("listen.decision_grpc"));
    let token = mint(&gate, A, &["read_messages"]);
    Stage { recorder, gate, http, grpc, token }
}

/// The same good question in Envoy's words.
fn asked(token: &str) -> Http {
    Http::of("GET", &agent_path(A, "/messages")).with("authorization", &format!("Bearer {token}"))
}

/// A good question in the words of every face that is asked over HTTP.
fn questions(stage: &Stage) -> Vec<Call> {
    let messages = agent_path(A, "/messages");
    let call = |target: &str| {
        // What a peer says of itself changes nothing.
        let call = Call::to(stage.http, "GET", target).token(&stage.token);
        call.header("X-Forwarded-For", LISTED).header("X-Real-IP", LISTED)
    };
    let told = |target: &str, kind: &str| {
        let call = call(target).header(&format!("X-{kind}-Method"), "GET");
        call.header(&format!("X-{kind}-Uri"), &messages).header(&format!("X-{kind}-Host"), HOST)
    };
    vec![
        told("/nginx", "Original"),
        told("/haproxy", "Original"),
        told("/caddy", "Forwarded"),
        told("/traefik", "Forwarded"),
        call(&format!("/envoy{messages}")),
        call(&format!("/envoy-with-body{messages}")),
    ]
}

/// M-11.
#[test]
fn only_listed_peers_are_answered_over_http_and_grpc() {
    let stage = stage();
    for source in [LISTED, "127.0.0.1", "127.0.0.8"] {
        let (address, listed) = (source.parse().unwrap(), source == LISTED);
        for call in questions(&stage) {
            let mut connection = Connection::open_from(address, stage.http);
            connection.send(call.bytes());
            let answer = connection.answer("GET");
            let case = format!("{} from {source}: {}", call.target(), answer.text());
            assert_eq!(answer.status, if listed { 200 } else { 403 }, "{case}");
            assert_eq!(answer.header("authorization").is_some(), listed, "{case}");
            assert_eq!(
                answer.code_if_any(),
                if listed { "" } else { "peer_not_allowed" },
                "{case}"
            );
        }
        let (status, answer) = Envoy::connect(address, stage.grpc).check(&asked(&stage.token));
        if listed {
            let answer = answer.unwrap();
            assert_eq!((status.as_deref(), answer.code()), (Some("0"), None));
            assert!(answer.sets("authorization").is_some());
        } else {
            assert_eq!((status.as_deref(), answer), (Some(PERMISSION_DENIED), None), "{source}");
        }
    }
    stage.recorder.assert_untouched();
}

#[test]
fn a_peer_that_is_taken_from_the_list_is_refused_on_the_connections_it_has() {
    let stage = stage();
    let source = LISTED.parse().unwrap();
    let question = questions(&stage).remove(0).bytes();
    let mut http = Connection::open_from(source, stage.http);
    let mut ask = || {
        http.send(&question);
        http.answer("GET").status
    };
    let envoy = Envoy::connect(source, stage.grpc);
    assert_eq!((ask(), envoy.check(&asked(&stage.token)).0.as_deref()), (200, Some("0")));
    edit(&stage.gate, |table| {
        let peers = vec![toml::Value::from("127.0.0.1")];
        section(table, "decision").insert("peers".to_owned(), peers.into());
    });
    hang_up(&stage.gate);
    // Each core takes it up by itself, a moment after it was told.
    eventually("the peer is refused", || ask() == 403);
    eventually("the peer is refused over gRPC", || {
        envoy.check(&asked(&stage.token)).0.as_deref() == Some(PERMISSION_DENIED)
    });
    stage.recorder.assert_untouched();
}
