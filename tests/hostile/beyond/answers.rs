//! Answers of an upstream that is confused, or was talked to by somebody else.

use serde_json::json;

use crate::harness::{A, B, Connection, Reply, Signal, agent_path, mint};
use crate::stage::Stage;

const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n";

fn get(stage: &Stage) -> crate::harness::Answer {
    stage.gate.call("GET", &agent_path(A, "/messages")).token(&stage.reader).send()
}

/// Heads that the gate's parser would forgive and the next one might not.
#[test]
fn heads_of_loose_form_are_no_answers() {
    let stage = Stage::set();
    for head in [
        "HTTP/1.1 200 OK\ncontent-length: 2\n\n[]".to_owned(),
        "HTTP/1.1 200 OK\r\nx: y\ncontent-length: 2\r\n\r\n[]".to_owned(),
        format!("\r\n{JSON}content-length: 2\r\n\r\n[]"),
        "HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\n[]".to_owned(),
        "HTTP/1.1 600 Beyond\r\ncontent-length: 2\r\n\r\n[]".to_owned(),
        "HTTP/1.1 999 Beyond\r\ncontent-length: 2\r\n\r\n[]".to_owned(),
        format!("{JSON}content-length: 02\r\n\r\n[]"),
        format!("{JSON}content-length: 2 \r\ncontent-length: 2\r\n\r\n[]"),
        format!("{JSON}content-length : 2\r\n\r\n[]"),
        format!("{JSON}x: a\r\n b\r\ncontent-length: 2\r\n\r\n[]"),
        format!("{JSON}x-letta-a: a\rb\r\ncontent-length: 2\r\n\r\n[]"),
        format!("{JSON}transfer-encoding: gzip, chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"),
        format!("{JSON}transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n[]\r\n0\r\n\r\n"),
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 100 Continue\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(100),
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]".to_owned(),
    ] {
        stage.recorder.answer_next(Reply::raw(&head).close());
        let answer = get(&stage);
        assert_eq!(answer.status, 502, "{head:?}");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!(get(&stage).status, 200, "after {head:?}");
    }
}

/// Trailer fields are dropped, however they are cut, and their connection is not used again; what is no
/// field, or too much of it, breaks the answer off.
#[test]
fn trailers_of_an_answer_are_dropped() {
    let body = format!("{JSON}{CHUNKED}2\r\n[]\r\n0\r\n");
    for (whole, cut) in [("X-T: 1\r\nSet-Cookie: a=b\r\n\r\n", 0), ("X-T: 1\r\nY: 2\r\n\r\n", 9)] {
        let stage = Stage::set();
        let signal = Signal::new();
        let (first, second) = whole.split_at(cut);
        let reply = Reply::raw(format!("{body}{first}")).wait(&signal).then(second);
        stage.recorder.answer_next(reply);
        signal.raise();
        let answer = get(&stage);
        assert_eq!((answer.status, answer.text()), (200, "[]".to_owned()));
        assert_eq!((answer.header("x-t"), answer.header("set-cookie")), (None, None));
        stage.recorder.wait_for("the end", |seen| seen.connections[0].closed);
        assert_eq!(get(&stage).status, 200);
    }
    for trailers in [
        "X T: 1\r\n\r\n".to_owned(),
        "X: a\0\r\n\r\n".to_owned(),
        "X: 1\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
        format!("X: {}\r\n\r\n", "a".repeat(8 << 10)),
        "X: 1\r\n".repeat(40),
    ] {
        let stage = Stage::set();
        stage.recorder.answer_next(Reply::raw(format!("{body}{trailers}")));
        let mut connection = Connection::open(stage.gate.public());
        connection.send(stage.canary());
        let received = String::from_utf8_lossy(&connection.until_close()).into_owned();
        assert!(!received.ends_with("0\r\n\r\n"), "{trailers:?} ends {received:?}");
        stage.recorder.wait_for("the end", |seen| seen.connections[0].closed);
        assert_eq!(get(&stage).status, 200);
    }
}

/// R-02: an answer to nobody that has arrived when the next request comes is not taken for its answer,
/// however soon that is.
#[test]
fn answer_to_nobody_is_not_the_next_ones_however_soon_that_comes() {
    let stage = Stage::set();
    let regular = || Reply::raw(format!("{JSON}content-length: 2\r\n\r\n[]"));
    for _ in 0..100 {
        let (asked, sent) = (Signal::new(), Signal::new());
        let poison = Reply::raw(format!("{JSON}content-length: 10\r\n\r\n[\"poison\"]"));
        stage.recorder.answer_next(regular().wait(&asked).and(poison).raise(&sent));
        let mut connection = Connection::open(stage.gate.public());
        connection.send(stage.canary());
        assert_eq!(connection.answer("GET").text(), "[]");
        asked.raise();
        assert!(sent.wait());
        connection.send(stage.canary());
        assert_ne!(connection.answer("GET").text(), "[\"poison\"]");
    }
}

