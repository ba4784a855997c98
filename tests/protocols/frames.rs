//! Floods of HTTP/2 frames: each ends its own connection, and nobody else notices.

use std::time::Instant;

use super::harness::http2::{
    DATA, Frames, HEADERS, Http2, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
};
use super::harness::{A, DEADLINE, Gate, HOST, ORIGIN, Pki, Recorder, agent_path};
use super::stage::Stage;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PROTOCOL_ERROR: u32 = 1;
const STREAM_CLOSED: u32 = 5;
const ENHANCE_YOUR_CALM: u32 = 11;
/// As many as each attack consists of.
const FLOOD: u32 = 20_000;

impl Stage {
    /// A head that would pass.
    fn head(&self, method: &str) -> Vec<u8> {
        block(&[
            (":method", method),
            (":scheme", "https"),
            (":authority", HOST),
            (":path", &agent_path(A, "/messages")),
            ("authorization", &format!("Bearer {}", self.token)),
            ("origin", ORIGIN),
        ])
    }

    /// Sends a flood, piece by piece, until the connection takes no more of it and says why.
    #[track_caller]
    fn flood(&self, what: &str, before: &[u8], piece: impl Fn(u32) -> Vec<u8>) {
        let code = self.flooded(what, before, piece);
        assert_eq!(code, Some(ENHANCE_YOUR_CALM), "{what}");
    }

    /// The same with frames that are errors, and may be told as such.
    #[track_caller]
    fn flood_of_errors(&self, what: &str, piece: impl Fn(u32) -> Vec<u8>) {
        let code = self.flooded(what, &[], piece);
        let told = [PROTOCOL_ERROR, STREAM_CLOSED, ENHANCE_YOUR_CALM];
        assert!(code.is_some_and(|code| told.contains(&code)), "{what}: {code:?}");
    }

    #[track_caller]
    fn flooded(&self, what: &str, before: &[u8], piece: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
        let mut other = Http2::open(self.gate.public(), &self.pki);
        let mut frames = Frames::open(self.gate.public(), &self.pki);
        frames.send_raw(before);
        let (start, mut sent) = (Instant::now(), 0);
        while sent < FLOOD {
            let many: Vec<u8> = (sent..sent + 50).flat_map(&piece).collect();
            if !frames.send_raw(&many) {
                break;
            }
            sent += 50;
            assert!(start.elapsed() < DEADLINE, "{what}: the gate takes its time with {sent}");
        }
        let code = frames.until_end();
        // The system's own buffers take some that the gate never reads.
        assert!(sent < FLOOD, "{what}: all of {sent} were taken");
        let call = self.gate.call("GET", &agent_path(A, "/messages")).token(&self.token);
        assert_eq!(other.send(&call).status, 200, "{what}: another connection");
        code
    }
}

/// H2-06: frames that only cost work.
#[test]
fn flood_of_control_frames_ends_the_connection() {
    let stage = Stage::set();
    stage.flood("PING", &[], |_| frame(PING, 0, 0, &[0; 8]));
    stage.flood("SETTINGS", &[], |_| frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0]));
    stage.flood("WINDOW_UPDATE", &[], |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    stage.flood("PRIORITY", &[], |n| frame(2, 0, 2 * n + 1, &[0, 0, 0, 0, 16]));
    stage.flood("unknown", &[], |_| frame(0x42, 0, 0, &[]));
    let floods = stage.gate.admin_get("/metrics").text();
    assert!(!floods.contains("ckgate_http2_floods_total 0"), "{floods}");
}

/// H2-01: requests that are taken back as soon as they are sent.
#[test]
fn flood_of_requests_that_are_taken_back_ends_the_connection() {
    let stage = Stage::set();
    let head = stage.head("GET");
    let before = stage.recorder.requests().len();
    stage.flood("rapid reset", &[], |n| {
        let stream = 2 * n + 1;
        [
            frame(HEADERS, END_STREAM | END_HEADERS, stream, &head),
            frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]),
        ]
        .concat()
    });
    let reached = stage.recorder.requests().len() - before;
    assert!(reached < 2000, "{reached} requests reached the upstream");
}

/// H2-02: the gate is made to reset streams itself.
#[test]
fn flood_of_errors_that_the_gate_answers_with_a_reset_ends_the_connection() {
    let stage = Stage::set();
    let head = stage.head("GET");
    stage.flood_of_errors("no window", |n| {
        let stream = 2 * n + 1;
        [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &head),
            frame(WINDOW_UPDATE, 0, stream, &[0; 4]),
        ]
        .concat()
    });
    stage.flood_of_errors("data after the end", |n| {
        let stream = 2 * n + 1;
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head), frame(DATA, 0, stream, b"x")]
            .concat()
    });
    stage.flood_of_errors("depends on itself", |n| {
        let stream = 2 * n + 1;
        let priority = [&stream.to_be_bytes()[..], &[16]].concat();
        [frame(HEADERS, END_HEADERS | END_STREAM, stream, &head), frame(2, 0, stream, &priority)]
            .concat()
    });
}

/// H2-05: a body of nothing but empty frames.
#[test]
fn flood_of_empty_data_ends_the_connection() {
    let stage = Stage::set();
    let head = frame(HEADERS, END_HEADERS, 1, &stage.head("POST"));
    stage.flood("empty data", &head, |_| frame(DATA, 0, 1, &[]));
}

/// What is no HTTP/2, and a frame that never ends, are closed after their deadline.
#[test]
fn connection_that_does_not_go_on_is_closed() {
    let (recorder, pki) = (Recorder::start(), Pki::new());
    let settings = [("limits.header_timeout", "1s".into())];
    let gate = Gate::start_tls(&recorder, &pki, &settings);
    Frames::silent(gate.public(), &pki).until_end();
    let mut other = Frames::silent(gate.public(), &pki);
    other.send_raw(b"GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n");
    other.until_end();
    let mut unfinished = Frames::open(gate.public(), &pki);
    unfinished.send_raw(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0; 100])[..50]);
    unfinished.until_end();
    // Without a request, it is told to go, and need not say anything.
    let mut idle = Frames::open(gate.public(), &pki);
    assert!(idle.until_end().is_some(), "it was not told");
}
