//! An upstream that is down, slow, broken or hostile.

use std::net::TcpListener;

use crate::harness::{
    A, Answer, Call, Connection, Gate, Recorder, Reply, SERVER_KEY, agent_path, mint, says,
};

fn send(gate: &Gate, token: &str) -> Call {
    gate.call("POST", &agent_path(A, "/messages")).token(token).json(&says("hello"))
}

fn writer(gate: &Gate) -> String {
    mint(gate, A, &["read_messages", "write_messages"])
}

#[track_caller]
fn assert_failed_and_not_to_be_repeated(answer: &Answer) {
    assert!(matches!(answer.status, 502 | 504), "{}: {}", answer.status, answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
}

#[test]
fn upstream_that_is_down_is_told_in_words() {
    // Bound and dropped: nobody listens there.
    let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let gate = Gate::start_before(&address.to_string(), &[]);
    let answer = send(&gate, &writer(&gate)).send();
    assert!(matches!(answer.status, 502 | 503), "{}", answer.status);
    assert!(answer.message().contains("upstream"), "{}", answer.message());
    assert!(!answer.text().contains(&address.port().to_string()), "{}", answer.text());
}

/// R-06: the SDKs would send the message again.
#[test]
fn message_is_sent_once_however_the_upstream_breaks() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let breaks = [
        ("reset", Reply::silence().reset()),
        ("closed", Reply::silence().close()),
        ("half a head", Reply::raw(head).close()),
        ("no HTTP", Reply::raw("SSH-2.0-OpenSSH_9.9\r\n").close()),
        ("a bad length", Reply::raw(format!("{head}content-length: x\r\n\r\n"))),
        (
            "two lengths",
            Reply::raw(format!("{head}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}")),
        ),
    ];
    for (fault, reply) in breaks {
        let recorder = Recorder::with(move |_| reply.clone());
        let gate = Gate::start(&recorder);
        let answer = send(&gate, &writer(&gate)).send();
        assert_failed_and_not_to_be_repeated(&answer);
        assert_eq!(recorder.requests().len(), 1, "{fault}");
    }
}

/// The same on a connection that has served before: nobody knows what was read.
#[test]
fn message_is_not_repeated_when_a_reused_connection_breaks() {
    let recorder = Recorder::start();
    // Each worker keeps connections of its own.
    let gate = Gate::start_with(&recorder, &[("server.workers", 1.into())]);
    let token = writer(&gate);
    assert_eq!(send(&gate, &token).send().status, 200);
    recorder.answer_next(Reply::silence().reset());
    let answer = send(&gate, &token).send();
    let requests = recorder.requests();
    assert_eq!((requests.len(), requests[1].connection), (2, 0));
    assert_failed_and_not_to_be_repeated(&answer);
    assert_eq!(send(&gate, &token).send().status, 200, "and the gate goes on");
}

#[test]
fn upstream_that_stalls_is_given_up_at_its_deadline() {
    let recorder = Recorder::with(|_| Reply::silence());
    let gate = Gate::start_with(&recorder, &[("upstream.first_byte_timeout", "1s".into())]);
    let answer = send(&gate, &writer(&gate)).send();
    assert_eq!(answer.status, 504);
    assert_failed_and_not_to_be_repeated(&answer);
    recorder.wait_for("the end of the connection", |seen| seen.connections[0].closed);
    assert_eq!(recorder.requests().len(), 1);
}

#[test]
fn stream_that_stalls_is_ended_at_its_deadline() {
    let recorder = Recorder::with(|_| Reply::stream().event("one"));
    let gate = Gate::start_with(&recorder, &[("upstream.idle_timeout", "1s".into())]);
    let call = gate.call("POST", &agent_path(A, "/messages/stream")).token(&writer(&gate));
    let mut connection = call.json(&says("hello")).open();
    let received = String::from_utf8(connection.until_close_or_end()).unwrap();
    let told = received.contains("event: error\n") || !received.ends_with("0\r\n\r\n");
    assert!(told, "{received:?}");
    recorder.wait_for("the end of the connection", |seen| seen.connections[0].closed);
}

/// R-07, and the 5 seconds after which the real server closes.
#[test]
fn idle_close_by_the_upstream_is_never_seen() {
    let recorder = Recorder::start();
    let gate = Gate::start_with(&recorder, &[("server.workers", 1.into())]);
    let token = writer(&gate);
    for round in 0..20 {
        let body = serde_json::json!({"round": round});
        recorder.answer_next(Reply::json(200, &body).close());
        let call = if round % 2 == 0 {
            send(&gate, &token)
        } else {
            gate.call("GET", &agent_path(A, "/messages")).token(&token)
        };
        let answer = call.send();
        assert_eq!((answer.status, answer.json()), (200, body));
        recorder.wait_for("its own close", |seen| seen.connections.iter().all(|c| c.ended));
    }
    assert_eq!(recorder.requests().len(), 20);
}

/// R-02: what nobody asked for goes to nobody.
#[test]
fn second_answer_to_one_request_reaches_no_other_caller() {
    let recorder = Recorder::start();
    let gate = Gate::start_with(&recorder, &[("server.workers", 1.into())]);
    let (first, second) = (writer(&gate), writer(&gate));
    let own = |text: &str| {
        let body = format!(r#"{{"for":"{text}"}}"#);
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for _ in 0..10 {
        recorder.answer_next(Reply::raw(own("first") + &own("nobody")));
        recorder.answer_next(Reply::raw(own("second")));
        assert_eq!(send(&gate, &first).send().json()["for"], "first");
        assert_eq!(send(&gate, &second).send().json()["for"], "second");
    }
}

/// R-01.
#[test]
fn connection_answered_before_the_body_was_read_is_not_reused() {
    let recorder = Recorder::start();
    recorder.answer_early();
    let gate = Gate::start_with(&recorder, &[("server.workers", 1.into())]);
    let mut connection = Connection::open(gate.public());
    connection.send(format!(
        "POST /v1/tools/ HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {SERVER_KEY}\r\n\
         Content-Length: 100000\r\n\r\nonly the beginning"
    ));
    assert_eq!(connection.answer("POST").status, 200);
    drop(connection);
    let next = gate.call("GET", "/v1/tools/").bearer(SERVER_KEY).send();
    assert_eq!(next.status, 200);
    let used: Vec<usize> = recorder.requests().iter().map(|r| r.connection).collect();
    assert_eq!(used, [0, 1]);
}

#[test]
fn answer_that_is_shorter_than_it_says_does_not_arrive_as_a_whole_one() {
    let short =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n[1]";
    let recorder = Recorder::with(move |_| Reply::raw(short).close());
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages", "read_agent"]);
    let mut connection = gate.call("GET", &agent_path(A, "/messages")).token(&token).open();
    let received = String::from_utf8(connection.until_close_or_end()).unwrap();
    let whole = received.starts_with("HTTP/1.1 200") && received.contains("content-length: 3");
    assert!(!whole && !received.ends_with("0\r\n\r\n"), "{received:?}");
    // Where the answer is read whole before it is relayed, the failure can be told.
    let state = gate.call("GET", &agent_path(A, "")).token(&token).send();
    assert_eq!(state.status, 502, "{}", state.text());
}

#[test]
fn interim_answers_of_the_upstream_do_not_confuse_the_final_one() {
    let recorder = Recorder::with(|_| {
        Reply::raw(
            "HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        )
    });
    let gate = Gate::start(&recorder);
    let token = writer(&gate);
    let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
    assert_eq!((answer.status, answer.text()), (200, "[]".to_owned()));
}
