//! Binding to a hostname: what is compared, and what is never guessed.

use crate::harness::{
    A, Answer, Call, Gate, ORIGIN, Recorder, agent_path, assert_refused, mint, mint_for,
};

fn read(gate: &Gate, token: &str) -> Call {
    gate.call("GET", &agent_path(A, "/messages")).bearer(token)
}

#[track_caller]
fn check(answer: &Answer, passes: bool, case: &str) {
    if passes {
        assert_eq!(answer.status, 200, "{case}: {}", answer.text());
    } else {
        assert_eq!(answer.status, 403, "{case}: {}", answer.text());
        assert_refused(answer, 403, "hostname_mismatch");
    }
}

/// O-01 to O-05.
#[test]
fn origin_must_equal_the_bound_origin() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let equal = [ORIGIN, "https://app.test:443", "https://APP.TEST", "HTTPS://app.test"];
    for origin in equal {
        check(&read(&gate, &token).origin(origin).send(), true, origin);
    }
    let different = [
        "null",
        "https://app.test.evil.com",
        "https://evilapp.test",
        "https://app.testx",
        "https://sub.app.test",
        "https://app-test",
        "https://appXtest",
        "http://app.test",
        "http://app.test:443",
        "https://app.test:8443",
        "https://app.test.",
        "https://app.test/",
        "https://app.test?",
        "https://app.test#",
        "https://app.test@evil.com",
        "https://evil.com#app.test",
        "https://evil.com\\@app.test",
        "https://app.test%00.evil.com",
        "https:app.test",
        "//app.test",
        "app.test",
        "https://app.test, https://evil.com",
        "https://app.test https://app.test",
        "https://аpp.test",
        "https://",
        "ftp://app.test",
        "file://",
        "*",
    ];
    for origin in different {
        check(&read(&gate, &token).origin(origin).send(), false, origin);
    }
}

/// O-05.
#[test]
fn two_origins_or_an_empty_one_never_pass() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let calls = [
        read(&gate, &token).origin(ORIGIN).origin(ORIGIN),
        read(&gate, &token).origin(ORIGIN).origin("https://evil.test"),
        read(&gate, &token).origin("https://evil.test").origin(ORIGIN),
        read(&gate, &token).origin(""),
    ];
    for call in calls {
        let answer = call.send();
        assert!(matches!(answer.status, 400 | 403), "{}", answer.status);
    }
    recorder.assert_untouched();
}

#[test]
fn bare_host_matches_both_schemes_and_any_port_unless_it_names_one() {
    let gate = Gate::before_letta();
    let any = mint_for(&gate, "App.Test", &[(A, &["read_messages"])]);
    let one = mint_for(&gate, "app.test:3000", &[(A, &["read_messages"])]);
    let cases = [
        ("https://app.test", true, false),
        ("http://app.test", true, false),
        ("http://app.test:3000", true, true),
        ("https://app.test:3000", true, true),
        ("https://app.test:3001", true, false),
        ("https://sub.app.test", false, false),
        ("https://sub.app.test:3000", false, false),
        ("null", false, false),
    ];
    for (origin, with_any, with_one) in cases {
        check(&read(&gate, &any).origin(origin).send(), with_any, origin);
        check(&read(&gate, &one).origin(origin).send(), with_one, origin);
    }
}

#[test]
fn bound_hosts_are_normalised_when_the_token_is_made() {
    let gate = Gate::before_letta();
    let cases = [
        ("HTTPS://Chat.Example.com:443/", "https://chat.example.com"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://localhost:80", "http://localhost"),
        ("https://chat.example.com.", "https://chat.example.com"),
        ("http://[2001:DB8:0:0::1]:3000", "http://[2001:db8::1]:3000"),
        ("http://127.0.0.1:5173", "http://127.0.0.1:5173"),
    ];
    for (hostname, origin) in cases {
        let token = mint_for(&gate, hostname, &[(A, &["read_messages"])]);
        check(&read(&gate, &token).origin(origin).send(), true, hostname);
    }
}

#[test]
fn without_origin_the_host_decides() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    for host in ["app.test", "APP.TEST", "app.test:443"] {
        check(&read(&gate, &token).host(host).send(), true, host);
    }
    for host in ["gw.test", "app.test:8443", "sub.app.test", "app.test.evil.com"] {
        check(&read(&gate, &token).host(host).send(), false, host);
    }
    let contradicted = read(&gate, &token).host("app.test").origin("https://evil.test");
    check(&contradicted.send(), false, "an Origin that differs is not overruled by Host");
}

/// O-10.
#[test]
fn referer_and_cookies_prove_nothing() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let call = read(&gate, &token).header("Referer", "https://app.test/page");
    check(&call.send(), false, "Referer");
    let forwarded = read(&gate, &token).header("X-Forwarded-Host", "app.test");
    check(&forwarded.send(), false, "X-Forwarded-Host");
}

/// Native clients and SDKs outside a browser, when the operator wants them.
#[test]
fn clients_that_are_no_browser_pass_only_where_the_operator_allows_it() {
    let gate = Gate::before_letta_with(&[("hostname.without_origin", "allow".into())]);
    let token = mint(&gate, A, &["read_messages"]);
    check(&read(&gate, &token).send(), true, "no Origin at all");
    let node = read(&gate, &token).header("Sec-Fetch-Mode", "cors");
    check(&node.send(), true, "Node's fetch, which always sends Sec-Fetch-Mode");
    let browser = read(&gate, &token).header("Sec-Fetch-Site", "cross-site");
    check(&browser.send(), false, "a browser");
    check(&read(&gate, &token).origin("https://evil.test").send(), false, "another origin");
    check(&read(&gate, &token).origin("null").send(), false, "null");
}

#[test]
fn refusal_tells_what_was_compared_and_what_to_send() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let message = read(&gate, &token).send().message();
    for part in [ORIGIN, "gw.test", "default_headers={\"Origin\": \"https://app.test\"}"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    let message = read(&gate, &token).origin("https://evil.test").send().message();
    for part in [ORIGIN, "https://evil.test"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}
