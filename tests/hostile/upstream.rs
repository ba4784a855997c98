//! An upstream that answers too much, too soon, or for somebody else.

use std::net::TcpListener;

use crate::harness::{A, Connection, Gate, Reply, SERVER_KEY, Signal, agent_path, says};
use crate::stage::Stage;

/// One worker: what is wrong with a connection shows at the next request.
fn stage() -> Stage {
    Stage::set_with(&[("server.workers", 1.into())])
}

fn get(stage: &Stage) -> crate::harness::Answer {
    stage.gate.call("GET", &agent_path(A, "/messages")).token(&stage.reader).send()
}

const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

/// R-01, R-02: whatever is irregular about an exchange, its connection serves nobody else.
#[test]
fn connection_of_an_irregular_exchange_is_not_reused() {
    let irregular = [
        ("bytes behind the body", format!("{JSON}content-length: 2\r\n\r\n[]X")),
        (
            "a second answer",
            format!("{JSON}content-length: 2\r\n\r\n[]{JSON}content-length: 2\r\n\r\n{{}}"),
        ),
        ("a body without an end", format!("{JSON}connection: close\r\n\r\n[]")),
        ("a 204 with a body", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n".to_owned()),
        (
            "a 304 with a body",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n[]".to_owned(),
        ),
        ("a line too many", format!("{JSON}content-length: 2\r\n\r\n[]\r\n")),
        (
            "a trailer",
            format!("{JSON}transfer-encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\nx: 1\r\n\r\nX"),
        ),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n[]".to_owned()),
        ("connection: close", format!("{JSON}connection: close\r\ncontent-length: 2\r\n\r\n[]")),
    ];
    for (what, answer) in irregular {
        let stage = stage();
        let closes = what.contains("without an end");
        let reply = Reply::raw(&answer);
        stage.recorder.answer_next(if closes { reply.close() } else { reply });
        let mut first = Connection::open(stage.gate.public());
        first.send(stage.canary());
        // Relayed if it is whole, broken off if it is not.
        first.until_first_bytes();
        stage.recorder.wait_for(what, |seen| seen.connections[0].closed);
        let next = get(&stage);
        assert_eq!(
            (next.status, next.json()[0]["content"].as_str()),
            (200, Some("listed")),
            "{what}"
        );
        assert_eq!(stage.recorder.requests()[1].connection, 1, "{what}");
    }
}

/// R-01: of a HEAD whose answer has a body, nothing goes to the next caller.
#[test]
fn body_in_the_answer_to_a_head_reaches_nobody() {
    let stage = stage();
    stage.recorder.answer_next(Reply::raw(format!("{JSON}content-length: 2\r\n\r\n[]")));
    let head = stage.gate.call("HEAD", &agent_path(A, "/messages")).token(&stage.reader).send();
    assert_eq!(head.status, 200);
    stage.recorder.wait_for("the end", |seen| seen.connections[0].closed);
    assert_eq!(get(&stage).json()[0]["content"], "listed");
}

/// R-02: what comes on an idle connection is an answer to nobody.
#[test]
fn bytes_on_an_idle_connection_reach_nobody() {
    let stage = stage();
    let signal = Signal::new();
    let regular = Reply::raw(format!("{JSON}content-length: 2\r\n\r\n[]"));
    let poison = Reply::raw(format!("{JSON}content-length: 10\r\n\r\n[\"poison\"]"));
    stage.recorder.answer_next(regular.wait(&signal).and(poison));
    assert_eq!(get(&stage).text(), "[]");
    signal.raise();
    stage.recorder.wait_for("the end", |seen| seen.connections[0].closed);
    for _ in 0..5 {
        assert_eq!(get(&stage).json()[0]["content"], "listed");
    }
}

/// R-03: the answer that a caller did not stay for is not waiting for the next one.
#[test]
fn connection_of_a_caller_who_left_is_closed() {
    for chunked in [false, true] {
        let stage = stage();
        let signal = Signal::new();
        let framing = if chunked {
            "transfer-encoding: chunked\r\n\r\n5\r\n[\"for\r\n"
        } else {
            "content-length: 100\r\n\r\n[\"for"
        };
        let reply = Reply::raw(format!("{JSON}{framing}")).wait(&signal);
        stage.recorder.answer_next(reply.then(" the one who left"));
        let mut leaving = Connection::open(stage.gate.public());
        leaving.send(stage.canary());
        leaving.answer_head();
        drop(leaving);
        stage.recorder.wait_for("the end", |seen| seen.connections[0].closed);
        signal.raise();
        assert_eq!(get(&stage).json()[0]["content"], "listed");
    }
}

/// R-03: the same before there is an answer at all, and with the next request behind it.
#[test]
fn answer_to_a_caller_who_left_early_reaches_nobody() {
    let stage = stage();
    let signal = Signal::new();
    let late = Reply::silence().wait(&signal);
    stage.recorder.answer_next(late.then(format!("{JSON}content-length: 8\r\n\r\n[\"late\"]")));
    let mut leaving = Connection::open(stage.gate.public());
    leaving.send(stage.canary());
    stage.recorder.wait_for_requests(1);
    drop(leaving);
    stage.recorder.wait_for("the end", |seen| seen.connections[0].closed);
    signal.raise();
    assert_eq!(get(&stage).json()[0]["content"], "listed");
}

/// R-06, R-07: a message goes out once. A GET may go out again on a connection that had gone stale,
/// and only once.
#[test]
fn only_a_reading_request_is_repeated_and_only_once() {
    let stage = stage();
    assert_eq!(get(&stage).status, 200);
    stage.recorder.answer_next(Reply::silence().reset());
    stage.recorder.answer_next(Reply::silence().reset());
    let answer = get(&stage);
    assert_eq!((answer.status, answer.header("x-should-retry")), (502, Some("false")));
    assert_eq!(stage.recorder.requests().len(), 3);
    assert_eq!(get(&stage).status, 200);
    stage.recorder.answer_next(Reply::silence().reset());
    let call = stage.gate.call("POST", &agent_path(A, "/messages")).token(&stage.writer);
    let answer = call.json(&says("once")).send();
    assert_eq!((answer.status, answer.header("x-should-retry")), (502, Some("false")));
    let sent = stage.recorder.requests().iter().filter(|r| r.method() == "POST").count();
    assert_eq!(sent, 1);
}

/// R-08: a header that the harness does not list fails every answer; here those of proxies.
#[test]
fn headers_that_speak_to_browsers_or_proxies_are_dropped() {
    let stage = stage();
    let unwanted = [
        "Strict-Transport-Security: max-age=1",
        "Clear-Site-Data: \"*\"",
        "x-envoy-upstream: 1",
        "Access-Control-Allow-Origin: *",
        "Access-Control-Allow-Credentials: true",
        "Via: 1.1 x",
        "Refresh: 0; url=http://evil.test",
        "Link: <http://evil.test>; rel=preload",
        "X-Powered-By: x",
        "Content-Security-Policy: x",
        "X-Accel-Redirect: /etc/passwd",
        "X-Sendfile: /etc/passwd",
        "WWW-Authenticate: Basic",
        "Set-Cookie2: a",
        "Public-Key-Pins: x",
        "NEL: {}",
        "Report-To: {}",
        "SourceMap: /x",
        "Service-Worker-Allowed: /",
        "Content-Location: http://internal/",
        "Vary: *",
        "X-Request-Id: theirs",
        "Proxy-Connection: keep-alive",
        "Timing-Allow-Origin: *",
    ];
    for header in unwanted {
        let answer = format!("{JSON}{header}\r\ncontent-length: 2\r\n\r\n[]");
        stage.recorder.answer_next(Reply::raw(answer));
        let answer = get(&stage);
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.test"));
        let value = header.split_once(": ").unwrap().1;
        let kept = answer.head.headers.iter().any(|(_, kept)| kept == value && value.len() > 1);
        assert!(!kept, "{header}: {:?}", answer.head);
        assert_eq!(answer.header_all("x-request-id").len(), 1);
    }
}

/// R-10: compressed answers pass as they are; nothing here unpacks them.
#[test]
fn nothing_is_ever_decompressed() {
    let stage = stage();
    // A megabyte of zeros in a gzip of a thousand bytes would be a small bomb; the bytes do not matter.
    let packed = [b"\x1f\x8b\x08\0\0\0\0\0\0\x03".as_slice(), &[0xff; 990]].concat();
    let head = format!("{JSON}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
    stage.recorder.answer_next(Reply::raw(head).then(&packed));
    let answer = get(&stage);
    assert_eq!((answer.status, answer.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(answer.body, packed);
    let before = stage.recorder.bytes_total();
    for coding in ["gzip", "deflate", "br", "zstd", "identity, gzip", "x-gzip"] {
        let call = stage.gate.call("POST", &agent_path(A, "/messages")).token(&stage.writer);
        let call = call.header("Content-Encoding", coding).json(&says("hello"));
        assert_eq!(call.send().status, 400, "{coding}");
    }
    assert_eq!(stage.recorder.bytes_total(), before);
}

/// Answers that two parsers read differently are not relayed.
#[test]
fn ambiguous_answers_are_not_relayed() {
    for ambiguous in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\n[]",
        "HTTP/1.1 200 OK\r\nx: \0\r\ncontent-length: 2\r\n\r\n[]",
        "HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\n[]",
        "HTTP/1.1 999999 OK\r\ncontent-length: 2\r\n\r\n[]",
        "HTTP/2 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        "ICY 200 OK\r\ncontent-length: 2\r\n\r\n[]",
        "[]",
        "\r\n\r\n\r\n\r\n",
    ] {
        let stage = stage();
        stage.recorder.answer_next(Reply::raw(ambiguous).close());
        let answer = get(&stage);
        assert!(matches!(answer.status, 502 | 504), "{ambiguous:?}: {}", answer.status);
        assert_eq!(get(&stage).status, 200);
    }
}

/// R-01: an upstream that takes nothing of a body is given up, and its connection with it.
#[test]
fn upstream_that_takes_nothing_of_a_body_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let gate = Gate::start_before(&address, &[("upstream.idle_timeout", "1s".into())]);
    let head = format!(
        "POST /v1/folders/ HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {SERVER_KEY}\r\n\
         Content-Length: 60000000\r\n\r\n"
    );
    let mut connection = Connection::open(gate.public());
    connection.send(head);
    // Taken by the system and by nobody: it never reads.
    let (_held, _) = listener.accept().unwrap();
    connection.send(vec![b'x'; 60_000_000]);
    let answer = connection.answer("POST");
    assert_eq!((answer.status, answer.header("x-should-retry")), (504, Some("false")));
}

/// The length of an answer's head has a limit.
#[test]
fn endless_answer_heads_are_given_up() {
    let stage = stage();
    for head in [
        format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(100_000)),
        format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(1 << 20)),
        format!("HTTP/1.1 200 {}", "O".repeat(1 << 20)),
    ] {
        stage.recorder.answer_next(Reply::raw(head));
        assert_eq!(get(&stage).status, 502);
    }
    stage.still_serves();
}

/// A body that the upstream refuses early is not sent on for ever, and nothing of it is mixed into
/// the next request.
#[test]
fn body_after_an_early_answer_is_never_part_of_the_next_request() {
    let stage = stage();
    stage.recorder.answer_early();
    for length in [10, 70_000, 1 << 20] {
        let line = "POST /v1/folders/ HTTP/1.1";
        let head = stage.head_as(SERVER_KEY, line, &format!("Content-Length: {length}\r\n\r\n"));
        let mut connection = Connection::open(stage.gate.public());
        connection.send(head);
        assert_eq!(connection.answer("POST").status, 200);
        connection.send("GET /v1/admin/ HTTP/1.1\r\n\r\n".repeat(length / 30));
        connection.finish();
        connection.until_close();
    }
    assert_eq!(get(&stage).status, 200);
    // What such a body looks like on its own connection is no matter; the next request has another.
    stage.recorder.wait_for("a fresh connection", |seen| {
        let posts = seen.connections.iter().filter(|c| c.bytes.starts_with(b"POST ")).count();
        let last = seen.connections.last().unwrap();
        posts == 3
            && last.bytes.starts_with(b"GET /v1/agents/")
            && last.bytes.ends_with(b"\r\n\r\n")
    });
}
