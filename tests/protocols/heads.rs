//! HTTP/2 heads that no request may have.

use super::harness::http2::{
    CONTINUATION, DATA, Frames, GOAWAY, HEADERS, Http2, RST_STREAM, block,
};
use super::harness::{A, HOST, ORIGIN, Recorded, agent_path, field};
use super::stage::Stage;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

impl Stage {
    /// Sends a request of these fields; the kinds of frames that came on its stream, up to its end.
    fn kinds_in_answer_to(&self, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut frames = Frames::open(self.gate.public(), &self.pki);
        frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &block(fields));
        let mut kinds = Vec::new();
        while let Some(frame) = frames.receive() {
            if frame.stream == 1 || frame.kind == GOAWAY {
                kinds.push(frame.kind);
                if frame.kind != HEADERS || frame.flags & END_STREAM != 0 {
                    break;
                }
            }
        }
        kinds
    }
}

/// H2-08, H2-10: fields that concern a connection of HTTP/1.1, names and values that are none, pseudo
/// fields in doubt, tunnels.
#[test]
fn fields_that_no_request_may_have_end_the_stream_or_are_refused() {
    let stage = Stage::set();
    let (target, bearer) = (agent_path(A, "/messages"), format!("Bearer {}", stage.token));
    let usual = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", &*target),
        ("authorization", &*bearer),
        ("origin", ORIGIN),
    ];
    assert_eq!(stage.kinds_in_answer_to(&usual), [HEADERS, DATA], "the usual request is answered");
    let seen = stage.recorder.requests().len();
    for wrong in [
        ("connection", "close"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("X-Upper", "a"),
        ("a b", "c"),
        ("a:b", "c"),
        ("", "c"),
        ("x", "a\r\nb"),
        ("x", "a\0b"),
        (":path", "/v1/agents/"),
        (":authority", "b.test"),
        (":unknown", "a"),
        (":status", "200"),
        ("host", "b.test"),
        ("content-length", "5"),
    ] {
        let fields: Vec<_> = usual.iter().copied().chain([wrong]).collect();
        stage.kinds_in_answer_to(&fields);
        assert_eq!(stage.recorder.requests().len(), seen, "{wrong:?}");
    }
    for (at, wrong) in [
        (0, (":method", "CONNECT")),
        (0, (":method", "G ET")),
        (0, (":method", "get")),
        (0, (":method", "TRACE")),
        (1, (":scheme", "ftp")),
        (1, (":scheme", "http")),
        (3, (":path", "*")),
        (3, (":path", "")),
        (3, (":path", "v1/agents")),
        (3, (":path", "//v1/agents/")),
        (3, (":path", "/v1/agents/\u{e9}")),
        (3, (":path", "/v1/a b")),
    ] {
        let mut fields = usual.to_vec();
        fields[at] = wrong;
        stage.kinds_in_answer_to(&fields);
        assert_eq!(stage.recorder.requests().len(), seen, "{wrong:?}");
        let without: Vec<_> =
            usual.iter().copied().enumerate().filter(|(n, _)| *n != at).map(|(_, f)| f).collect();
        stage.kinds_in_answer_to(&without);
        assert_eq!(stage.recorder.requests().len(), seen, "without {:?}", usual[at]);
    }
    let mut tunnel = usual.to_vec();
    tunnel[0] = (":method", "CONNECT");
    tunnel.insert(1, (":protocol", "websocket"));
    stage.kinds_in_answer_to(&tunnel);
    assert_eq!(stage.recorder.requests().len(), seen, "a tunnel");
}

/// P-10: HTTP/1.1 refuses a fragment. The HTTP/2 library drops it before anybody sees it, so here it must
/// be as if it had never been there: in what is judged, in what is sent on, and in the log.
#[test]
fn fragment_is_nowhere_in_what_is_judged_sent_and_logged() {
    let stage = Stage::set();
    let (own, bearer) = (agent_path(A, "/messages"), format!("Bearer {}", stage.token));
    let other = agent_path(super::harness::B, "/messages");
    for (path, sent) in [
        (format!("{own}#/../../{}", super::harness::B), Some(&own)),
        (format!("{own}#?limit=x"), Some(&own)),
        (format!("{own}%23"), None),
        (format!("{other}#{own}"), None),
        (format!("/#{own}"), None),
        (format!("#{own}"), None),
    ] {
        let before = stage.recorder.requests().len();
        stage.kinds_in_answer_to(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", &path),
            ("authorization", &bearer),
            ("origin", ORIGIN),
        ]);
        let requests = stage.recorder.requests();
        let targets: Vec<&str> = requests[before..].iter().map(Recorded::target).collect();
        assert_eq!(targets, sent.map(String::as_str).as_slice(), "{path}");
    }
    for line in stage.gate.log_lines() {
        let path = field(&line, "url.path").and_then(|path| path.as_str().map(str::to_owned));
        assert!(!path.is_some_and(|path| path.contains('#')), "{line}");
    }
}

