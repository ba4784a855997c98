//! Origins that almost are the bound one, and preflights that want more than they may have.

use crate::harness::{
    A, B, Connection, Gate, ORIGIN, Recorder, TOKENS, agent_path, mint, mint_for,
};
use crate::stage::Stage;

/// A GET with exactly these header lines for its origin.
fn read_from(stage: &Stage, origin_lines: &[u8]) -> Vec<u8> {
    let target = agent_path(A, "/messages");
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {}\r\n",
        stage.reader
    );
    [head.as_bytes(), origin_lines, b"\r\n"].concat()
}

/// O-01: the answer to the bound origin names it as it was sent, and depends on it; so does every other.
#[test]
fn bound_origin_is_echoed_exactly() {
    let stage = Stage::set();
    for origin in [ORIGIN, "https://APP.test", "https://app.test:443"] {
        let mut connection = Connection::open(stage.gate.public());
        connection.send(read_from(&stage, format!("Origin: {origin}\r\n").as_bytes()));
        let answer = connection.answer("GET");
        assert_eq!(answer.status, 200, "{origin}");
        assert_eq!(answer.header_all("access-control-allow-origin"), [origin]);
        assert_eq!(answer.header_all("vary"), ["Origin"]);
    }
}

/// O-02, O-03, O-04, O-05: no answer names another origin, and nothing of the request goes upstream.
#[test]
fn origins_that_only_resemble_the_bound_one_are_refused() {
    let stage = Stage::set();
    let resembling: [&[u8]; 44] = [
        b"null",
        b"NULL",
        b"Null",
        b"null, https://app.test",
        b"https://app.test null",
        b"https://app.test.evil.com",
        b"https://evilapp.test",
        b"https://app.testx",
        b"https://sub.app.test",
        b"https://app-test",
        b"https://appXtest",
        b"https://pp.test",
        b"https://app.tes",
        b"https://test",
        b"http://app.test",
        b"http://app.test:443",
        b"https://app.test:80",
        b"https://app.test:8443",
        b"https://app.test:0443",
        b"https://app.test:",
        b"https://app.test.",
        b"https://app.test/",
        b"https://app.test?",
        b"https://app.test#",
        b"https://app.test/x",
        b"https://app.test@evil.com",
        b"https://x@app.test",
        b"https://evil.com#app.test",
        b"https://evil.com\\@app.test",
        b"https://app.test%00.evil.com",
        b"https://app.test%2eevil.com",
        b"https://%61pp.test",
        b"https:app.test",
        b"https:/app.test",
        b"https:///app.test",
        b"//app.test",
        b"app.test",
        b"wss://app.test",
        b"https://app.test, https://evil.com",
        b"https://app.test\thttps://x",
        b"https://app.test\x80",
        b"https://xn--app-.test",
        b"https://[::ffff:app.test]",
        b"chrome-extension://app.test",
    ];
    for origin in resembling {
        let line = [b"Origin: ", origin, b"\r\n"].concat();
        let answer = stage.refuses(read_from(&stage, &line), &[403]);
        assert!(answer.header("access-control-allow-origin").is_none(), "{origin:?}");
        assert_eq!(answer.code(), "hostname_mismatch");
    }
    for lines in [
        "Origin: https://app.test\r\nOrigin: https://evil.test\r\n",
        "Origin: https://app.test\r\norigin: https://app.test\r\n",
        "Origin:\r\n",
        "Origin:\r\nOrigin: https://app.test\r\n",
    ] {
        let answer = stage.refuses(read_from(&stage, lines.as_bytes()), &[400, 403]);
        assert!(answer.header("access-control-allow-origin").is_none(), "{lines:?}");
    }
    stage.still_serves();
}

/// O-10: nothing but `Origin` and `Host` speaks for where a request comes from.
#[test]
fn other_headers_prove_no_origin() {
    let stage = Stage::set();
    for lines in [
        "",
        "Referer: https://app.test/\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "X-Forwarded-Host: app.test\r\n",
        "X-Origin: https://app.test\r\n",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n",
        "X-Requested-With: XMLHttpRequest\r\n",
        "Origin-Trial: https://app.test\r\n",
        "Forwarded: host=app.test\r\n",
    ] {
        let answer = stage.refuses(read_from(&stage, lines.as_bytes()), &[403]);
        assert_eq!(answer.code(), "hostname_mismatch");
    }
}

