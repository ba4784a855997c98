//! Event streams over HTTP/2: ended one by one, and not held open by clients that take nothing.

use std::time::{Duration, Instant};

use super::harness::http2::{DATA, Frames, HEADERS, RST_STREAM, SETTINGS, block};
use super::harness::{
    A, Gate, HOST, ORIGIN, Pki, Recorder, Reply, Signal, agent_path, delete, eventually, mint,
};

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn open_stream(frames: &mut Frames, stream: u32, token: &str) {
    let body = br#"{"messages":[{"role":"user","content":"x"}]}"#;
    let head = block(&[
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", &agent_path(A, "/messages/stream")),
        ("authorization", &format!("Bearer {token}")),
        ("origin", ORIGIN),
        ("content-type", "application/json"),
    ]);
    frames.send(HEADERS, END_HEADERS, stream, &head);
    frames.send(DATA, END_STREAM, stream, body);
}

/// Two streams of two tokens on one connection: deleting one token ends its stream in band, and the
/// other goes on.
#[test]
fn deleted_token_ends_its_own_stream_only() {
    let more = Signal::new();
    let wait = more.clone();
    let recorder = Recorder::with(move |_| {
        Reply::stream().event("first").wait(&wait).event("second").last_chunk()
    });
    let pki = Pki::new();
    let gate = Gate::start_tls(&recorder, &pki, &[]);
    let tokens = [mint(&gate, A, &["write_messages"]), mint(&gate, A, &["write_messages"])];
    let mut frames = Frames::open(gate.public(), &pki);
    open_stream(&mut frames, 1, &tokens[0]);
    open_stream(&mut frames, 3, &tokens[1]);
    let (mut texts, mut ended) = ([String::new(), String::new()], [false; 2]);
    let mut deleted = false;
    while ended != [true; 2] {
        let frame = frames.receive().expect("the connection goes on");
        let Some(at) = [1, 3].iter().position(|stream| *stream == frame.stream) else { continue };
        assert_ne!(frame.kind, RST_STREAM, "{texts:?}");
        if frame.kind == DATA {
            texts[at].push_str(std::str::from_utf8(&frame.payload).unwrap());
            ended[at] |= frame.flags & END_STREAM != 0;
        }
        if !deleted && texts.iter().all(|text| text.contains("first")) {
            delete(&gate, &tokens[0]);
            deleted = true;
        }
        if ended[0] {
            more.raise();
        }
    }
    assert!(texts[0].contains("token_revoked") && !texts[0].contains("second"), "{}", texts[0]);
    assert!(texts[1].contains("second") && !texts[1].contains("error"), "{}", texts[1]);
}

/// H2-04: a client that announces no window holds neither the gate's memory nor the upstream's answer
/// for longer than it may; nor does one whose token was deleted.
#[test]
fn stream_that_its_client_does_not_take_is_reset() {
    let recorder = Recorder::with(|_| {
        (0..200).fold(Reply::stream(), |reply, _| reply.event(&"x".repeat(2000))).last_chunk()
    });
    let pki = Pki::new();
    let gate = Gate::start_tls(&recorder, &pki, &[("limits.write_stall_timeout", "2s".into())]);
    let token = mint(&gate, A, &["write_messages"]);
    for deleted in [false, true] {
        let token = if deleted { mint(&gate, A, &["write_messages"]) } else { token.clone() };
        let mut frames = Frames::open(gate.public(), &pki);
        frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        open_stream(&mut frames, 1, &token);
        let begun = std::iter::from_fn(|| frames.receive()).find(|frame| frame.stream == 1);
        assert_eq!(begun.map(|frame| frame.kind), Some(HEADERS));
        let start = Instant::now();
        if deleted {
            delete(&gate, &token);
        }
        let reset = std::iter::from_fn(|| frames.receive()).find(|frame| frame.stream == 1);
        assert_eq!(reset.map(|frame| frame.kind), Some(RST_STREAM));
        assert_eq!(start.elapsed() < Duration::from_millis(1500), deleted);
    }
    eventually("no stream is left", || {
        gate.admin_get("/metrics").text().contains("\nckgate_streams 0\n")
    });
}
