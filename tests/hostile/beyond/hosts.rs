//! `Host`, `Origin`, and the names tokens are bound to.

use serde_json::json;

use crate::harness::SERVER_KEY;
use crate::harness::{A, TOKENS, agent_path, mint_for};
use crate::stage::Stage;

/// What a URL parser would make a host of is still no spelling of one.
#[test]
fn hosts_are_names_or_addresses_with_a_port_at_most() {
    let stage = Stage::set();
    for host in [
        "gw.test:00080",
        "gw.test:65536",
        "gw.test:+80",
        "gw.test: 80",
        "gw.test:8 0",
        "gw.test:\u{ff18}\u{ff10}",
        "gw.test:80:80",
        "gw%2etest",
        "gw.test%00",
        "\u{e9}.test",
        "gw\u{3002}test",
        "xn--",
        "xn--a.test",
        "..",
        ".",
        "gw.test;x",
        "(gw.test)",
        "\"gw.test\"",
        "${jndi:ldap://x}",
        "http://gw.test",
        "[::1]x",
        "[::1]:0",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[v1.x]",
        "[::ffff:1.2.3.256]",
        "[]",
    ] {
        let line = format!("GET {} HTTP/1.1", agent_path(A, "/messages"));
        let request = stage.head(&line, "\r\n").replace("Host: gw.test", &format!("Host: {host}"));
        stage.refuses(request, &[400]);
    }
    stage.still_serves();
}

/// Origins that some parser would bring to the bound one.
#[test]
fn origins_are_compared_as_they_are_serialised() {
    let stage = Stage::set();
    for origin in [
        "https://app.test:0443",
        "https://app.test:",
        "https://app.test:443:443",
        "https://app\u{3002}test",
        "https://\u{ff41}pp.test",
        "https://app.test\u{ad}",
        "https://\u{430}pp.test",
        "https://user@app.test",
        "https://:@app.test",
        "https://app.test:443@evil.test",
        "https:////app.test",
        "blob:https://app.test",
        "filesystem:https://app.test",
        "wss://app.test",
        "capacitor://app.test",
        "<https://app.test>",
        "\"https://app.test\"",
        "https://app.test%",
        "https://app.test\\.evil.test",
        "https://.app.test",
        "https://app.test..",
        "https://*.test",
        "NULL",
        "https://app.test https://evil.test",
    ] {
        let call = stage.gate.call("GET", &agent_path(A, "/messages")).bearer(&stage.reader);
        let answer = call.origin(origin).send();
        assert_eq!(
            (answer.status, answer.code()),
            (403, "hostname_mismatch".to_owned()),
            "{origin}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
    stage.recorder.assert_untouched();
}

/// An address has one serialised form, whatever form the token was bound in.
#[test]
fn addresses_are_bound_in_their_serialised_form() {
    let stage = Stage::set();
    for (bound, matches, others) in [
        ("http://127.1", "http://127.0.0.1", ["http://127.1", "http://2130706433"]),
        ("http://0x7f.0.0.1", "http://127.0.0.1", ["http://0x7f.0.0.1", "http://0177.0.0.1"]),
        (
            "[::0001]:3000",
            "http://[::1]:3000",
            ["http://[::0001]:3000", "http://[0:0:0:0:0:0:0:1]:3000"],
        ),
        (
            "http://[::ffff:1.2.3.4]",
            "http://[::ffff:102:304]",
            ["http://[::ffff:1.2.3.4]", "http://1.2.3.4"],
        ),
        ("fa\u{df}.de", "https://xn--fa-hia.de", ["https://fass.de", "https://fa\u{df}.de"]),
        ("null", "https://null", ["null", "https://null."]),
    ] {
        let token = mint_for(&stage.gate, bound, &[(A, &["read_messages"])]);
        let ask = |origin: &str| {
            let call = stage.gate.call("GET", &agent_path(A, "/messages")).bearer(&token);
            call.origin(origin).send().status
        };
        assert_eq!(ask(matches), 200, "{bound} {matches}");
        for other in others {
            assert_eq!(ask(other), 403, "{bound} {other}");
        }
    }
    for bound in [
        "https:app.test",
        "https:/app.test",
        "https:///app.test",
        "//app.test",
        "file:///etc",
        "data:x",
        "https://app.test:00443",
        "https://app.test:65536",
        "[::1%25eth0]",
        "1.2.3.4.5",
        "256.1.1.1",
        "::1",
        "https://%61pp.test",
        "https://a,b",
        "https://app.test;x",
        "https://app.test\\@evil",
        "app..test",
        ".app.test",
        "app.test..",
        "xn--a.test",
        "https://xn--",
        "\u{3002}",
    ] {
        let body = json!({"policy": [{"type": "agent", "id": A, "access": ["read_agent"]}], "hostname": bound});
        let answer = stage.gate.call("POST", TOKENS).bearer(SERVER_KEY).json(&body).send();
        assert_eq!(answer.status, 400, "{bound}");
        assert!(answer.message().starts_with("hostname"), "{bound}: {}", answer.message());
    }
}

/// A preflight is granted the names that a client may send, and nothing else of what it writes.
#[test]
fn preflight_repeats_nothing_that_is_no_header_name() {
    let stage = Stage::set();
    for (asked, granted) in [
        ("authorization;q=1, content-type\t, ,,", Some("content-type")),
        ("x-stainless-\"a b\"", None),
        ("x-stainless-a<script>", None),
        ("x-fern-user_id", None),
        ("user_id, x-user-id, cookie", None),
        ("*", None),
    ] {
        let call = stage.gate.call("OPTIONS", &agent_path(A, "/messages"));
        let call =
            call.origin(crate::harness::ORIGIN).header("Access-Control-Request-Method", "POST");
        let answer = call.header("Access-Control-Request-Headers", asked).send();
        assert_eq!(answer.status, 204, "{asked}");
        assert_eq!(answer.header("access-control-allow-headers"), granted, "{asked}");
    }
}
