//! What RFC 9113 and RFC 7541 demand of a server, rule by rule: the cases of h2spec, in frames of
//! our own.

use super::harness::http2::{
    CONTINUATION, DATA, Frames, GOAWAY, HEADERS, PING, RST_STREAM, Received, SETTINGS,
    WINDOW_UPDATE, block, frame,
};
use super::harness::{A, HOST, ORIGIN, agent_path};
use super::stage::Stage;

mod blocks;
mod streams;

const PRIORITY: u8 = 2;
const PUSH_PROMISE: u8 = 5;
const UNKNOWN: u8 = 0xbe;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 32;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;

// The protocol library has the unspecific code for some rules that have one of their own.
const SIZE: &[u32] = &[FRAME_SIZE_ERROR, PROTOCOL_ERROR];
const COMPRESSION: &[u32] = &[COMPRESSION_ERROR, PROTOCOL_ERROR];
const CLOSED: &[u32] = &[STREAM_CLOSED, PROTOCOL_ERROR];
const FLOW: &[u32] = &[FLOW_CONTROL_ERROR, PROTOCOL_ERROR];

/// What a server has to do.
#[derive(Clone, Copy, Debug)]
enum Must {
    /// End the connection, with a GOAWAY of one of these codes.
    EndConnection(&'static [u32]),
    /// End the stream or the connection, with one of these codes.
    EndStream(&'static [u32]),
    /// Go on as if nothing were wrong: a PING afterwards comes back.
    GoOn,
    /// Answer the request on stream 1 with this status.
    Answer(&'static str),
}

impl Stage {
    fn fields(&self, method: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let (path, bearer) = (agent_path(A, "/messages"), format!("Bearer {}", self.token));
        let mut fields = vec![
            (":method", method),
            (":scheme", "https"),
            (":path", &path),
            (":authority", HOST),
            ("authorization", &bearer),
            ("origin", ORIGIN),
        ];
        fields.extend(more);
        block(&fields)
    }

    /// The head of a request that would be answered with 200.
    fn get(&self) -> Vec<u8> {
        self.fields("GET", &[])
    }

    /// The head of a request whose body is to come.
    fn post(&self) -> Vec<u8> {
        self.fields("POST", &[("content-type", "application/json")])
    }

    /// A whole GET on a stream.
    fn ask(&self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &self.get())
    }

    /// Sends `bytes` on a connection of their own; what is wrong with what comes back.
    fn problem(&self, bytes: &[u8], must: Must) -> Option<String> {
        let mut frames = Frames::open(self.gate.public(), &self.pki);
        frames.send_raw(bytes);
        let mut seen = Vec::new();
        // What ends a stream may come behind what answers a frame that was sent later, but not behind
        // what answers a frame that was sent when that had been answered.
        for last in [b"the 1st.", b"the 2nd.", b"the 3rd."] {
            frames.send(PING, 0, 0, last);
            loop {
                let Some(received) = frames.receive() else {
                    return Some(format!("the connection has ended without a word: {seen:?}"));
                };
                match judge(&received, must) {
                    Some(Ok(())) => return None,
                    Some(Err(why)) => return Some(format!("{why}: {received:?} after {seen:?}")),
                    None => {}
                }
                let waits_on = matches!(must, Must::Answer(_));
                if received.kind == PING && received.payload == last && !waits_on {
                    break;
                }
                seen.push((received.kind, received.flags, received.stream));
            }
        }
        match must {
            Must::GoOn => None,
            _ => Some(format!("it goes on: {seen:?}")),
        }
    }

    /// Holds the gate to rules, each of them on a connection of its own.
    #[track_caller]
    fn check<'r>(&self, rules: impl IntoIterator<Item = (&'r str, Vec<u8>, Must)>) {
        let problems: Vec<String> = rules
            .into_iter()
            .filter_map(|(rule, bytes, must)| {
                let problem = self.problem(&bytes, must)?;
                Some(format!("{rule}: {must:?}, but {problem}"))
            })
            .collect();
        assert!(problems.is_empty(), "{problems:#?}");
    }
}