/// O-09: whatever a preflight asks for, it is answered here, and grants what a request may have.
#[test]
fn preflights_grant_nothing_beyond_the_route() {
    let stage = Stage::set();
    let preflight = |target: &str, lines: &str| {
        format!("OPTIONS {target} HTTP/1.1\r\nHost: gw.test\r\n{lines}\r\n")
    };
    let asks = "Access-Control-Request-Method: POST\r\n\
                Access-Control-Request-Headers: authorization,content-type,x-stainless-lang,user_id,cookie\r\n";
    for origin in
        ["https://evil.test", "null", "", "https://app.test.evil.com", "*", "https://app.test/"]
    {
        let target = agent_path(A, "/messages");
        let attack = preflight(&target, &format!("Origin: {origin}\r\n{asks}"));
        let answer = stage.refuses(attack, &[403]);
        assert!(!answer.head.headers.iter().any(|(name, _)| name.starts_with("access-control")));
    }
    for target in ["/v1/admin/users", TOKENS, "/", &agent_path(B, "/messages")] {
        let mut connection = Connection::open(stage.gate.public());
        connection.send(preflight(target, &format!("Origin: {ORIGIN}\r\n{asks}")));
        let answer = connection.answer("OPTIONS");
        assert!(matches!(answer.status, 204 | 403), "{target}: {}", answer.status);
        let headers = answer.header("access-control-allow-headers").unwrap_or_default();
        assert!(!headers.contains("user_id") && !headers.contains("cookie"), "{headers}");
        assert!(
            !headers.contains('*') && answer.header("access-control-allow-credentials").is_none()
        );
        let methods = answer.header("access-control-allow-methods").unwrap_or_default();
        assert!(!methods.contains("DELETE") && !methods.contains('*'), "{target}: {methods}");
    }
    stage.recorder.assert_untouched();
}

/// O-12: pages of the public network are given no way to machines of a private one.
#[test]
fn private_network_preflight_is_not_granted() {
    let stage = Stage::set();
    let mut connection = Connection::open(stage.gate.public());
    connection.send(format!(
        "OPTIONS {} HTTP/1.1\r\nHost: gw.test\r\nOrigin: {ORIGIN}\r\nAccess-Control-Request-Method: GET\r\n\
         Access-Control-Request-Private-Network: true\r\nAccess-Control-Request-Local-Network: true\r\n\r\n",
        agent_path(A, "/messages")
    ));
    let answer = connection.answer("OPTIONS");
    assert_eq!(answer.status, 204);
    assert!(
        !answer.head.headers.iter().any(|(name, _)| name.contains("network")),
        "{:?}",
        answer.head
    );
}

/// O-11: a page that may read answers may read its refusals; another page may read neither.
#[test]
fn refusals_are_readable_by_the_bound_page_only() {
    let stage = Stage::set();
    let ask = |origin: &str| {
        stage
            .gate
            .call("GET", &agent_path(B, "/messages"))
            .bearer(&stage.reader)
            .origin(origin)
            .send()
    };
    assert_eq!(ask(ORIGIN).header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(ask("https://evil.test").header("access-control-allow-origin"), None);
}

/// O-08: names written in other letters are compared as the same name, and as no other.
#[test]
fn international_names_have_one_form() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint_for(&gate, "https://b\u{fc}cher.example", &[(A, &["read_messages"])]);
    let ask = |origin: &str| {
        gate.call("GET", &agent_path(A, "/messages")).bearer(&token).origin(origin).send().status
    };
    assert_eq!(ask("https://xn--bcher-kva.example"), 200);
    for other in
        ["https://b\u{fc}cher.example", "https://bucher.example", "https://xn--bcher-kv.example"]
    {
        assert_eq!(ask(other), 403, "{other}");
    }
    let _ = mint(&gate, A, &["read_agent"]);
}
