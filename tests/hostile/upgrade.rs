//! Nothing turns a connection into something else.

use crate::harness::{A, Connection, Reply, agent_path, says};
use crate::stage::Stage;

/// U-01: what follows the head is the next request, judged like any other.
#[test]
fn bytes_behind_an_upgrade_are_judged_and_not_passed_on() {
    let stage = Stage::set();
    let line = format!("GET {} HTTP/1.1", agent_path(A, "/messages"));
    let asks = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut connection = Connection::open(stage.gate.public());
    let hidden = stage.get("/v1/admin/users");
    connection.send([stage.head(&line, asks), hidden].concat());
    assert_eq!(connection.answer("GET").status, 200);
    assert_eq!(connection.answer("GET").status, 403);
    let request = stage.recorder.only_request();
    for name in ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version"] {
        assert!(request.header_all(name).is_empty(), "{name}");
    }
}

/// U-02.
#[test]
fn h2c_is_never_upgraded_to() {
    let stage = Stage::set();
    let target = agent_path(A, "/messages");
    let body = says("hello").to_string();
    let settings = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n";
    for upgrade in [
        format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n{settings}"),
        format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{settings}"),
        "Connection: Upgrade, HTTP2-Settings\r\n".to_owned(),
        "Upgrade: h2c\r\n".to_owned(),
        format!(
            "Connection: keep-alive, upgrade\r\nUpgrade: h2c, websocket\r\n{settings}{settings}"
        ),
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n".to_owned(),
    ] {
        let get = stage.head(&format!("GET {target} HTTP/1.1"), &format!("{upgrade}\r\n"));
        let mut connection = Connection::open(stage.gate.public());
        connection.send(get);
        assert_eq!(connection.answer("GET").status, 200, "{upgrade}");
        let framing = format!("{upgrade}Content-Length: {}\r\n\r\n{body}", body.len());
        connection.send(stage.post(&framing));
        assert_eq!(connection.answer("POST").status, 200, "{upgrade}");
    }
    for request in stage.recorder.requests() {
        for name in ["connection", "upgrade", "http2-settings"] {
            assert!(request.header_all(name).is_empty(), "{name}");
        }
    }
}

/// U-04: whatever the upstream says to a request that was never an upgrade, there is no tunnel.
#[test]
fn no_answer_of_the_upstream_opens_a_tunnel() {
    let stage = Stage::set_with(&[("server.workers", 1.into())]);
    let line = format!("GET {} HTTP/1.1", agent_path(A, "/messages"));
    let asks = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 99\r\n\r\n";
    for (answer, expected) in [
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            502,
        ),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\nraw bytes", 502),
        ("HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n", 426),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]", 200),
    ] {
        stage.recorder.answer_next(Reply::raw(answer));
        let before = stage.recorder.requests().len();
        let mut connection = Connection::open(stage.gate.public());
        connection.send([stage.head(&line, asks), stage.get("/v1/x#y")].concat());
        let first = connection.answer("GET");
        assert_eq!(first.status, expected, "{answer}");
        assert!(first.header("upgrade").is_none());
        let rest = String::from_utf8(connection.until_close()).unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{rest}");
        assert_eq!(stage.recorder.requests().len(), before + 1, "{answer}");
    }
    stage.still_serves();
}

/// U-05: a tunnel would outlive the token that opened it. There is none: what looks like one to both
/// sides is a request that the gate answers and an upstream connection that it closes, and a client that
/// goes on to speak, with a live token or a deleted one, speaks to the gate.
#[test]
fn no_tunnel_outlives_its_token() {
    let stage = Stage::set_with(&[("server.workers", 1.into())]);
    let asks = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for target in [agent_path(A, "/messages"), "/ws".to_owned(), agent_path(A, "/ws")] {
        let switches = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                        connection: upgrade\r\n\r\n";
        let is_routed = target.ends_with("/messages");
        if is_routed {
            stage.recorder.answer_next(Reply::raw(switches));
        }
        let before = stage.recorder.requests().len();
        let mut connection = Connection::open(stage.gate.public());
        connection.send(stage.head(&format!("GET {target} HTTP/1.1"), asks));
        let answer = connection.answer("GET");
        assert_eq!(answer.status, if is_routed { 502 } else { 403 }, "{target}");
        // A frame of a web socket, masked.
        connection.send(b"\x81\x85\x01\x02\x03\x04igooi");
        let rest = String::from_utf8(connection.until_close()).unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{rest}");
        let seen = stage.recorder.requests().len() - before;
        assert_eq!(seen, usize::from(is_routed), "{target}");
    }
    stage.still_serves();
}

/// U-06.
#[test]
fn preface_of_http_2_is_refused_whole_cut_and_late() {
    let stage = Stage::set();
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    stage.refuses_and_closes(preface, &[400, 501, 505]);
    stage.refuses_and_closes("PRI * HTTP/2.0\r\nHost: gw.test\r\n\r\nSM\r\n\r\n", &[400, 501, 505]);
    let mut cut = Connection::open(stage.gate.public());
    for piece in preface.as_bytes().chunks(9) {
        cut.send(piece);
    }
    assert!(matches!(cut.answer("GET").status, 400 | 501 | 505));
    cut.assert_closed();
    stage.recorder.assert_untouched();
    let mut late = Connection::open(stage.gate.public());
    late.send([stage.canary().as_str(), preface].concat());
    assert_eq!(late.answer("GET").status, 200);
    assert!(matches!(late.answer("GET").status, 400 | 501 | 505));
    late.assert_closed();
    assert_eq!(stage.recorder.requests().len(), 1);
}