/// H2-13: a body that is longer or shorter than its length, and trailers, go no further.
#[test]
fn body_that_is_not_as_long_as_it_said_goes_no_further() {
    let stage = Stage::set();
    let (target, bearer) = (agent_path(A, "/messages"), format!("Bearer {}", stage.token));
    let body = br#"{"messages":[{"role":"user","content":"x"}]}"#;
    for (length, trailers, passes) in [
        (Some(body.len()), false, true),
        (None, false, true),
        (Some(body.len() - 1), false, false),
        (Some(body.len() + 1), false, false),
        (Some(body.len()), true, false),
        (None, true, false),
    ] {
        let before = stage.recorder.requests().len();
        let length_text = length.unwrap_or_default().to_string();
        let mut fields = vec![
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", &*target),
            ("authorization", &*bearer),
            ("origin", ORIGIN),
            ("content-type", "application/json"),
        ];
        if length.is_some() {
            fields.push(("content-length", &*length_text));
        }
        let mut frames = Frames::open(stage.gate.public(), &stage.pki);
        frames.send(HEADERS, END_HEADERS, 1, &block(&fields));
        frames.send(DATA, u8::from(!trailers), 1, body);
        if trailers {
            let block = block(&[("authorization", "Bearer x")]);
            frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &block);
        }
        while let Some(frame) = frames.receive() {
            let ends = frame.kind == RST_STREAM || frame.flags & END_STREAM != 0;
            if frame.kind == GOAWAY || frame.stream == 1 && ends {
                break;
            }
        }
        let passed = stage.recorder.requests().len() - before;
        assert_eq!(passed, usize::from(passes), "length {length:?}, trailers {trailers}");
    }
}

/// H2-04: more fields than a head may have, cookies in crumbs among them, and heads that are too
/// large, are refused; a reference to the table costs its full size.
#[test]
fn head_with_too_much_in_it_is_refused() {
    let stage = Stage::set();
    let call = || stage.gate.call("GET", &agent_path(A, "/messages")).token(&stage.token);
    let mut http2 = Http2::open(stage.gate.public(), &stage.pki);
    let many = (0..100).fold(call(), |call, n| call.header(&format!("x-{n}"), "a"));
    assert_eq!(http2.send(&many).status, 431);
    let crumbs = (0..100).fold(call(), |call, n| call.header("cookie", &format!("a{n}=b")));
    assert_eq!(http2.send(&crumbs).status, 431);
    let long = "/v1/agents/".to_owned() + &"a".repeat(9000);
    assert_eq!(http2.send(&stage.gate.call("GET", &long).token(&stage.token)).status, 414);
    assert_eq!(http2.send(&call()).status, 200);
    stage.recorder.wait_for_requests(1);

    // One long value is put into the table, then named by one byte, thousands of times.
    let mut bomb = vec![0x40, 1, b'a', 127, 0x80 + 1, 0x1e];
    bomb.extend_from_slice(&[b'x'; 3968]);
    bomb.extend_from_slice(&[0xbe; 4000]);
    let mut frames = Frames::open(stage.gate.public(), &stage.pki);
    frames.send(HEADERS, END_STREAM | END_HEADERS, 1, &bomb);
    let answered = std::iter::from_fn(|| frames.receive());
    let ends = answered.take_while(|frame| frame.stream != 1 && frame.kind != GOAWAY).count();
    assert!(ends < 20);
    assert_eq!(stage.recorder.requests().len(), 1);
}

/// H2-03: heads that are continued for ever, in empty frames and in full ones.
#[test]
fn head_that_is_continued_for_ever_ends_the_connection() {
    let stage = Stage::set();
    for payload in [Vec::new(), vec![b'x'; 16 * 1024]] {
        let mut frames = Frames::open(stage.gate.public(), &stage.pki);
        frames.send(HEADERS, 0, 1, &block(&[(":method", "GET")]));
        let mut sent = 0;
        while sent < 20_000 && frames.send(CONTINUATION, 0, 1, &payload) {
            sent += 1;
        }
        frames.until_end();
        assert!(sent < 20_000, "{sent} frames of {} bytes were taken", payload.len());
    }
    assert_eq!(
        stage.gate.call("GET", &agent_path(A, "/messages")).token(&stage.token).send().status,
        200
    );
}
