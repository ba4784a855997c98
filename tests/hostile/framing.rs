//! Where a message ends: one reading, or none.

use std::time::Duration;

use crate::harness::{A, Connection, SERVER_KEY, agent_path, says};
use crate::stage::Stage;

/// Every framing must be refused, on a method that may have a body.
#[track_caller]
fn check_refused(framings: &[impl AsRef<str>]) {
    let stage = Stage::set();
    for framing in framings {
        stage.refuses_and_closes(stage.post(framing.as_ref()), &[400]);
        let line = "POST /v1/tools/ HTTP/1.1";
        stage.refuses_and_closes(stage.head_as(SERVER_KEY, line, framing.as_ref()), &[400]);
    }
    stage.still_serves();
}

/// S-01.
#[test]
fn length_before_chunked_is_refused() {
    check_refused(&[
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "content-length: 4\r\nX-A: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ]);
}

/// S-02.
#[test]
fn chunked_before_length_is_refused() {
    check_refused(&[
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\nGPOST / HTTP/1.1\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        "TRANSFER-ENCODING: chunked\r\nCONTENT-LENGTH: 5\r\n\r\n0\r\n\r\n",
    ]);
}

/// S-03.
#[test]
fn transfer_encoding_is_exactly_chunked_or_refused() {
    let spellings = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding: \x0cchunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: Chunked",
        "Transfer-Encoding: CHUNKED",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunk",
        "Transfer-Encoding: cow",
        "Transfer-Encoding:",
        "Transfer-Encoding: \t",
        "Transfer-Encoding: chunked ",
        "Transfer-Encoding: chunked\t",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\r\n\tchunked",
        "Transfer-Encoding\r\n : chunked",
        "Transfer-Encoding: chun\r\n ked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\n",
        "Transfer-Encoding: \u{e9}chunked",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-\u{45}ncoding\0: chunked",
        "\"Transfer-Encoding\": chunked",
        "Transfer Encoding: chunked",
    ];
    check_refused(&spellings.map(|line| format!("{line}\r\n\r\n0\r\n\r\n")));
}

/// S-03: what is not that header frames nothing.
#[test]
fn header_that_only_resembles_the_framing_ones_frames_nothing() {
    let stage = Stage::set();
    for resembling in
        ["Transfer_Encoding: chunked", "Content_Length: 5", "X-Transfer-Encoding: chunked"]
    {
        let mut connection = Connection::open(stage.gate.public());
        let line = format!("GET {} HTTP/1.1", agent_path(A, "/messages"));
        let head = stage.head(&line, &format!("{resembling}\r\n\r\n"));
        connection.send([head, stage.canary()].concat());
        let statuses = [connection.answer("GET").status, connection.answer("GET").status];
        assert_eq!(statuses, [200, 200], "{resembling}");
    }
    for request in stage.recorder.requests() {
        assert!(request.header_names().iter().all(|name| !name.contains("transfer")));
    }
    assert_eq!(stage.recorder.requests().len(), 6);
}

/// S-04.
#[test]
fn chunked_in_http_1_0_is_refused() {
    let stage = Stage::set();
    for version in ["HTTP/1.0", "HTTP/0.9", "HTTP/1.00", "HTTP/1"] {
        let line = format!("POST {} {version}", agent_path(A, "/messages"));
        let framing = "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        stage.refuses_and_closes(stage.head_as(&stage.writer, &line, framing), &[400, 505]);
        let kept = format!("Connection: keep-alive\r\n{framing}");
        stage.refuses_and_closes(stage.head_as(&stage.writer, &line, &kept), &[400, 505]);
    }
    stage.still_serves();
}

/// S-05.
#[test]
fn content_length_is_one_plain_number_or_refused() {
    let spellings = [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3, 4",
        "Content-Length: 3, 3",
        "Content-Length: 3,",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: -0",
        "Content-Length: 0x3",
        "Content-Length: 3 ",
        "Content-Length: 3\t",
        "Content-Length: 3 3",
        "Content-Length: 003",
        "Content-Length: 00",
        "Content-Length:",
        "Content-Length: ",
        "Content-Length: 12345678901234567890",
        "Content-Length: 18446744073709551616",
        "Content-Length: 3.0",
        "Content-Length: 3e0",
        "Content-Length: 1_0",
        "Content-Length: \u{663}",
        "Content-Length: three",
        "Content-Length: \"3\"",
        "Content-Length: 3;q=1",
        "Content-Length : 3",
        "Content-Length\t: 3",
        "Content-Length: 3\r\n 3",
        "Content-Length:\r\n 3",
        "Content-Length: 3\0",
        "Content-Length: \x0b3",
        "Content-Length: 3\r",
    ];
    check_refused(&spellings.map(|line| format!("{line}\r\n\r\nabc")));
}

/// S-06.
#[test]
fn chunks_have_plain_sizes_and_nothing_else() {
    let stage = Stage::set();
    let head = stage.post("Transfer-Encoding: chunked\r\n\r\n");
    for body in [
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "3\t\r\nabc\r\n0\r\n\r\n",
        "3_\r\nabc\r\n0\r\n\r\n",
        "3;a=b\r\nabc\r\n0\r\n\r\n",
        "3;\r\nabc\r\n0\r\n\r\n",
        "3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n",
        "3,4\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "\u{663}\r\nabc\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nabc",
        "FFFFFFFFFFFFFFFF\r\nabc",
        "100000003\r\nabc\r\n0\r\n\r\n",
        "000000003\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcX0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcdef\r\n0\r\n\r\n",
        "3\r\nabc\r0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\rabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\n\r\n",
        "3\r\nabc\r\n0\r\n\n",
        "3\r\nabc\r\n0\r\n\r\r\n",
        "3\r\nabc\r\n0;x\r\n\r\n",
        "3\r\nabc\r\n-0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n",
        "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
        "3\r\nabc\r\n0\r\n X\r\n\r\n",
        "3\r\nabc\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
        "3\0\r\nabc\r\n0\r\n\r\n",
    ] {
        stage.breaks_off(format!("{head}{body}"));
    }
    stage.still_serves();
}

/// S-06 on the way through: the upstream never sees the end of a body whose framing broke.
#[test]
fn body_that_breaks_on_its_way_through_is_never_completed_upstream() {
    let stage = Stage::set();
    let line = "POST /v1/folders/ HTTP/1.1";
    for (number, broken) in
        ["0x3\r\nabc", "3 \r\nabc", "3\nabc", "0\r\nX: 1\r\n\r\n"].iter().enumerate()
    {
        let head = stage.head_as(SERVER_KEY, line, "Transfer-Encoding: chunked\r\n\r\n");
        let mut connection = Connection::open(stage.gate.public());
        connection.send(format!("{head}5\r\nfirst\r\n"));
        stage.recorder.wait_for("the beginning", |seen| {
            seen.connections.get(number).is_some_and(|c| c.bytes.ends_with(b"first\r\n"))
        });
        connection.send(format!("{broken}{}", stage.canary()));
        let rest = String::from_utf8(connection.until_close()).unwrap();
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 4") || rest.starts_with("HTTP/1.1 5"),
            "{rest}"
        );
        stage.recorder.wait_for("the end", |seen| seen.connections[number].closed);
    }
    assert!(stage.recorder.requests().is_empty());
    stage.still_serves();
}

