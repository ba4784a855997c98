//! Limits on what a caller may ask of the gate.

use std::time::Duration;

use crate::harness::{
    A, Connection, Gate, ORIGIN, Recorder, SERVER_KEY, agent_path, assert_refused, eventually,
    mint, says,
};

fn head(token: &str, rest: &str) -> String {
    let target = agent_path(A, "/messages");
    format!(
        "POST {target} HTTP/1.1\r\nHost: gw.test\r\nOrigin: {ORIGIN}\r\nAuthorization: Bearer {token}\r\n{rest}"
    )
}

/// P-25.
#[test]
fn target_above_its_limit_is_refused_with_414() {
    let recorder = Recorder::start();
    let gate = Gate::start_with(&recorder, &[("limits.target_bytes_max", 1024.into())]);
    let token = mint(&gate, A, &["read_messages"]);
    for length in [1025, 8 * 1024, 20 * 1024] {
        let target = format!("/{}", "a".repeat(length));
        assert_eq!(gate.call("GET", &target).token(&token).send().status, 414, "{length}");
    }
    recorder.assert_untouched();
}

/// D-04.
#[test]
fn too_many_headers_or_too_large_ones_are_refused_with_431() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let call = || gate.call("GET", &agent_path(A, "/messages")).token(&token);
    let many = (0..65).fold(call(), |call, n| call.header(&format!("x-{n}"), "1"));
    assert_eq!(many.send().status, 431);
    let large = call().header("Cookie", &"c".repeat(40 * 1024));
    assert_eq!(large.send().status, 431);
    recorder.assert_untouched();
    let few = (0..50).fold(call(), |call, n| call.header(&format!("x-{n}"), "1"));
    assert_eq!(few.send().status, 200);
}

#[test]
fn inspected_body_above_its_limit_is_refused_with_413() {
    let recorder = Recorder::start();
    let settings = [("limits.inspected_body_bytes_max", 2048.into())];
    let gate = Gate::start_with(&recorder, &settings);
    let token = mint(&gate, A, &["write_messages"]);
    let call = || gate.call("POST", &agent_path(A, "/messages")).token(&token);
    assert_eq!(call().json(&says(&"x".repeat(3000))).send().status, 413);
    let body = says(&"x".repeat(3000)).to_string();
    let mut chunked = Connection::open(gate.public());
    chunked.send(head(&token, "Transfer-Encoding: chunked\r\n\r\n"));
    for piece in body.as_bytes().chunks(100) {
        chunked.send(format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece)));
    }
    assert_eq!(chunked.answer("POST").status, 413);
    recorder.assert_untouched();
    assert_eq!(call().json(&says("short")).send().status, 200);
}

#[test]
fn passed_body_above_its_limit_is_refused() {
    let recorder = Recorder::start();
    let gate = Gate::start_with(&recorder, &[("limits.body_bytes_max", 2048.into())]);
    let call = gate.call("POST", "/v1/folders/").bearer(SERVER_KEY);
    assert_eq!(call.body("x".repeat(3000)).send().status, 413);
    recorder.assert_untouched();
}

/// D-01.
#[test]
fn head_that_does_not_arrive_in_time_ends_the_connection() {
    let recorder = Recorder::start();
    let gate = Gate::start_with(&recorder, &[("limits.header_timeout", "300ms".into())]);
    let token = mint(&gate, A, &["read_messages"]);
    for beginning in ["", "GET /v1", &head(&token, "X-A: 1\r\n")] {
        let mut connection = Connection::open(gate.public());
        connection.send(beginning);
        let answer = String::from_utf8(connection.until_close()).unwrap();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer:?}");
    }
    let good = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
    assert_eq!(good.status, 200, "others are served");
}

/// D-02.
#[test]
fn inspected_body_that_does_not_arrive_in_time_ends_the_request() {
    let recorder = Recorder::start();
    let gate = Gate::start_with(&recorder, &[("limits.body_timeout", "300ms".into())]);
    let token = mint(&gate, A, &["write_messages"]);
    let mut connection = Connection::open(gate.public());
    connection.send(head(&token, "Content-Length: 100\r\n\r\n{\"messages\":"));
    let answer = connection.answer("POST");
    assert_eq!(answer.status, 408, "{}", answer.text());
    connection.assert_closed();
    recorder.assert_untouched();
}

/// S-13: the rest of a refused body is never read as a request.
#[test]
fn refused_request_with_an_unread_body_is_followed_by_nothing() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let canary = format!(
        "GET {} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {token}\r\nOrigin: {ORIGIN}\r\n\r\n",
        agent_path(A, "/messages")
    );
    let mut connection = Connection::open(gate.public());
    connection.send(head(&token, "Content-Length: 10000000\r\n\r\n"));
    connection.send(canary.repeat(2000));
    let answer = connection.answer("POST");
    assert_refused(&answer, 403, "permission_denied");
    connection.assert_closed();
    recorder.assert_untouched();
}

#[test]
fn keep_alive_goes_on_after_a_refusal_whose_body_was_read() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    let mut connection = Connection::open(gate.public());
    let refused =
        gate.call("GET", &agent_path(A, "/context")).token(&token).send_on(&mut connection);
    assert_refused(&refused, 403, "route_not_allowed");
    let good = gate.call("GET", &agent_path(A, "/messages")).token(&token);
    assert_eq!(good.send_on(&mut connection).status, 200);
}

/// D-03.
#[test]
fn connections_beyond_the_limit_are_shed_and_the_others_go_on() {
    let gate = Gate::before_letta_with(&[("limits.connections_max", 4.into())]);
    let token = mint(&gate, A, &["read_messages"]);
    let good = gate.call("GET", &agent_path(A, "/messages")).token(&token);
    // The connections that made the token may not have been counted out yet.
    let served = || {
        let mut connection = good.open();
        connection.until_first_bytes().starts_with(b"HTTP/1.1 200").then_some(connection)
    };
    let mut open: Vec<Connection> = std::iter::repeat_with(served).flatten().take(4).collect();
    let mut shed = good.open();
    let answer = String::from_utf8(shed.until_close()).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"), "{answer:?}");
    for connection in &mut open {
        assert_eq!(good.send_on(connection).status, 200);
    }
    drop(open);
    // The gate notices the ends by itself; until then it may still shed.
    eventually("a place is free again", || served().is_some());
}

/// Pipelining is legal; answers come in order and each is judged.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    let good = gate.call("GET", &agent_path(A, "/messages")).token(&token);
    let refused = gate.call("GET", &agent_path(A, "")).token(&token);
    let mut connection = Connection::open(gate.public());
    connection.send([good.bytes(), refused.bytes(), good.bytes()].concat());
    let statuses: Vec<u16> = (0..3).map(|_| connection.answer("GET").status).collect();
    assert_eq!(statuses, [200, 403, 200]);
    assert!(connection.is_silent_for(Duration::from_millis(50)), "no fourth answer");
}
