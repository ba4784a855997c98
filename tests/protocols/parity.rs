//! The same request over HTTP/1.1 and over HTTP/2: one verdict, and one request upstream.

use ckgate::policy::Permissions;

use super::harness::http2::Http2;
use super::harness::{A, Call, Connection, Gate, HOST, Pki, Recorder, SERVER_KEY, mint};
use super::judge::{Judge, Tested};
use super::requests::{Named, request};

/// A gate, and a connection of each protocol.
struct Both {
    recorder: Recorder,
    gate: Gate,
    pki: Pki,
    http1: Connection,
    http2: Http2,
}

/// What came of a call, as far as it has to be the same.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    code: String,
    body: String,
    headers: Vec<(String, String)>,
    /// What the upstream received.
    upstream: Vec<String>,
}

impl Both {
    fn set() -> Self {
        let (recorder, pki) = (Recorder::start(), Pki::new());
        let gate = Gate::start_tls(&recorder, &pki, &[]);
        let http1 = Connection::open_secure(gate.public(), &pki, HOST).unwrap();
        let http2 = Http2::open(gate.public(), &pki);
        Self { recorder, gate, pki, http1, http2 }
    }

    fn outcome(&mut self, call: &Call, over_http2: bool) -> Outcome {
        let before = self.recorder.requests().len();
        let answer = if over_http2 {
            self.http2.send(call)
        } else {
            let answer = call.send_on(&mut self.http1);
            if answer.header("connection") == Some("close") {
                self.http1 = Connection::open_secure(self.gate.public(), &self.pki, HOST).unwrap();
            }
            answer
        };
        // What differs from request to request, or belongs to the protocol.
        let own = ["date", "x-request-id", "connection", "transfer-encoding", "content-length"];
        let headers = answer.head.headers.iter();
        let mut headers: Vec<_> =
            headers.filter(|(name, _)| !own.contains(&&*name.to_lowercase())).cloned().collect();
        headers.sort();
        let code = answer.code_if_any();
        let requests = self.recorder.requests();
        let upstream = requests[before..].iter().map(|request| {
            let lines = request.head.headers.iter();
            let lines = lines.filter(|(name, _)| name != "x-request-id" && name != "traceparent");
            let lines: Vec<_> = lines.collect();
            format!("{} {lines:?} {}", request.head.line, String::from_utf8_lossy(&request.body))
        });
        Outcome {
            status: answer.status,
            body: if code.is_empty() { answer.text() } else { String::new() },
            code,
            headers,
            upstream: upstream.collect(),
        }
    }

    #[track_caller]
    fn assert_same(&mut self, call: &Call) -> (u16, String) {
        let (one, other) = (self.outcome(call, false), self.outcome(call, true));
        assert_eq!(one, other, "{} {}", call.method(), call.target());
        (one.status, one.code)
    }
}

/// H2-13: every operation of the table, for the token's agent, another one and a malformed one, with
/// each set of permissions; what the table closes for everybody, with all of them.
#[test]
fn whole_matrix_has_one_verdict_over_both_protocols() -> Tested {
    let judge = Judge::built_in()?;
    let mut both = Both::set();
    let words = ["read_messages", "write_messages", "read_agent", "write_agent"];
    let mut tokens = vec![None];
    for set in 1_u8..16 {
        let chosen = (0..4).filter(|bit| set & (1 << bit) != 0).map(|bit| words[bit]);
        tokens.push(Some(mint(&both.gate, A, &chosen.collect::<Vec<_>>())));
    }
    let (mut permitted, mut refused) = (0, 0);
    for operation in judge.routes.operations() {
        let sets = if operation.is_open() { 1..16 } else { 15..16 };
        assert!(sets.clone().all(|set| Permissions::from_bits(set).is_some()));
        for named in [Named::Own, Named::Other, Named::Malformed] {
            let (target, body) = request(operation, named);
            for method in &operation.methods {
                for token in sets.clone().filter_map(|set| tokens[usize::from(set)].as_deref()) {
                    let mut call = both.gate.call(method.as_str(), &target).token(token);
                    if !matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS") && !body.is_empty() {
                        call = call.header("Content-Type", "application/json").body(&body);
                    }
                    match both.assert_same(&call) {
                        (200..=299, _) => permitted += 1,
                        _ => refused += 1,
                    }
                }
            }
        }
    }
    assert!(permitted > 100 && refused > 1000, "{permitted} permitted, {refused} refused");
    Ok(())
}