/// Whether a frame fulfils the rule, breaks it, or says nothing about it.
fn judge(received: &Received, must: Must) -> Option<Result<(), &'static str>> {
    let code = |at: usize| {
        let bytes = received.payload.get(at..at + 4).unwrap();
        u32::from_be_bytes(bytes.try_into().unwrap())
    };
    let one_of = |codes: &[u32], code: u32| {
        if codes.contains(&code) { Ok(()) } else { Err("another code") }
    };
    match (must, received.kind) {
        (Must::EndConnection(codes) | Must::EndStream(codes), GOAWAY) => {
            Some(one_of(codes, code(4)))
        }
        (Must::EndStream(codes), RST_STREAM) => Some(one_of(codes, code(0))),
        (Must::Answer(status), HEADERS) if received.stream == 1 => {
            Some(if has_status(&received.payload, status) { Ok(()) } else { Err("another status") })
        }
        (Must::GoOn | Must::Answer(_), GOAWAY | RST_STREAM) => Some(Err("it was ended")),
        _ => None,
    }
}

/// Whether an answer's header block begins with this status as the static table has it (RFC 7541,
/// appendix A).
fn has_status(block: &[u8], status: &str) -> bool {
    let indexed = match status {
        "200" => Some(0x88),
        "400" => Some(0x8c),
        _ => None,
    };
    // A change of the table's size may come first.
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap_or(0);
    block.get(start).copied() == indexed
}

fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let bytes = pairs
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat());
    frame(SETTINGS, 0, 0, &bytes.collect::<Vec<u8>>())
}

fn increment(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

/// H2-12: §4.1, §4.2, §5.5, §7: frames, flags and codes that nobody knows, and sizes.
#[test]
fn unknown_frames_are_passed_over_and_sizes_are_kept() {
    let stage = Stage::set();
    let large = vec![b' '; 16 << 10];
    let mut too_large = stage.post();
    too_large.extend(block(&[("x-long", &"x".repeat(17 << 10))]));
    let open = frame(HEADERS, END_HEADERS, 1, &stage.post());
    stage.check([
        ("4.1 unknown type", frame(UNKNOWN, 0, 0, &[0; 8]), Must::GoOn),
        ("4.1 undefined flags", frame(PING, 0x16, 0, &[0; 8]), Must::GoOn),
        ("4.1 reserved bit", frame(PING, 0, 1 << 31, &[0; 8]), Must::GoOn),
        ("4.2 16 KiB of data", [open.clone(), frame(DATA, 0, 1, &large)].concat(), Must::GoOn),
        (
            "4.2 more data than a frame may have",
            [open.clone(), frame(DATA, 0, 1, &[&large[..], b" "].concat())].concat(),
            Must::EndStream(SIZE),
        ),
        (
            "4.2 a larger head than a frame may have",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &too_large),
            Must::EndConnection(SIZE),
        ),
        ("5.5 extension", frame(UNKNOWN, 0, 1, &[0; 8]), Must::GoOn),
        (
            "5.5 extension within a head",
            [frame(HEADERS, END_STREAM, 1, &stage.get()), frame(UNKNOWN, 0, 1, &[0; 8])].concat(),
            Must::EndConnection(&[PROTOCOL_ERROR]),
        ),
        (
            "7 reset with an unknown code",
            [open, frame(RST_STREAM, 0, 1, &[0, 0, 0, 0xff])].concat(),
            Must::GoOn,
        ),
    ]);
}

/// §3.4: what is not the preface of HTTP/2 ends the connection.
#[test]
fn preface_that_is_none_ends_the_connection() {
    let stage = Stage::set();
    for preface in ["INVALID CONNECTION PREFACE\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r"] {
        let mut frames = Frames::silent(stage.gate.public(), &stage.pki);
        frames.send_raw(preface.as_bytes());
        frames.until_end();
    }
    let mut frames = Frames::silent(stage.gate.public(), &stage.pki);
    frames.send_raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    frames.send(SETTINGS, 0, 0, &[]);
    assert_eq!(frames.receive().map(|frame| frame.kind), Some(SETTINGS));
}

