//! Who is asked: one plain `Host`, and never a word of it upstream.

use crate::harness::{A, SERVER_KEY, agent_path};
use crate::stage::Stage;

fn with_host(stage: &Stage, credential: Option<&str>, host: &str) -> Vec<u8> {
    let target = agent_path(A, "/messages");
    let credential =
        credential.map(|c| format!("Authorization: Bearer {c}\r\n")).unwrap_or_default();
    let _ = stage;
    format!("GET {target} HTTP/1.1\r\n{host}Origin: https://app.test\r\n{credential}\r\n")
        .into_bytes()
}

/// H-01: the upstream would take the path it guards from here.
#[test]
fn host_with_anything_but_a_name_and_a_port_is_refused() {
    let stage = Stage::set();
    for host in [
        "gw.test/v1/health?",
        "gw.test/v1/health/?",
        "gw.test/v1/health#",
        "gw:8283/v1/health/?",
        "x/v1/health?",
        "gw.test?",
        "gw.test#",
        "gw.test/",
        "gw.test\\v1",
        "/",
        "?",
        "http://gw.test",
        "gw.test%2Fv1",
        "gw.test%00",
    ] {
        let host = format!("Host: {host}\r\n");
        for credential in [None, Some(&*stage.reader), Some(SERVER_KEY)] {
            stage.refuses(with_host(&stage, credential, &host), &[400]);
        }
    }
    stage.still_serves();
}

/// H-03.
#[test]
fn host_that_is_not_exactly_one_authority_is_refused() {
    let stage = Stage::set();
    for hosts in [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: gw.test\r\nHost: gw.test\r\n",
        "Host: gw.test\r\nhOST: gw.test\r\n",
        "Host: a, b\r\n",
        "Host: gw.test,gw.test\r\n",
        "Host:\r\n",
        "Host: \r\n",
        "Host: \t\r\n",
        "Host: u@gw.test\r\n",
        "Host: u:p@gw.test\r\n",
        "Host: gw.test:0\r\n",
        "Host: gw.test:99999\r\n",
        "Host: gw.test:65536\r\n",
        "Host: gw.test:\r\n",
        "Host: gw.test:080\r\n",
        "Host: gw.test:+80\r\n",
        "Host: gw.test:80:80\r\n",
        "Host: gw.test:http\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: ::1]\r\n",
        "Host: ::1\r\n",
        "Host: [::1]x\r\n",
        "Host: [::g]\r\n",
        "Host: [v1.x]\r\n",
        "Host: a b\r\n",
        "Host: a\tb\r\n",
        "Host: a\0b\r\n",
        "Host: gw.test\0\r\n",
        "Host: gw..test\r\n",
        "Host: .gw.test\r\n",
        "Host: gw.test..\r\n",
        "Host: .\r\n",
        "Host: *\r\n",
        "Host: *.test\r\n",
        "Host: gw.t\u{e9}st\r\n",
        "Host: xn--\r\n",
        "Host: xn--a.test\r\n",
        "Host: \"gw.test\"\r\n",
        "Host: <gw.test>\r\n",
        "Host : gw.test\r\n",
        " Host: gw.test\r\n",
        "Host: gw.test\r\n x\r\n",
        "Host; gw.test\r\n",
        "Hos\u{74}\0: gw.test\r\n",
    ] {
        stage.refuses(with_host(&stage, Some(&stage.reader), hosts), &[400]);
    }
    let long = format!("Host: {}\r\n", "a.".repeat(200));
    stage.refuses(with_host(&stage, Some(&stage.reader), &long), &[400]);
    stage.still_serves();
}

/// H-02, H-03: letter case, a trailing dot, a port, an address are all good names; none is passed on.
#[test]
fn upstream_sees_its_own_authority_whatever_the_client_wrote() {
    let stage = Stage::set();
    let hosts = [
        "gw.test",
        "GW.TEST",
        "gw.test.",
        "gw.test:8284",
        "127.0.0.1",
        "[::1]:1",
        "xn--bcher-kva.de",
    ];
    for host in hosts {
        let call = stage.gate.call("GET", &agent_path(A, "/messages")).host(host);
        let answer = call.token(&stage.reader).header("X-Forwarded-Host", "evil.test").send();
        assert_eq!(answer.status, 200, "{host}: {}", answer.text());
    }
    let requests = stage.recorder.requests();
    assert_eq!(requests.len(), hosts.len());
    for request in requests {
        assert_eq!(request.header_all("host"), [stage.recorder.address().to_string()]);
        assert!(!request.contains("gw.test") && !request.contains("evil.test"));
    }
}

/// H-03 in the oldest version that is spoken: without a name there is nobody to ask.
#[test]
fn http_1_0_without_host_is_refused() {
    let stage = Stage::set();
    let target = agent_path(A, "/messages");
    let rest =
        format!("Origin: https://app.test\r\nAuthorization: Bearer {}\r\n\r\n", stage.reader);
    stage.refuses_and_closes(format!("GET {target} HTTP/1.0\r\n{rest}"), &[400]);
}