/// What is to be redacted is read as what it says it is, and only as that.
#[test]
fn answer_that_cannot_be_redacted_in_one_reading_is_not_relayed() {
    let stage = Stage::set();
    let token = mint(&stage.gate, A, &["read_agent"]);
    let secret = r#"{"id":"x","secrets":[{"value":"sekret"}],"secr\u0065ts":"sekret"}"#;
    let relayed = [(JSON.to_owned(), secret, r#"{"id":"x"}"#)];
    let refused = [
        ("content-type: text/html\r\n", secret),
        ("content-type: application/jsonx\r\n", secret),
        ("content-type: application/problem+json\r\n", secret),
        ("content-type: application/json; charset=utf-16\r\n", secret),
        ("content-type: application/json\r\ncontent-type: text/html\r\n", secret),
        ("content-type: application/json\r\ncontent-encoding: identity\r\n", secret),
        ("content-type: text/event-stream\r\n", secret),
        ("", secret),
        ("content-type: application/json\r\n", r#"{"a":1}{"secrets":"sekret"}"#),
        ("content-type: application/json\r\n", "\u{feff}{\"secrets\":\"sekret\"}"),
        ("content-type: application/json\r\n", r#"{"a":NaN,"secrets":"sekret"}"#),
        ("content-type: application/json\r\n", r#"{"\ud800":1,"secrets":"sekret"}"#),
    ];
    let refused = refused.map(|(head, body)| (format!("HTTP/1.1 200 OK\r\n{head}"), body, ""));
    for (head, body, expected) in relayed.into_iter().chain(refused) {
        let whole = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        stage.recorder.answer_next(Reply::raw(whole));
        let answer = stage.gate.call("GET", &agent_path(A, "")).token(&token).send();
        assert!(!answer.text().contains("sekret"), "{head}");
        let status = if expected.is_empty() { 502 } else { 200 };
        assert_eq!(answer.status, status, "{head} {body}");
        assert!(expected.is_empty() || answer.text() == expected);
    }
    // The length of what is not shown is not told either.
    let whole = format!("{JSON}content-length: {}\r\n\r\n", secret.len());
    stage.recorder.answer_next(Reply::raw(whole));
    let answer = stage.gate.call("HEAD", &agent_path(A, "")).token(&token).send();
    let length = secret.len().to_string();
    assert_ne!(answer.header("content-length"), Some(&*length));
}

/// Whose a conversation is, is believed in one shape only.
#[test]
fn owner_is_read_strictly() {
    let stage = Stage::set();
    let id = "conv-33333333-3333-4333-8333-333333333333";
    for told in [
        format!(r#"["{id}","{A}"]"#),
        format!(r#"[{{"id":"{id}","agent_id":"{A}"}}]"#),
        format!(r#"{{"id":"{id}","agent_id":"{B}","agent_id":"{A}"}}"#),
        format!(r#"{{"id":"{id}","agent_id":"{B}","agent_\u0069d":"{A}"}}"#),
        format!(r#"{{"id":"conv-44444444-4444-4444-8444-444444444444","agent_id":"{A}"}}"#),
        format!(r#"{{"id":"{id}"}}"#),
        format!(r#"{{"id":"{id}","agent_id":null}}"#),
        format!(r#"{{"id":"{id}","agent_id":["{A}"]}}"#),
        format!(r#"{{"id":"{id}","agent_id":"{A}"}}x"#),
        String::new(),
    ] {
        let head = format!("{JSON}content-length: {}\r\n\r\n", told.len());
        stage.recorder.answer_next(Reply::raw(format!("{head}{told}")));
        let call = stage.gate.call("GET", &format!("/v1/conversations/{id}/messages"));
        let answer = call.token(&stage.reader).send();
        assert_eq!((answer.status, answer.code()), (503, "owner_unavailable".to_owned()), "{told}");
    }
    let told = json!({"id": id, "agent_id": A});
    stage.recorder.answer_next(Reply::json(200, &told));
    let call = stage.gate.call("GET", &format!("/v1/conversations/{id}/messages"));
    assert_eq!(call.token(&stage.reader).send().status, 200);
}