/// P-20, P-01 to P-08, P-13, P-18, P-21, I-01, I-02, I-11: what is not canonical, over HTTP/2 as well.
#[test]
fn what_is_not_canonical_has_one_verdict_over_both_protocols() {
    let mut both = Both::set();
    let token = mint(&both.gate, A, &["read_messages"]);
    let base = format!("/v1/agents/{A}");
    for rest in [
        "/../B/messages",
        "/%2e%2e/B/messages",
        "%2Fmessages",
        "/messages%252f..",
        "//messages",
        "/messages;x=1",
        "/messages%00",
        "/messages%0d%0aX-Injected:%20y",
        "/messages?a=%zz",
        "/messages?agent_id=other",
        "/messages?limit=1&limit=2",
        "/messages?x=/../B",
        "/\\messages",
        "/messages/",
        "/messages",
        "/MESSAGES",
        "/%6dessages",
        "/messages%",
        "/.",
        "/..",
        "/....//v1",
    ] {
        let call = both.gate.call("GET", &format!("{base}{rest}")).token(&token);
        both.assert_same(&call);
    }
    for path in [
        "//v1/agents/",
        "/latest/agents/",
        "/",
        "/v1",
        "/v1/health",
        "/v1/health/",
        "/openapi.json",
    ] {
        both.assert_same(&both.gate.call("GET", path).token(&token));
        both.assert_same(&both.gate.call("GET", path).bearer(SERVER_KEY));
        both.assert_same(&both.gate.call("GET", path));
    }
    let target = format!("{base}/messages");
    let calls = [
        both.gate.call("GET", &target),
        both.gate.call("GET", &target).bearer("nonsense"),
        both.gate.call("GET", &target).bearer("ck-let-nonsense").origin("https://app.test"),
        both.gate.call("GET", &target).bearer(&token),
        both.gate.call("GET", &target).bearer(&token).origin("https://evil.test"),
        both.gate.call("GET", &target).bearer(&token).origin("null"),
        both.gate.call("GET", &target).token(&token).bearer(SERVER_KEY),
        both.gate.call("GET", &target).token(&token).header("user_id", "user-1"),
        both.gate
            .call("GET", &target)
            .token(&token)
            .header("cookie", "a=b")
            .header("cookie", "c=d"),
        both.gate.call("GET", &target).token(&token).header("x-forwarded-for", "1.2.3.4"),
        both.gate.call("GET", &target).token(&token).header("expect", "100-continue"),
        both.gate.call("PUT", &target).token(&token),
        both.gate.call("HEAD", &target).token(&token),
        both.gate
            .call("OPTIONS", &target)
            .origin("https://app.test")
            .header("access-control-request-method", "GET"),
        both.gate
            .call("OPTIONS", &target)
            .origin("https://evil.test")
            .header("access-control-request-method", "GET"),
        both.gate.call("DELETE", &format!("{base}/messages")).token(&token).body("{}"),
        both.gate.call("POST", &format!("{base}/messages")).token(&token).body("{"),
        both.gate.call("GET", "/v1/client-side-access-tokens").token(&token),
        both.gate.call("GET", "/v1/client-side-access-tokens?limit=x").bearer(SERVER_KEY),
    ];
    for call in calls {
        both.assert_same(&call);
    }
}

/// H-01 to H-07: authorities that are none, over HTTP/2.
#[test]
fn authority_that_is_no_host_is_refused_over_http2() {
    let mut both = Both::set();
    let token = mint(&both.gate, A, &["read_messages"]);
    let target = format!("/v1/agents/{A}/messages");
    for host in ["u@gw.test", "gw.test:0", "gw.test:99999"] {
        let call = both.gate.call("GET", &target).token(&token).host(host);
        match both.http2.try_send(&call) {
            Ok(answer) => {
                assert!((400..=421).contains(&answer.status), "{host}: {}", answer.status);
            }
            Err(error) => assert!(error.is_reset() || error.is_remote(), "{host}: {error}"),
        }
    }
    both.recorder.assert_untouched();
    both.assert_same(&both.gate.call("GET", &target).token(&token).host("GW.test:8284"));
}
