//! `/openapi.json`: what is described answers, and what answers is described.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::Value;

use crate::harness::{Answer, Call, Gate, Recorder, SERVER_KEY, field};

const CREDENTIAL: &str = "the-admin-credential-of-the-tests-0";
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

struct Stage {
    gate: Gate,
    decision: SocketAddr,
    described: Value,
    _recorder: Recorder,
    _secrets: tempfile::TempDir,
}

impl Stage {
    fn set() -> Self {
        let recorder = Recorder::start();
        let (secrets, credential) = crate::console::credential_file(CREDENTIAL);
        let settings = [
            ("listen.decision", "127.0.0.1:0".into()),
            ("decision.peers", vec![toml::Value::from("127.0.0.1")].into()),
            ("console.credential", credential),
        ];
        let gate = Gate::start_with(&recorder, &settings);
        let decision = |line: &String| field(line, "listen.decision")?.as_str()?.parse().ok();
        let decision = gate.log_lines().iter().find_map(decision).unwrap();
        let described = gate.admin_get("/openapi.json").json();
        Self { gate, decision, described, _recorder: recorder, _secrets: secrets }
    }

    fn paths(&self) -> BTreeMap<String, Value> {
        serde_json::from_value(self.described["paths"].clone()).unwrap()
    }

    /// Asks at a path of the document, with something in the place of what varies in it.
    fn ask(&self, method: &str, path: &str, query: &str) -> Answer {
        let target = path.replace("{token}", "x").replace("{id}", &"0".repeat(32));
        let target = target.replace("{target}", "v1/agents/") + query;
        let (address, bearer) = match path.split('/').nth(1).unwrap() {
            "v1" => (self.gate.public(), SERVER_KEY),
            "nginx" | "haproxy" | "caddy" | "traefik" | "envoy" | "envoy-with-body" => {
                (self.decision, SERVER_KEY)
            }
            _ => (self.gate.admin(), CREDENTIAL),
        };
        let method = method.to_uppercase();
        let call = Call::to(address, &method, &target).bearer(bearer);
        let call = if method == "POST" { call.body("{}") } else { call };
        call.open().answer(&method)
    }
}

/// Whether an answer says that nothing is served here.
fn is_nothing(answer: &Answer) -> bool {
    let code = if answer.header("content-type") == Some("application/json") {
        answer.code_if_any()
    } else {
        String::new()
    };
    matches!(answer.status, 404 | 405) && code != "token_not_found" || code == "route_not_allowed"
}

#[test]
fn every_operation_that_is_described_answers_as_described_and_no_other_does() {
    let stage = Stage::set();
    let mut described = 0;
    for (path, operations) in stage.paths() {
        for method in METHODS {
            let case = format!("{method} {path}");
            let Some(operation) = operations.get(method) else {
                // A face of the decision API is asked in whatever method its proxy uses.
                if operations["get"]["tags"][0] != "decisions" {
                    assert!(is_nothing(&stage.ask(method, &path, "")), "{case} is not described");
                }
                continue;
            };
            described += 1;
            let answer = stage.ask(method, &path, "");
            let status = answer.status.to_string();
            assert!(operation["responses"].get(&status).is_some(), "{case}: {status}");
            assert!(!is_nothing(&answer), "{case}: {}", answer.text());
        }
    }
    assert!(described >= 19, "{described}");
    for path in ["/api/nothing", "/nothing", "/v1/client-side-access-tokens/a/b"] {
        assert!(is_nothing(&stage.ask("get", path, "")), "{path}");
    }
}

/// The refusal of an unknown parameter names those there are.
#[test]
fn the_parameters_that_are_described_are_those_that_are_read() {
    let stage = Stage::set();
    for path in ["/v1/client-side-access-tokens", "/api/tokens"] {
        let refused = stage.ask("get", path, "?nothing=1");
        assert_eq!(refused.status, 400, "{path}");
        let message = refused.message();
        let (_, named) = message.split_once("parameter").unwrap();
        let named = named.split('[').next().unwrap();
        let words = named.split(|c: char| !c.is_ascii_alphabetic());
        let not_names = ["", "s", "are", "use", "and"];
        let named: BTreeSet<&str> = words.filter(|word| !not_names.contains(word)).collect();
        let paths = stage.paths();
        let parameters = paths[path]["get"]["parameters"].as_array().unwrap();
        let described: BTreeSet<&str> =
            parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(named, described, "{path}: {message}");
    }
}

#[test]
fn the_codes_that_are_described_are_those_that_have_pages() {
    let stage = Stage::set();
    let codes =
        &stage.described["components"]["schemas"]["ErrorBody"]["properties"]["code"]["enum"];
    let described: BTreeSet<&str> =
        codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    let pages: BTreeSet<&str> =
        ckgate::docs::refusals::PAGES.iter().map(|(code, _)| *code).collect();
    assert_eq!(described, pages);
}
