//! What the decision API does about streams, which it cannot count and cannot end.

use std::net::SocketAddr;

use serde_json::json;

use crate::envoy::{CheckResponse, Envoy, Http};
use crate::harness::{A, Call, Gate, Recorder, agent_path, create, field, from_now, mint};

const TIME: &str = "x-envoy-upstream-rq-timeout-ms";
const BODY: &str = r#"{"messages":[{"role":"user","content":"hello"}]}"#;

struct Stage {
    recorder: Recorder,
    gate: Gate,
    http: SocketAddr,
    grpc: SocketAddr,
}

impl Stage {
    fn set(uncut_streams: Option<bool>) -> Self {
        let recorder = Recorder::start();
        let mut settings = vec![
            ("listen.decision", "127.0.0.1:0".into()),
            ("listen.decision_grpc", "127.0.0.1:0".into()),
            ("decision.peers", vec![toml::Value::from("127.0.0.1")].into()),
        ];
        let allowed = uncut_streams.map(|on| ("decision.dangerous_uncut_streams", on.into()));
        settings.extend(allowed);
        let gate = Gate::start_with(&recorder, &settings);
        let address = |name: &str| {
            let of = |line: &String| field(line, name)?.as_str()?.parse().ok();
            gate.log_lines().iter().find_map(of).unwrap()
        };
        let (http, grpc) = (address("listen.decision"), address("listen.decision_grpc"));
        Self { recorder, gate, http, grpc }
    }

    /// Asks as Envoy does, over HTTP: status, code, and the time that the answer may take.
    fn ask_over_http(&self, token: &str, path: &str) -> (u16, String, Option<u64>) {
        let call = Call::to(self.http, "POST", &format!("/envoy-with-body{path}")).token(token);
        let answer = call.header("X-Envoy-Auth-Partial-Body", "false").body(BODY).open();
        let answer = { answer }.answer("POST");
        let time = answer.header(TIME).map(|time| time.parse().unwrap());
        (answer.status, answer.code_if_any(), time)
    }

    fn ask_over_grpc(&self, token: &str, path: &str) -> CheckResponse {
        let envoy = Envoy::connect([127, 0, 0, 1].into(), self.grpc);
        let http = Http::of("POST", path).with("authorization", &format!("Bearer {token}"));
        // The caller's own word on the time is taken out, or overwritten.
        envoy.check(&http.with(TIME, "1").body(BODY)).1.unwrap()
    }
}

const STREAMS: [&str; 2] = ["/messages", "/messages/stream"];

#[test]
fn what_may_be_a_stream_goes_through_the_gate_unless_the_operator_says_otherwise() {
    for uncut_streams in [None, Some(false)] {
        let stage = Stage::set(uncut_streams);
        let token = mint(&stage.gate, A, &["write_messages", "read_messages"]);
        for rest in STREAMS {
            let path = agent_path(A, rest);
            let refused = (403, "proxy_required".to_owned(), None);
            assert_eq!(stage.ask_over_http(&token, &path), refused);
            assert_eq!(
                stage.ask_over_grpc(&token, &path).code().as_deref(),
                Some("proxy_required")
            );
        }
        let read = Http::of("GET", &agent_path(A, "/messages"));
        let read = read.with("authorization", &format!("Bearer {token}")).with(TIME, "1");
        let envoy = Envoy::connect([127, 0, 0, 1].into(), stage.grpc);
        let permitted = envoy.check(&read).1.unwrap();
        assert!(permitted.sets("authorization").is_some());
        assert!(permitted.sets(TIME).is_none() && permitted.removes(TIME));
        stage.recorder.assert_untouched();
    }
}

#[test]
fn a_stream_that_may_pass_is_given_the_time_that_its_token_leaves_it() {
    let stage = Stage::set(Some(true));
    let token = |more: serde_json::Value| {
        let mut body = json!({
            "policy": [{"type": "agent", "id": A, "access": ["write_messages"]}],
            "hostname": crate::harness::ORIGIN,
            "expires_at": from_now(std::time::Duration::from_secs(100)),
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        create(&stage.gate, &body)["token"].as_str().unwrap().to_owned()
    };
    // 100 s and the grace of 30 s, or as long as its own limit says.
    let cases =
        [(json!({}), 90_000..=130_000), (json!({"limits": {"stream_seconds": 7}}), 7000..=7000)];
    for (more, expected) in cases {
        let token = token(more);
        for rest in STREAMS {
            let path = agent_path(A, rest);
            let (status, _, time) = stage.ask_over_http(&token, &path);
            assert!(status == 200 && expected.contains(&time.unwrap()), "{path}: {time:?}");
            let answer = stage.ask_over_grpc(&token, &path);
            let time: u64 = answer.sets(TIME).unwrap().parse().unwrap();
            assert!(expected.contains(&time) && !answer.removes(TIME), "{path}: {time}");
        }
    }
    stage.recorder.assert_untouched();
}
