//! The shared verdict vectors, through the proxy and through each HTTP face of the decision API, asked
//! as its proxy asks. `tests/verdicts/run` sends the same vectors through the real proxies.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::harness::{
    A, Answer, CREDENTIAL, Call, Gate, HOST, ORIGIN, Recorder, SERVER_KEY, assert_refused, delete,
    eventually, field, mint, mint_until,
};

/// One request, and what every face must say to it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    method: String,
    target: String,
    token: String,
    verdict: Verdict,
    /// Absent: the bound one. Null: none.
    #[serde(default = "bound_origin")]
    origin: Option<String>,
    host: Option<String>,
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    body: Option<Value>,
    raw_body: Option<String>,
    /// The target that the upstream receives.
    sent: Option<String>,
    /// The verdict of faces that do not give the body.
    without_body: Option<Verdict>,
    /// The verdict of faces that cannot rewrite the target.
    keeps_target: Option<Verdict>,
    /// The verdict of faces that cannot take out any header.
    keeps_headers: Option<Verdict>,
    /// The verdict of faces through which the answer does not pass the gate: all of them.
    without_answer: Option<Verdict>,
    /// Whether the gate answers it without asking the upstream.
    #[serde(default)]
    self_answered: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Verdict {
    status: u16,
    code: Option<String>,
}

#[expect(clippy::unnecessary_wraps, reason = "serde's default has the type of the field")]
fn bound_origin() -> Option<String> {
    Some(ORIGIN.to_owned())
}

struct Stage {
    recorder: Recorder,
    gate: Gate,
    decision: SocketAddr,
    tokens: Vec<(&'static str, String)>,
}

impl Stage {
    fn set() -> Self {
        let recorder = Recorder::start();
        let gate = Gate::start_with(
            &recorder,
            &[
                ("listen.decision", "127.0.0.1:0".into()),
                ("decision.peers", vec![toml::Value::from("127.0.0.1")].into()),
                ("decision.dangerous_uncut_streams", true.into()),
            ],
        );
        let decision = |line: &str| field(line, "listen.decision")?.as_str()?.parse().ok();
        let decision = gate.log_lines().iter().find_map(|line| decision(line)).unwrap();
        let reader = mint(&gate, A, &["read_messages"]);
        let expired = mint_until(&gate, A, &["read_messages"], Duration::from_millis(200));
        let deleted = mint(&gate, A, &["read_messages"]);
        delete(&gate, &deleted);
        let path = format!("/v1/agents/{A}/messages");
        let ask = || gate.call("GET", &path).token(&expired).send().code_if_any();
        eventually("the token expires", || ask() == "token_expired");
        let forged = format!("{}{}", &reader[..40], reader[40..].chars().rev().collect::<String>());
        let tokens = vec![
            ("writer", mint(&gate, A, &["write_messages"])),
            ("agent_reader", mint(&gate, A, &["read_agent"])),
            ("reader", reader),
            ("expired", expired),
            ("deleted", deleted),
            ("forged", forged),
            ("server_key", SERVER_KEY.to_owned()),
            ("unknown_key", "sk-let-nobodys0key0nobodys0key0nobodys0key0".to_owned()),
        ];
        Self { recorder, gate, decision, tokens }
    }

    /// The caller's headers.
    fn with_headers(&self, vector: &Vector, mut call: Call) -> Call {
        if let Some((_, token)) = self.tokens.iter().find(|(name, _)| *name == vector.token) {
            call = call.bearer(token);
        }
        if let Some(origin) = &vector.origin {
            call = call.origin(origin);
        }
        vector.headers.iter().fold(call, |call, (name, value)| call.header(name, value))
    }
}

impl Vector {
    fn host(&self) -> &str {
        self.host.as_deref().unwrap_or(HOST)
    }

    fn body(&self) -> Option<String> {
        self.raw_body.clone().or_else(|| self.body.as_ref().map(Value::to_string))
    }

