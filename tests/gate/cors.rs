//! Browsers: preflights, and what a page may read of each answer.

use crate::harness::{
    A, Answer, B, Call, Gate, ORIGIN, Recorder, Reply, SERVER_KEY, TOKENS, agent_path, delete,
    mint, mint_for, says,
};

const SDK_HEADERS: &str = "authorization,content-type,x-stainless-lang,x-stainless-package-version,\
                           x-stainless-os,x-stainless-arch,x-stainless-runtime,\
                           x-stainless-runtime-version,x-stainless-retry-count";

fn preflight(gate: &Gate, origin: &str, method: &str, headers: &str) -> Call {
    gate.call("OPTIONS", &agent_path(A, "/messages"))
        .origin(origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", headers)
}

/// The members of a comma-separated header, lower case.
fn members(answer: &Answer, name: &str) -> Vec<String> {
    let value = answer.header(name).unwrap_or_default().to_lowercase();
    value.split(',').map(|member| member.trim().to_owned()).collect()
}

#[track_caller]
fn assert_readable(answer: &Answer, origin: &str) {
    assert_eq!(answer.header_all("access-control-allow-origin"), [origin], "{}", answer.text());
    let exposed = members(answer, "access-control-expose-headers");
    for name in ["x-request-id", "retry-after", "x-should-retry"] {
        assert!(exposed.iter().any(|e| e == name), "{name} is not exposed: {exposed:?}");
    }
}

#[track_caller]
fn assert_not_readable(answer: &Answer) {
    let names: Vec<&String> = answer.head.headers.iter().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name.starts_with("access-control-")), "{names:?}");
}

/// O-09.
#[test]
fn preflight_from_a_bound_origin_is_answered_here_without_a_token() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    mint(&gate, A, &["write_messages"]);
    let answer = preflight(&gate, ORIGIN, "POST", SDK_HEADERS).send();
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(answer.header("access-control-max-age"), Some("600"));
    let methods = members(&answer, "access-control-allow-methods");
    assert!(
        methods.contains(&"post".to_owned()) && methods.contains(&"get".to_owned()),
        "{methods:?}"
    );
    assert!(!methods.contains(&"delete".to_owned()), "only the route's own methods: {methods:?}");
    let allowed = members(&answer, "access-control-allow-headers");
    for name in SDK_HEADERS.split(',') {
        assert!(allowed.iter().any(|a| a == name), "{name} is not allowed: {allowed:?}");
    }
    recorder.assert_untouched();
}

#[test]
fn preflight_allows_no_header_that_is_not_forwarded() {
    let gate = Gate::before_letta();
    mint(&gate, A, &["write_messages"]);
    let asked = "authorization,user_id,x-bare-password,x-forwarded-for,x-fern-language";
    let answer = preflight(&gate, ORIGIN, "POST", asked).send();
    let allowed = members(&answer, "access-control-allow-headers");
    assert!(allowed.contains(&"x-fern-language".to_owned()), "{allowed:?}");
    for name in ["user_id", "x-bare-password", "x-forwarded-for", "*"] {
        assert!(!allowed.iter().any(|a| a == name), "{name} is allowed: {allowed:?}");
    }
}

#[test]
fn preflight_from_an_origin_that_no_token_is_bound_to_is_refused() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    for origin in [ORIGIN, "null", "https://evil.test", "", "https://app.test/"] {
        let answer = preflight(&gate, origin, "POST", "authorization").send();
        assert_eq!(answer.status, 403, "{origin}");
        assert_not_readable(&answer);
    }
    // What was refused a moment ago must not stay refused once there is a token.
    mint(&gate, A, &["write_messages"]);
    assert_eq!(preflight(&gate, ORIGIN, "POST", "authorization").send().status, 204);
    for origin in ["https://sub.app.test", "http://app.test", "https://app.test:8443"] {
        assert_eq!(
            preflight(&gate, origin, "POST", "authorization").send().status,
            403,
            "{origin}"
        );
    }
    recorder.assert_untouched();
}

#[test]
fn bare_host_opens_preflights_of_both_schemes() {
    let gate = Gate::before_letta();
    mint_for(&gate, "app.test:3000", &[(A, &["write_messages"])]);
    for (origin, status) in
        [("http://app.test:3000", 204), ("https://app.test:3000", 204), ("https://app.test", 403)]
    {
        assert_eq!(
            preflight(&gate, origin, "POST", "authorization").send().status,
            status,
            "{origin}"
        );
    }
}

#[test]
fn preflights_are_open_to_all_origins_only_where_the_operator_says_so() {
    let gate = Gate::before_letta_with(&[("cors.preflight", "any".into())]);
    let answer = preflight(&gate, "https://anybody.test", "POST", "authorization").send();
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://anybody.test"));
    assert_eq!(preflight(&gate, "null", "POST", "authorization").send().status, 403, "null never");
}

/// O-01, O-11.
#[test]
fn every_answer_to_the_bound_origin_is_readable_refusals_included() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages", "write_messages"]);
    let deleted = mint(&gate, A, &["read_messages"]);
    delete(&gate, &deleted);
    // As a browser does before any request with a token.
    assert_eq!(preflight(&gate, ORIGIN, "POST", SDK_HEADERS).send().status, 204);
    let get = |agent: &str, rest: &str| gate.call("GET", &agent_path(agent, rest)).origin(ORIGIN);
    let stream = gate.call("POST", &agent_path(A, "/messages/stream")).json(&says("hello"));
    let calls = [
        get(A, "/messages").bearer(&token),
        stream.token(&token),
        get(B, "/messages").bearer(&token),
        get(A, "/context").bearer(&token),
        get(A, "/messages?x=1").bearer(&token),
        get(A, "/messages").bearer(&deleted),
        get(A, "/messages"),
        gate.call("GET", TOKENS).token(&token),
    ];
    let statuses: Vec<u16> = calls
        .iter()
        .map(|call| {
            let answer = call.send();
            assert_readable(&answer, ORIGIN);
            answer.status
        })
        .collect();
    assert_eq!(statuses, [200, 200, 403, 403, 403, 401, 401, 403]);
}

#[test]
fn answer_to_another_origin_is_not_readable() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    for origin in ["https://evil.test", "null", "https://app.test.evil.com"] {
        let answer =
            gate.call("GET", &agent_path(A, "/messages")).bearer(&token).origin(origin).send();
        assert_eq!(answer.status, 403);
        assert_not_readable(&answer);
    }
    let answer = gate.call("GET", "/v1/tools/").bearer(SERVER_KEY).send();
    assert_not_readable(&answer);
}

///
#[test]
fn upstream_cors_headers_are_replaced_and_never_merged() {
    let recorder = Recorder::with(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\n\
             Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: *\r\n\
             access-control-allow-methods: *\r\nVary: Accept-Encoding\r\n\
             Content-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
        )
    });
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
    assert_readable(&answer, ORIGIN);
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    assert_eq!(answer.header("access-control-allow-methods"), None);
}

/// An OPTIONS that is no preflight is an ordinary request for a route that does not exist.
#[test]
fn options_that_is_no_preflight_is_not_forwarded() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let target = agent_path(A, "/messages");
    let bare = gate.call("OPTIONS", &target).token(&token).send();
    assert!(matches!(bare.status, 403 | 405), "{}", bare.status);
    let anonymous = gate.call("OPTIONS", &target).send();
    assert!(matches!(anonymous.status, 401 | 403 | 405), "{}", anonymous.status);
    recorder.assert_untouched();
}