/// S-08.
#[test]
fn bare_line_feeds_are_refused_everywhere() {
    let stage = Stage::set();
    let good = stage.get(&agent_path(A, "/messages"));
    let ends: Vec<usize> = good.match_indices("\r\n").map(|(at, _)| at).collect();
    for end in ends {
        let mut bytes = good.clone().into_bytes();
        bytes.remove(end);
        stage.refuses_and_closes(&bytes, &[400]);
        let mut bytes = good.clone().into_bytes();
        bytes.insert(end, b'\r');
        stage.refuses_and_closes(&bytes, &[400, 505]);
        let mut bytes = good.clone().into_bytes();
        bytes.insert(end, b'\n');
        stage.refuses_and_closes(&bytes, &[400]);
    }
    stage.refuses_and_closes(good.replace("\r\n", "\n"), &[400]);
    stage.refuses_and_closes(format!("\n{good}"), &[400]);
    stage.refuses_and_closes(format!("\r\n{good}"), &[400]);
    stage.refuses_and_closes(format!("\r{good}"), &[400, 501]);
    stage.refuses_and_closes(format!(" {good}"), &[400, 501]);
    stage.still_serves();
}

/// S-08: a bare CR between a request and the next is no line end either.
#[test]
fn empty_lines_between_two_requests_are_refused() {
    let stage = Stage::set();
    for between in ["\r\n", "\n", "\r", " ", "\r\n\r\n"] {
        let mut connection = Connection::open(stage.gate.public());
        let refused = stage.get(&agent_path(A, "/context"));
        connection.send([&refused, between, &stage.canary()].concat());
        assert_eq!(connection.answer("GET").status, 403);
        let second = connection.answer("GET").status;
        assert!(matches!(second, 400 | 501), "{between:?}: {second}");
        connection.assert_closed();
    }
    stage.recorder.assert_untouched();
}

