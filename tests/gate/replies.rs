//! What comes back of the upstream's answers.

use serde_json::json;

use crate::harness::{A, Gate, Recorder, Reply, SERVER_KEY, agent_path, mint, says};

fn before(reply: Reply) -> (Recorder, Gate, String) {
    let recorder = Recorder::with(move |_| reply.clone());
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages", "write_messages", "read_agent"]);
    (recorder, gate, token)
}

/// Any other header fails the inspection of the answer.
#[test]
fn headers_that_tell_or_do_too_much_are_dropped() {
    let (_recorder, gate, token) = before(Reply::raw(
        "HTTP/1.1 200 Fine\r\nServer: uvicorn\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\
         Location: http://internal:8283/v1\r\nAlt-Svc: h2=\":1\"\r\n\
         Connection: keep-alive, x-hop\r\nx-hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\nTrailer: x\r\nUpgrade: h2c\r\n\
         ETag: \"1\"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
    ));
    let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
    assert_eq!((answer.status, answer.text()), (200, "[]".to_owned()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let kept = ["server", "set-cookie", "location", "alt-svc", "x-hop", "keep-alive", "upgrade"];
    for name in kept {
        assert!(answer.head.header_all(name).is_empty(), "{name}");
    }
}

/// L-07: the upstream's errors keep their status and body.
#[test]
fn errors_of_the_upstream_are_relayed() {
    let errors = [
        (404, json!({"detail": "Agent not found"})),
        (409, json!({"detail": "busy", "run_id": "run-1"})),
        (422, json!({"detail": [{"type": "missing", "loc": ["body"]}]})),
        (500, json!({"error": {"type": "internal", "message": "m", "detail": "d"}})),
    ];
    for (status, body) in errors {
        let (_recorder, gate, token) = before(Reply::json(status, &body));
        let call = gate.call("POST", &agent_path(A, "/messages")).token(&token);
        let answer = call.json(&says("hello")).send();
        assert_eq!((answer.status, answer.json()), (status, body));
    }
}

#[test]
fn chunked_and_sized_bodies_arrive_unchanged() {
    let big = "x".repeat(300_000);
    let chunked = Reply::raw(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
    .chunk("[\"")
    .chunk(&big)
    .chunk("\"]")
    .last_chunk();
    let expected = json!([big]);
    for reply in [chunked, Reply::json(200, &expected)] {
        let (_recorder, gate, token) = before(reply);
        let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
        assert_eq!(answer.json(), expected);
    }
}

#[test]
fn answer_without_a_body_stays_without_one() {
    let (_recorder, gate, _) = before(Reply::raw("HTTP/1.1 204 No Content\r\n\r\n"));
    let mut connection = crate::harness::Connection::open(gate.public());
    for _ in 0..2 {
        let call = gate.call("DELETE", &agent_path(A, "")).bearer(SERVER_KEY);
        assert_eq!(call.send_on(&mut connection).status, 204);
    }
}

/// P-15.
#[test]
fn client_token_never_sees_a_redirect() {
    for status in [301, 302, 303, 307, 308] {
        let (_recorder, gate, token) = before(Reply::raw(format!(
            "HTTP/1.1 {status} Moved\r\nLocation: http://evil.test/{A}\r\nContent-Length: 0\r\n\r\n"
        )));
        let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
        assert_eq!(answer.status / 100, 5, "{status} came as {}", answer.status);
        assert_eq!(answer.header("location"), None);
    }
}

#[test]
fn server_key_sees_redirects_of_the_upstream_to_itself_as_relative_ones() {
    let recorder = Recorder::with(|request| {
        let host = request.header("host").unwrap();
        let target = request.target().trim_end_matches('/');
        let place = if target.ends_with("away") {
            "http://evil.test".to_owned()
        } else {
            format!("http://{host}")
        };
        Reply::raw(format!(
            "HTTP/1.1 307 Moved\r\nLocation: {place}{target}/?a=1\r\nContent-Length: 0\r\n\r\n"
        ))
    });
    let gate = Gate::start(&recorder);
    let own = gate.call("GET", "/v1/unheard-of").bearer(SERVER_KEY).send();
    assert_eq!((own.status, own.header("location")), (307, Some("/v1/unheard-of/?a=1")));
    let away = gate.call("GET", "/v1/away").bearer(SERVER_KEY).send();
    assert_eq!(away.header("location"), None, "{}", away.status);
}

/// U-01: the upstream cannot turn the connection into something else.
#[test]
fn switching_protocols_is_never_relayed() {
    let (_recorder, gate, token) = before(Reply::raw(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ));
    let call = gate.call("GET", &agent_path(A, "/messages")).token(&token);
    let answer = call.header("Connection", "Upgrade").header("Upgrade", "websocket").send();
    assert!(answer.status >= 400, "{}", answer.status);
}
