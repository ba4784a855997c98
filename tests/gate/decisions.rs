//! The decision table of the contract, row by row, and the order of its rows.

use std::time::Duration;

use serde_json::json;

use crate::harness::{
    A, Answer, B, Call, Gate, ORIGIN, Recorder, SERVER_KEY, agent_path, assert_refused, delete,
    eventually, mint, mint_until, says,
};

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

/// One way to fail, in the order in which failures win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Malformed,
    Missing,
    Forged,
    Expired,
    Deleted,
    Hostname,
    Route,
    Permission,
    Parameter,
}

impl Step {
    const EVERY: [Self; 9] = [
        Self::Malformed,
        Self::Missing,
        Self::Forged,
        Self::Expired,
        Self::Deleted,
        Self::Hostname,
        Self::Route,
        Self::Permission,
        Self::Parameter,
    ];

    const fn refusal(self) -> (u16, &'static str) {
        match self {
            Self::Malformed => (400, "malformed_request"),
            Self::Missing => (401, "token_missing"),
            Self::Forged | Self::Deleted => (401, "token_invalid"),
            Self::Expired => (401, "token_expired"),
            Self::Hostname => (403, "hostname_mismatch"),
            Self::Route => (403, "route_not_allowed"),
            Self::Permission => (403, "permission_denied"),
            Self::Parameter => (403, "parameter_not_allowed"),
        }
    }
}

/// Tokens in each state.
struct Tokens {
    live: String,
    expired: String,
    deleted: String,
    expired_and_deleted: String,
}

impl Tokens {
    fn make(gate: &Gate) -> Self {
        let short = || mint_until(gate, A, &["read_messages"], Duration::from_millis(300));
        let tokens = Self {
            expired: short(),
            expired_and_deleted: short(),
            live: mint(gate, A, &["read_messages"]),
            deleted: mint(gate, A, &["read_messages"]),
        };
        delete(gate, &tokens.deleted);
        delete(gate, &tokens.expired_and_deleted);
        for token in [&tokens.expired, &tokens.expired_and_deleted] {
            let code = || request(gate, &[], token).send().code_if_any();
            eventually("the token expires", || code() == "token_expired");
        }
        tokens
    }

    fn failing(&self, steps: &[Step]) -> &str {
        match (steps.contains(&Step::Expired), steps.contains(&Step::Deleted)) {
            (false, false) => &self.live,
            (true, false) => &self.expired,
            (false, true) => &self.deleted,
            (true, true) => &self.expired_and_deleted,
        }
    }
}

/// Another token of the same form, which nobody issued.
fn forge(token: &str) -> String {
    let (head, tail) = token.split_at(token.len() - 10);
    format!("{head}{}{}", if tail.starts_with('A') { 'B' } else { 'A' }, &tail[1..])
}

/// A GET of messages that fails exactly at `steps`.
fn request(gate: &Gate, steps: &[Step], token: &str) -> Call {
    let fails = |step| steps.contains(&step);
    let agent = if fails(Step::Permission) { B } else { A };
    let route = if fails(Step::Route) { "/context" } else { "/messages" };
    let mut target = agent_path(agent, route);
    if fails(Step::Malformed) {
        target = target.replacen("/v1/", "/v1//", 1);
    }
    if fails(Step::Parameter) {
        target.push_str("?agent_id=x");
    }
    let forged = forge(token);
    let token = if fails(Step::Forged) { &forged } else { token };
    let call = gate.call("GET", &target);
    let call = if fails(Step::Missing) { call } else { call.bearer(token) };
    call.origin(if fails(Step::Hostname) { "https://evil.test" } else { ORIGIN })
}

#[test]
fn request_that_fails_nowhere_passes() {
    let gate = Gate::before_letta();
    let tokens = Tokens::make(&gate);
    assert_eq!(request(&gate, &[], &tokens.live).send().status, 200);
}

#[test]
fn each_step_refuses_with_its_code_and_nothing_reaches_the_upstream() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let tokens = Tokens::make(&gate);
    let before = recorder.bytes_total();
    for step in Step::EVERY {
        let answer = request(&gate, &[step], tokens.failing(&[step])).send();
        let (status, code) = step.refusal();
        assert_refused(&answer, status, code);
    }
    assert_eq!(recorder.bytes_total(), before);
}

#[test]
fn of_two_failing_steps_the_earlier_wins() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let tokens = Tokens::make(&gate);
    let before = recorder.bytes_total();
    for earlier in Step::EVERY {
        for later in Step::EVERY.into_iter().filter(|step| *step > earlier) {
            let steps = [earlier, later];
            let answer = request(&gate, &steps, tokens.failing(&steps)).send();
            let found = (answer.status, answer.code());
            let (status, code) = earlier.refusal();
            assert_eq!(found, (status, code.to_owned()), "{steps:?}: {}", answer.text());
        }
    }
    assert_eq!(recorder.bytes_total(), before);
}