/// S-10: whoever hides a request in a body meant for nobody is not heard.
#[test]
fn bodies_of_methods_without_one_are_refused() {
    let stage = Stage::set();
    for method in ["GET", "HEAD", "OPTIONS"] {
        let line = format!("{method} {} HTTP/1.1", agent_path(A, "/messages"));
        let hidden = stage.canary();
        let sized = format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len());
        let chunked = format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
            hidden.len()
        );
        let expecting = format!("Expect: 100-continue\r\n{sized}");
        for framing in [&sized, &chunked, &expecting] {
            let mut connection = Connection::open(stage.gate.public());
            connection.send([stage.head(&line, framing), stage.canary()].concat());
            let answer = connection.answer(method);
            assert_eq!(answer.status, 400, "{method} {framing}");
            connection.assert_closed();
        }
    }
    stage.recorder.assert_untouched();
    stage.still_serves();
}

/// S-10: a body that an operation does not admit is refused and never read as a request.
#[test]
fn body_of_an_operation_without_one_hides_nothing() {
    let stage = Stage::set();
    for (method, rest) in [("DELETE", ""), ("DELETE", "/messages"), ("PUT", "/messages")] {
        let line = format!("{method} {} HTTP/1.1", agent_path(A, rest));
        let hidden = stage.canary();
        let framing = format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len());
        let mut connection = Connection::open(stage.gate.public());
        connection.send([stage.head(&line, &framing), stage.get("/v1/x#y")].concat());
        assert_eq!(connection.answer(method).status, 403);
        // What comes next is the request behind the body, or the end of the connection.
        let rest = String::from_utf8(connection.until_close()).unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{rest}");
    }
    stage.recorder.assert_untouched();
    let line = "DELETE /v1/tools/tool-1 HTTP/1.1";
    let hidden = "GET /v1/admin/users HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut connection = Connection::open(stage.gate.public());
    let framing = format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len());
    connection.send(stage.head_as(SERVER_KEY, line, &framing));
    assert_eq!(connection.answer("DELETE").status, 200);
    let request = stage.recorder.only_request();
    assert_eq!((request.method(), &*request.body), ("DELETE", hidden.as_bytes()));
}

/// S-11.
#[test]
fn preflight_with_a_body_smuggles_nothing() {
    let stage = Stage::set();
    let hidden = "GET /v1/admin/users HTTP/1.1\r\nHost: x\r\n\r\n";
    let line = format!("OPTIONS {} HTTP/1.1", agent_path(A, "/messages"));
    let asks = "Access-Control-Request-Method: POST\r\n";
    let framings = [
        format!(
            "{asks}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
            hidden.len()
        ),
        format!("{asks}Content-Length: {}\r\n\r\n{hidden}", hidden.len()),
    ];
    for framing in framings {
        stage.refuses_and_closes(stage.head(&line, &framing), &[400]);
        let bare = format!("{line}\r\nHost: gw.test\r\nOrigin: https://app.test\r\n{framing}");
        stage.refuses_and_closes(bare, &[400]);
    }
    stage.still_serves();
}

/// S-12.
#[test]
fn expectations_other_than_the_one_are_refused() {
    let stage = Stage::set();
    let body = says("hello").to_string();
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    for expect in [
        "Expect: y 100-continue\r\n",
        "Expect: 100-continue, x\r\n",
        "Expect: 100-continue\r\nExpect: 100-continue\r\n",
        "Expect: x\r\n",
        "Expect:\r\n",
        "Expect: 100-continue;q=1\r\n",
        "Expect: \"100-continue\"\r\n",
        "Expect: 100 continue\r\n",
        "Expect: 100-continue \r\n",
        "Expect: \x0b100-continue\r\n",
        "Expect: 100-\r\n continue\r\n",
    ] {
        stage.refuses_and_closes(stage.post(&format!("{expect}{length}")), &[400, 417]);
    }
    let line = format!("GET {} HTTP/1.1", agent_path(A, "/messages"));
    stage.refuses_and_closes(stage.head(&line, "Expect: 100-continue\r\n\r\n"), &[417]);
    stage.refuses_and_closes(
        stage.post("Expect: 100-continue\r\nContent-Length: 0\r\n\r\n"),
        &[417],
    );
    stage.still_serves();
}