    fn verdict_of(&self, face: &Face) -> &Verdict {
        let by_body = self.without_body.as_ref().filter(|_| !face.gives_body);
        let by_target = self.keeps_target.as_ref().filter(|_| !face.rewrites_target);
        let by_headers = self.keeps_headers.as_ref().filter(|_| face.unwanted == Unwanted::Kept);
        let exception = self.without_answer.as_ref().or(by_body).or(by_target).or(by_headers);
        exception.unwrap_or(&self.verdict)
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../verdicts/vectors.json")).unwrap()
}

#[track_caller]
fn assert_verdict(case: &str, answer: &Answer, verdict: &Verdict) {
    match &verdict.code {
        Some(code) if answer.body.is_empty() => {
            panic!("{case}: {} without a body, not {code}", answer.status)
        }
        Some(code) => {
            assert_eq!(answer.code_if_any(), *code, "{case}: {}", answer.text());
            assert_refused(answer, verdict.status, code);
        }
        None => assert_eq!(answer.status, verdict.status, "{case}: {}", answer.text()),
    }
}

#[test]
fn the_proxy_gives_every_verdict() {
    let stage = Stage::set();
    for vector in vectors() {
        let before = stage.recorder.requests().len();
        let call = stage.gate.call(&vector.method, &vector.target).host(vector.host());
        let mut call = stage.with_headers(&vector, call);
        if let Some(body) = vector.body() {
            call = call.header("Content-Type", "application/json").body(body);
        }
        let answer = call.open().answer(&vector.method);
        assert_verdict(&vector.name, &answer, &vector.verdict);
        let requests = stage.recorder.requests();
        let passes = vector.verdict.status == 200;
        assert_eq!(requests.len() - before, usize::from(passes), "{}", vector.name);
        if let (true, Some(sent), Some(request)) = (passes, &vector.sent, requests.last()) {
            assert_eq!(request.target(), sent, "{}", vector.name);
        }
    }
}

/// A face of the decision API, asked by hand.
struct Face {
    path: &'static str,
    gives_body: bool,
    rewrites_target: bool,
    unwanted: Unwanted,
    /// How it names method, target and host.
    names: Option<[&'static str; 3]>,
    /// Whether it says that there is a body.
    says_body: bool,
    /// The headers that it writes in the place of the caller's.
    writes: &'static [&'static str],
}

/// What becomes of the caller's headers that must not go on.
#[derive(PartialEq, Eq)]
enum Unwanted {
    Dropped,
    /// The proxy can take out none.
    Kept,
}

const ORIGINAL: [&str; 3] = ["X-Original-Method", "X-Original-URI", "X-Original-Host"];
const FORWARDED: [&str; 3] = ["X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"];

const FACES: [Face; 6] = [
    Face {
        path: "/nginx",
        gives_body: false,
        rewrites_target: true,
        unwanted: Unwanted::Dropped,
        names: Some(ORIGINAL),
        says_body: true,
        writes: &["x-original-"],
    },
    Face {
        path: "/haproxy",
        gives_body: false,
        rewrites_target: true,
        unwanted: Unwanted::Dropped,
        names: Some(ORIGINAL),
        says_body: true,
        writes: &["x-original-"],
    },
    Face {
        path: "/caddy",
        gives_body: false,
        rewrites_target: true,
        unwanted: Unwanted::Dropped,
        names: Some(FORWARDED),
        says_body: true,
        writes: &["x-forwarded-", "x-original-body"],
    },
    Face {
        path: "/traefik",
        gives_body: false,
        rewrites_target: false,
        unwanted: Unwanted::Kept,
        names: Some(FORWARDED),
        says_body: false,
        writes: &["x-forwarded-"],
    },
    Face {
        path: "/envoy",
        gives_body: false,
        rewrites_target: false,
        unwanted: Unwanted::Dropped,
        names: None,
        says_body: false,
        writes: &["x-envoy-"],
    },
    Face {
        path: "/envoy-with-body",
        gives_body: true,
        rewrites_target: false,
        unwanted: Unwanted::Dropped,
        names: None,
        says_body: false,
        writes: &["x-envoy-"],
    },
];

impl Face {
    fn call(&self, stage: &Stage, vector: &Vector) -> Call {
        let call = if let Some([method, target, host]) = self.names {
            Call::to(stage.decision, "GET", self.path)
                .header(method, &vector.method)
                .header(target, &vector.target)
                .header(host, vector.host())
        } else {
            let target = format!("{}{}", self.path, vector.target);
            Call::to(stage.decision, &vector.method, &target).host(vector.host())
        };
        let own = Vector {
            headers: vector
                .headers
                .iter()
                .filter(|(name, _)| {
                    let name = name.to_ascii_lowercase();
                    !self.writes.iter().any(|prefix| name.starts_with(prefix))
                })
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            ..serde_json::from_value(serde_json::json!({
                "name": "", "method": "", "target": "",
                "token": vector.token, "origin": vector.origin, "verdict": {"status": 0},
            }))
            .unwrap()
        };
        let call = stage.with_headers(&own, call);
        match vector.body() {
            Some(body) if self.gives_body => {
                call.header("X-Envoy-Auth-Partial-Body", "false").body(body)
            }
            Some(_) if self.says_body => call.header("X-Original-Body", "present"),
            None if self.says_body => call.header("X-Original-Body", "none"),
            _ => call,
        }
    }
}

/// M-10.
#[test]
fn every_face_gives_the_verdicts_of_the_proxy() {
    let stage = Stage::set();
    let before = stage.recorder.bytes_total();
    for face in FACES {
        for vector in vectors() {
            let case = format!("{} at {}", vector.name, face.path);
            let verdict = vector.verdict_of(&face);
            let answer = face.call(&stage, &vector).open().answer(&vector.method);
            check_face(&case, face.path, &vector, verdict, &answer);
        }
    }
    assert_eq!(stage.recorder.bytes_total(), before, "something was forwarded");
}

fn check_face(case: &str, path: &str, vector: &Vector, verdict: &Verdict, answer: &Answer) {
    if verdict.status == 200 {
        assert_eq!(answer.status, 200, "{case}: {}", answer.text());
        if let Some(sent) = &vector.sent {
            assert_eq!(answer.header("x-ckgate-target"), Some(&**sent), "{case}");
        }
        let credential = format!("Bearer {CREDENTIAL}");
        assert_eq!(answer.header("authorization"), Some(&*credential), "{case}");
        let dropped = answer.header("x-ckgate-drop").unwrap_or_default().to_owned();
        for (name, there) in
            [("cookie", "Cookie"), ("x-api-key", "X-Api-Key"), ("origin", "Origin")]
        {
            let has = vector.headers.contains_key(there) || name == "origin";
            if has && (name != "origin" || vector.origin.is_some()) {
                assert!(dropped.split(", ").any(|d| d == name), "{case}: {name} in {dropped}");
            }
        }
        assert!(!dropped.contains("x-stainless-lang"), "{case}: {dropped}");
        return;
    }
    if path == "/nginx" {
        let expected = if verdict.status == 401 { 401 } else { 403 };
        assert_eq!(answer.status, expected, "{case}");
        let told = answer.header("x-ckgate-status").map(str::to_owned);
        assert_eq!(told, Some(verdict.status.to_string()), "{case}: {}", answer.text());
        assert_eq!(answer.header("x-ckgate-body").unwrap_or_default(), answer.text(), "{case}");
    } else if vector.self_answered && path == "/traefik" {
        assert_eq!(answer.status, 403, "{case}");
        return;
    } else if vector.method != "HEAD" {
        assert_eq!(answer.status, verdict.status, "{case}: {}", answer.text());
    }
    assert_eq!(answer.code_if_any(), verdict.code.clone().unwrap_or_default(), "{case}");
}

/// M-11: what is asked about is told once, whole, and in a form that only one thing can be meant by.
#[test]
fn a_question_in_doubt_is_none() {
    let stage = Stage::set();
    let token = stage.tokens.iter().find(|(name, _)| *name == "reader").unwrap().1.clone();
    let messages = format!("/v1/agents/{A}/messages");
    let asked = |path: &str, headers: &[(&str, &str)]| {
        let call = Call::to(stage.decision, "GET", path).token(&token);
        let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        let answer = call.open().answer("GET");
        (answer.status, answer.code_if_any())
    };
    let whole =
        [("X-Original-Method", "GET"), ("X-Original-URI", &*messages), ("X-Original-Host", HOST)];
    assert_eq!(asked("/nginx", &whole).0, 200);
    let malformed = (400, "question_malformed".to_owned());
    for missing in 0..3 {
        let mut headers = whole.to_vec();
        headers.remove(missing);
        assert_eq!(asked("/nginx", &headers), malformed);
        let mut twice = whole.to_vec();
        twice.push(whole[missing]);
        assert_eq!(asked("/nginx", &twice), malformed);
    }
    for odd in ["#x", "%2fx", "%23x", "?x=%00", "/../messages", " x"] {
        let target = format!("{messages}{odd}");
        assert_ne!(asked("/nginx", &[whole[0], (whole[1].0, &target), whole[2]]).0, 200, "{odd}");
    }
    let absolute = format!("http://{HOST}{messages}");
    assert_ne!(asked("/nginx", &[whole[0], (whole[1].0, &absolute), whole[2]]).0, 200);
    for path in ["/", "/nginx/", "/elsewhere", "/envoyed/x"] {
        assert_eq!(asked(path, &whole), malformed, "{path}");
    }
    // Nobody waits on a connection whose next question would not be read.
    let unknown = Call::to(stage.decision, "QUERY", "/envoy/x").open().answer("QUERY");
    assert_eq!((unknown.code(), unknown.header("connection")), (malformed.1, Some("close")));
    // Without a word on the body, only methods that have none are judged.
    let mut post = whole.to_vec();
    post[0].1 = "POST";
    assert_ne!(asked("/haproxy", &post).0, 200);
}

/// A caller that says "no body" itself would bring an uninspected one past the gate.
#[test]
fn a_word_on_the_body_is_believed_only_from_proxies_that_write_it() {
    let stage = Stage::set();
    let writer = stage.tokens.iter().find(|(name, _)| *name == "writer").unwrap().1.clone();
    let cancel = format!("/v1/agents/{A}/messages/cancel");
    let ask = |path: &str, kind: &str| {
        let call = Call::to(stage.decision, "POST", path).token(&writer);
        let call = call.header(&format!("X-{kind}-Method"), "POST");
        let call = call.header(&format!("X-{kind}-Uri"), &cancel);
        let call = call.header(&format!("X-{kind}-Host"), HOST).header("X-Original-Body", "none");
        let answer = call.open().answer("POST");
        (answer.status, answer.code_if_any())
    };
    assert_eq!(ask("/nginx", "Original").0, 200);
    for path in ["/traefik", &*format!("/envoy{cancel}"), &*format!("/envoy-with-body{cancel}")] {
        assert_eq!(ask(path, "Forwarded"), (403, "proxy_required".to_owned()), "{path}");
    }
}