#[test]
fn limit_of_requests_is_judged_after_everything_else() {
    let recorder = Recorder::start();
    let settings = [("limits.requests_per_minute_per_token", 2.into())];
    let gate = Gate::start_with(&recorder, &settings);
    let token = mint(&gate, A, &["read_messages"]);
    let good = || request(&gate, &[], &token).send();
    let answers: Vec<Answer> = (0..4).map(|_| good()).collect();
    assert_eq!(answers[0].status, 200);
    let last = &answers[3];
    assert_refused(last, 429, "rate_limited");
    let seconds: u64 = last.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds} s");
    for step in [Step::Parameter, Step::Permission, Step::Route, Step::Hostname] {
        let (status, code) = step.refusal();
        assert_refused(&request(&gate, &[step], &token).send(), status, code);
    }
    let other = mint(&gate, A, &["read_messages"]);
    assert_eq!(request(&gate, &[], &other).send().status, 200, "each token has its own limit");
}

#[test]
fn refusal_names_what_is_missing_as_rfc_6750_writes_it() {
    let gate = Gate::before_letta();
    let tokens = Tokens::make(&gate);
    let challenge = |steps: &[Step]| {
        let answer = request(&gate, steps, tokens.failing(steps)).send();
        answer.header("www-authenticate").unwrap_or_default().to_owned()
    };
    let missing = challenge(&[Step::Missing]);
    assert!(missing.starts_with("Bearer") && !missing.contains("error="), "{missing}");
    for step in [Step::Forged, Step::Expired, Step::Deleted] {
        let found = challenge(&[step]);
        assert!(
            found.starts_with("Bearer ") && found.contains(r#"error="invalid_token""#),
            "{found}"
        );
    }
    let scope = challenge(&[Step::Permission]);
    assert!(scope.contains(r#"error="insufficient_scope""#), "{scope}");
    assert!(scope.contains(r#"scope="read_messages""#), "{scope}");
}

/// L-05, and the rule that what is not there looks like what is not yours.
#[test]
fn refusals_do_not_tell_what_exists() {
    let gate = Gate::before_letta();
    let tokens = Tokens::make(&gate);
    let said = |answer: &Answer| (answer.status, answer.code(), answer.message());
    let deleted = request(&gate, &[Step::Deleted], &tokens.deleted).send();
    let forged = request(&gate, &[Step::Forged], &tokens.live).send();
    assert_eq!(said(&deleted), said(&forged));
    let read = |agent: &str| gate.call("GET", &agent_path(agent, "/messages")).token(&tokens.live);
    let foreign = read(B).send();
    let unknown = read("agent-99999999-9999-4999-8999-999999999999").send();
    assert_eq!(said(&foreign), said(&unknown));
}

/// I-11, I-12.
#[test]
fn credential_is_read_only_from_one_well_formed_authorization() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let target = agent_path(A, "/messages");
    let send = |value: &str| {
        let call = gate.call("GET", &target).origin(ORIGIN).header("Authorization", value);
        call.open().answer("GET").status
    };
    let wrong = [
        format!("Basic {token}"),
        format!("Token {token}"),
        token.clone(),
        format!("Bearer {token},x"),
        format!("Bearer {token} x"),
        format!("Bearer {}", token.replacen("ck", "CK", 1)),
        format!("Bearer {token}="),
        format!("Bearer {}", &token[..token.len() - 1]),
        format!("Bearer {token}A"),
        "Bearer ck-let-".to_owned(),
        "Bearer ".to_owned(),
        "Bearer undefined".to_owned(),
        format!("Bearer {}", token.replacen('-', "%2D", 1)),
        format!("Bearer ck-let-{}", "A".repeat(4096)),
        format!("Bearer ck-let-{}", "١".repeat(52)),
    ];
    for value in wrong {
        assert_eq!(send(&value), 401, "{value}");
    }
    let elsewhere = [
        gate.call("GET", &format!("{target}?token={token}")),
        gate.call("GET", &format!("{target}?access_token={token}")),
        gate.call("GET", &target).header("Cookie", &format!("token={token}")),
        gate.call("GET", &target).header("X-Api-Key", &token),
        gate.call("GET", &target).header("X-BARE-PASSWORD", "password x"),
    ];
    for call in elsewhere {
        let answer = call.origin(ORIGIN).open().answer("GET");
        assert_eq!((answer.status, answer.code()), (401, "token_missing".to_owned()));
    }
    recorder.assert_untouched();
}

/// I-01.
#[test]
fn two_credentials_are_refused_in_any_order_and_spelling() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let call = || gate.call("GET", &agent_path(A, "/messages")).origin(ORIGIN);
    let calls = [
        call().bearer(&token).bearer(SERVER_KEY),
        call().bearer(SERVER_KEY).bearer(&token),
        call().bearer(&token).bearer(&token),
        call().bearer(&token).header("authorization", "Basic eDp5"),
        call().header("Authorization", &format!("Bearer {token}, Bearer {SERVER_KEY}")),
    ];
    for call in calls {
        let answer = call.open().answer("GET");
        assert!(matches!(answer.status, 400 | 401), "{}: {}", answer.status, answer.text());
    }
    recorder.assert_untouched();
}

/// M-02 to M-04, on routes that exist upstream.
#[test]
fn token_with_every_permission_opens_only_what_the_table_opens() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &ALL);
    let closed = [
        ("DELETE", agent_path(A, "")),
        ("PUT", agent_path(A, "")),
        ("GET", "/v1/agents/".to_owned()),
        ("POST", "/v1/agents/".to_owned()),
        ("GET", "/v1/agents/count".to_owned()),
        ("POST", "/v1/agents/messages/search".to_owned()),
        ("GET", agent_path(A, "/context")),
        ("GET", agent_path(A, "/export")),
        ("PATCH", agent_path(A, "/reset-messages")),
        ("POST", agent_path(A, "/summarize")),
        ("POST", agent_path(A, "/messages/preview-raw-payload")),
        ("DELETE", agent_path(A, "/archival-memory/passage-1")),
        ("GET", format!("/latest/agents/{A}/messages")),
        ("GET", "/v1/messages/".to_owned()),
        ("GET", "/v1/messages/message-00000000-0000-4000-8000-000000000001".to_owned()),
        ("POST", "/v1/chat/completions".to_owned()),
        ("POST", "/v1/tools/run".to_owned()),
        ("POST", "/v1/anthropic/v1/messages".to_owned()),
        ("GET", "/v1/_internal_runs/".to_owned()),
        ("GET", "/v1/admin/users".to_owned()),
        ("GET", "/v1/git/x".to_owned()),
        ("GET", "/openapi.json".to_owned()),
        ("GET", "/docs".to_owned()),
        ("GET", "/metrics".to_owned()),
        ("GET", "/healthz".to_owned()),
        ("GET", "/".to_owned()),
        ("GET", "/V1/AGENTS/x".to_owned()),
        ("get", agent_path(A, "/messages")),
        ("TRACE", agent_path(A, "/messages")),
    ];
    for (method, target) in closed {
        let answer = gate.call(method, &target).token(&token).open().answer(method);
        let refused = matches!(answer.status, 400 | 403 | 404 | 405 | 501);
        assert!(refused, "{method} {target}: {} {}", answer.status, answer.text());
    }
    recorder.assert_untouched();
}

/// Each permission on its own, on its own agent and on another.
#[test]
fn each_permission_opens_its_own_operations_and_no_others() {
    let gate = Gate::before_letta();
    let operations = [
        ("GET", "/messages", "read_messages"),
        ("POST", "/messages", "write_messages"),
        ("POST", "/messages/stream", "write_messages"),
        ("POST", "/messages/async", "write_messages"),
        ("POST", "/messages/cancel", "write_messages"),
        ("GET", "", "read_agent"),
        ("PATCH", "", "write_agent"),
    ];
    for held in ALL {
        let token = mint(&gate, A, &[held]);
        for (method, rest, needed) in operations {
            for agent in [A, B] {
                let call = gate.call(method, &agent_path(agent, rest)).token(&token);
                let answer = match (method, rest) {
                    ("GET", _) => call.send(),
                    ("PATCH", _) | (_, "/messages/cancel") => call.json(&json!({})).send(),
                    _ => call.json(&says("hello")).send(),
                };
                let case = format!("{held}: {method} {agent}{rest}");
                if held == needed && agent == A {
                    assert_eq!(answer.status, 200, "{case}: {}", answer.text());
                } else {
                    assert_eq!(
                        (answer.status, answer.code().as_str()),
                        (403, "permission_denied"),
                        "{case}"
                    );
                }
            }
        }
    }
}

/// M-09.
#[test]
fn head_gets_the_verdict_of_get() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let head =
        |agent: &str| gate.call("HEAD", &agent_path(agent, "/messages")).token(&token).send();
    assert_eq!(head(B).status, 403);
    recorder.assert_untouched();
    assert_eq!(head(A).status, 200);
}

#[test]
fn server_key_passes_every_canonical_request_and_no_other() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let passes = [
        ("GET", "/v1/tools/"),
        ("DELETE", "/v1/agents/agent-11111111-1111-4111-8111-111111111111"),
        ("GET", "/v1/agents/agent-22222222-2222-4222-8222-222222222222/context"),
        ("GET", "/v1/health/"),
    ];
    for (method, target) in passes {
        let answer = gate.call(method, target).bearer(SERVER_KEY).send();
        assert_eq!(answer.status, 200, "{method} {target}");
    }
    let before = recorder.bytes_total();
    for target in
        ["/v1//tools/", "/v1/tools/../agents/", "/v1/%61gents/", "/v1/tools;x=1", "/v1/tools#x"]
    {
        let answer = gate.call("GET", target).bearer(SERVER_KEY).send();
        assert_refused(&answer, 400, "malformed_request");
    }
    assert_eq!(recorder.bytes_total(), before);
    let requests = recorder.requests();
    let seen: Vec<(&str, &str)> = requests.iter().map(|r| (r.method(), r.target())).collect();
    assert_eq!(seen, passes);
}