/// S-12: the expectation ends here, and the upstream hears nothing of it.
#[test]
fn expected_body_is_asked_for_here_and_arrives_whole() {
    let stage = Stage::set();
    let body = says("hello").to_string();
    let head =
        stage.post(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len()));
    let mut connection = Connection::open(stage.gate.public());
    connection.send(head);
    assert_eq!(connection.answer_head().status, 100);
    stage.recorder.assert_untouched();
    connection.send(&body);
    assert_eq!(connection.answer("POST").status, 200);
    let request = stage.recorder.only_request();
    assert!(request.header_all("expect").is_empty());
    assert_eq!(request.body, body.as_bytes());
}

/// S-12: a refusal comes before the body is asked for, and ends the connection.
#[test]
fn refusal_of_an_expecting_request_comes_before_100() {
    let stage = Stage::set();
    let head = |credential: &str| {
        let line = format!("POST {} HTTP/1.1", agent_path(A, "/messages"));
        stage.head_as(credential, &line, "Expect: 100-continue\r\nContent-Length: 50\r\n\r\n")
    };
    for (credential, status) in [(&*stage.reader, 403), ("unknown", 401)] {
        let mut connection = Connection::open(stage.gate.public());
        connection.send(head(credential));
        let answer = connection.answer("POST");
        assert_eq!(answer.status, status, "{}", answer.text());
        connection.send(stage.canary());
        connection.assert_closed();
    }
    stage.recorder.assert_untouched();
}

/// S-12: who announces a body and sends none is waited for no longer than a body may take.
#[test]
fn expected_body_that_never_comes_is_given_up() {
    let stage = Stage::set_with(&[("limits.body_timeout", "300ms".into())]);
    let head = stage.post("Expect: 100-continue\r\nContent-Length: 50\r\n\r\n");
    let mut connection = Connection::open(stage.gate.public());
    connection.send(head);
    assert_eq!(connection.answer_head().status, 100);
    assert_eq!(connection.answer("POST").status, 408);
    connection.assert_closed();
    stage.recorder.assert_untouched();
}

/// S-12: the upstream's own interim answers and early refusals stay between it and the gate.
#[test]
fn expectation_that_the_upstream_would_refuse_never_reaches_it() {
    use crate::harness::Reply;
    let stage = Stage::set();
    stage.recorder.answer_next(Reply::raw("HTTP/1.1 417 No\r\ncontent-length: 0\r\n\r\n"));
    let body = says("hello").to_string();
    let head =
        stage.post(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len()));
    let mut connection = Connection::open(stage.gate.public());
    connection.send([head.as_str(), &body].concat());
    let mut answer = connection.answer_head();
    if answer.status == 100 {
        answer = connection.answer("POST");
    }
    assert_eq!(answer.status, 417);
    assert!(!stage.recorder.only_request().contains("xpect"));
}

/// S-13: the rest of a refused body is dropped or the connection is; in small pieces as well.
#[test]
fn unread_body_of_a_refused_request_is_never_parsed() {
    let stage = Stage::set();
    let line = format!("POST {} HTTP/1.1", agent_path(A, "/messages"));
    let hidden = stage.canary();
    for length in [hidden.len() * 21, 70_000, 10 << 20] {
        let head = stage.head(&line, &format!("Content-Length: {length}\r\n\r\n"));
        let mut connection = Connection::open(stage.gate.public());
        connection.send([head.as_bytes(), hidden.as_bytes()].concat());
        assert_eq!(connection.answer("POST").status, 403);
        connection.send(hidden.repeat(20));
        connection.finish();
        connection.assert_closed();
    }
    let chunked = stage.head(&line, "Transfer-Encoding: chunked\r\n\r\n");
    let mut connection = Connection::open(stage.gate.public());
    let behind = stage.get("/v1/x#y");
    connection.send(format!("{chunked}{:x}\r\n{hidden}\r\n0\r\n\r\n{behind}", hidden.len()));
    assert_eq!(connection.answer("POST").status, 403);
    let rest = String::from_utf8(connection.until_close()).unwrap();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{rest}");
    stage.recorder.assert_untouched();
}