/// H2-12: §6.5, §6.7, §6.8: frames about the connection.
#[test]
fn frame_about_the_connection_is_checked() {
    let stage = Stage::set();
    let end = Must::EndConnection(&[PROTOCOL_ERROR]);
    let size = Must::EndConnection(SIZE);
    stage.check([
        ("6.5 acknowledgement with a payload", frame(SETTINGS, ACK, 0, &[0; 6]), size),
        ("6.5 settings of a stream", frame(SETTINGS, 0, 1, &[]), end),
        ("6.5 half a setting", frame(SETTINGS, 0, 0, &[0; 3]), size),
        ("6.5.2 push neither on nor off", settings(&[(2, 2)]), end),
        ("6.5.2 window too large", settings(&[(4, 1 << 31)]), Must::EndConnection(FLOW)),
        ("6.5.2 frames too small", settings(&[(5, (1 << 14) - 1)]), end),
        ("6.5.2 frames too large", settings(&[(5, 1 << 24)]), end),
        ("6.5.2 unknown setting", settings(&[(0xff, 1)]), Must::GoOn),
        ("6.7 acknowledgement that nobody asked for", frame(PING, ACK, 0, &[0; 8]), Must::GoOn),
        ("6.7 ping of a stream", frame(PING, 0, 1, &[0; 8]), end),
        ("6.7 ping of another size", frame(PING, 0, 0, &[0; 6]), size),
        ("6.8 farewell of a stream", frame(GOAWAY, 0, 1, &[0; 8]), end),
    ]);
    let mut frames = Frames::open(stage.gate.public(), &stage.pki);
    frames.send_raw(&settings(&[(1, 8192)]));
    frames.send(PING, 0, 0, b"one more");
    let (mut acknowledged, mut came_back) = (0, false);
    while acknowledged < 2 || !came_back {
        let frame = frames.receive().unwrap();
        acknowledged += usize::from(frame.kind == SETTINGS && frame.flags == ACK);
        came_back |= frame.kind == PING && frame.flags == ACK && frame.payload == b"one more";
    }
}

/// §6.9: windows.
#[test]
fn windows_are_kept() {
    let stage = Stage::set();
    let most = (1 << 31) - 1;
    let open = frame(HEADERS, END_HEADERS, 1, &stage.post());
    stage.check([
        ("6.9 nothing more", increment(0, 0), Must::EndConnection(&[PROTOCOL_ERROR])),
        (
            "6.9 nothing more for a stream",
            [open.clone(), increment(1, 0)].concat(),
            Must::EndStream(&[PROTOCOL_ERROR]),
        ),
        ("6.9 another size", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Must::EndConnection(SIZE)),
        (
            "6.9.1 more than there can be",
            [increment(0, most), increment(0, most)].concat(),
            Must::EndConnection(FLOW),
        ),
        (
            "6.9.1 more than there can be for a stream",
            [open.clone(), increment(1, most), increment(1, most)].concat(),
            Must::EndStream(FLOW),
        ),
        (
            "6.9.2 more than there can be by a setting",
            [open, increment(1, 1), settings(&[(4, most)])].concat(),
            Must::EndStream(FLOW),
        ),
    ]);
    // One byte of window, then one more, then by a setting: data comes as far as it may.
    let mut frames = Frames::open(stage.gate.public(), &stage.pki);
    frames.send_raw(&[settings(&[(4, 1)]), stage.ask(1)].concat());
    let data = |frames: &mut Frames| loop {
        let received = frames.receive().unwrap();
        if received.kind == DATA {
            return received.payload.len();
        }
    };
    assert_eq!(data(&mut frames), 1);
    frames.send_raw(&increment(1, 2));
    assert_eq!(data(&mut frames), 2);
    // To less than nothing, from which it takes two to get one.
    frames.send_raw(&[settings(&[(4, 0)]), increment(1, 2)].concat());
    assert_eq!(data(&mut frames), 1);
}