/// S-16.
#[test]
fn request_lines_of_another_form_or_version_are_refused() {
    let stage = Stage::set();
    let target = agent_path(A, "/messages");
    for line in [
        format!("GET {target}"),
        format!("GET {target} "),
        format!("GET {target} HTTP/0.9"),
        format!("GET {target} HTTP/1.2"),
        format!("GET {target} HTTP/2.0"),
        format!("GET {target} HTTP/2"),
        format!("GET {target} HTTP/3"),
        format!("GET {target} HTTP/11"),
        format!("GET {target} HTTP/1.1x"),
        format!("GET {target} HTTP/1.10"),
        format!("GET {target} HTTP/01.1"),
        format!("GET {target} http/1.1"),
        format!("GET {target} Http/1.1"),
        format!("GET {target} HTTPS/1.1"),
        format!("GET {target} ICAP/1.0"),
        format!("GET {target} RTSP/1.0"),
        format!("GET  {target} HTTP/1.1"),
        format!("GET {target}  HTTP/1.1"),
        format!("GET {target} HTTP/1.1 "),
        format!(" GET {target} HTTP/1.1"),
        format!("GET\t{target} HTTP/1.1"),
        format!("GET {target}\tHTTP/1.1"),
        format!("GET {target} x HTTP/1.1"),
        format!("GET {target}\u{a0}HTTP/1.1"),
        format!("GET {target}\x0bHTTP/1.1"),
        format!("GET{target} HTTP/1.1"),
        format!("{target} GET HTTP/1.1"),
        "GET".to_owned(),
        "HTTP/1.1 200 OK".to_owned(),
    ] {
        stage.refuses_and_closes(stage.head(&line, "\r\n"), &[400, 501, 505]);
    }
    for garbage in ["\x16\x03\x01\x02\0\x01\0\x01\x7c", "SSH-2.0-x\r\n", "\0\0\0\n", "EHLO x\r\n"] {
        let mut connection = Connection::open(stage.gate.public());
        connection.send(format!("{garbage}\r\n\r\n"));
        assert!(matches!(connection.answer("GET").status, 400 | 501 | 505), "{garbage:?}");
        connection.assert_closed();
    }
    stage.still_serves();
}

/// Byte by byte, in halves, or many at once: the same verdicts.
#[test]
fn verdicts_do_not_depend_on_how_the_bytes_are_cut() {
    let stage = Stage::set();
    let body = says("hello").to_string();
    let good = stage.post(&format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    ));
    let bad = stage.post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
    for size in [1, 2, 3, 7, 100] {
        let mut connection = Connection::open(stage.gate.public());
        for piece in good.as_bytes().chunks(size) {
            connection.send(piece);
        }
        assert_eq!(connection.answer("POST").status, 200, "in pieces of {size}");
        for piece in bad.as_bytes().chunks(size) {
            connection.send(piece);
        }
        assert_eq!(connection.answer("POST").status, 400, "in pieces of {size}");
        connection.assert_closed();
    }
    assert_eq!(stage.recorder.requests().len(), 5);
}

/// A refusal within a pipeline ends it: answers before it stand, nothing after it is read.
#[test]
fn pipeline_ends_at_the_first_ambiguous_request() {
    let stage = Stage::set();
    let good = stage.canary();
    let bad = stage.get("/v1/x#y");
    let mut connection = Connection::open(stage.gate.public());
    connection.send([good.as_str(), &good, &bad, &good, &good].concat());
    let statuses: Vec<u16> = (0..3).map(|_| connection.answer("GET").status).collect();
    assert_eq!(statuses, [200, 200, 400]);
    connection.assert_closed();
    assert_eq!(stage.recorder.requests().len(), 2);
}

/// A client that ends its side after half a request is answered with nothing that goes on.
#[test]
fn half_a_request_reaches_nobody() {
    let stage = Stage::set();
    let whole = stage.post("Content-Length: 20\r\n\r\n{\"messages\":");
    for cut in [1, 20, whole.len() / 2, whole.len() - 1, whole.len()] {
        let mut connection = Connection::open(stage.gate.public());
        connection.send(&whole[..cut]);
        connection.finish();
        let rest = String::from_utf8(connection.until_close()).unwrap();
        assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest}");
    }
    stage.recorder.assert_untouched();
    let mut idle = Connection::open(stage.gate.public());
    assert!(idle.is_silent_for(Duration::from_millis(20)));
    stage.still_serves();
}
