//! Event streams: passed on as they come, and ended when they must be.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    A, Call, Connection, Gate, ORIGIN, Recorder, Reply, Settings, Signal, agent_path,
    assert_refused, delete, events, eventually, mint, mint_until, says,
};

fn stream(gate: &Gate, token: &str) -> Call {
    gate.call("POST", &agent_path(A, "/messages/stream")).token(token).json(&says("hello"))
}

fn writer(gate: &Gate) -> String {
    mint(gate, A, &["read_messages", "write_messages"])
}

/// A gate before an upstream that answers one event and then waits for the signal.
fn stuck() -> (Recorder, Gate, Signal) {
    stuck_with(&[])
}

fn stuck_with(settings: Settings<'_>) -> (Recorder, Gate, Signal) {
    let signal = Signal::new();
    let reply = Reply::stream().event("one").wait(&signal).event("two").last_chunk();
    let recorder = Recorder::with(move |_| reply.clone());
    let gate = Gate::start_with(&recorder, settings);
    (recorder, gate, signal)
}

/// Starts a stream and reads its first event.
#[track_caller]
fn started(call: &Call) -> Connection {
    let (head, mut connection) = call.start();
    assert_eq!(head.status, 200, "{:?}", head.head);
    assert_eq!(
        connection.read_until("the first event", |read| read.ends_with("\n\n")),
        "data: one\n\n"
    );
    connection
}

/// The data of a stream's last event, which has to be an error on an event boundary.
#[track_caller]
fn last_error(read: &str) -> Value {
    let (_, event) =
        read.rsplit_once("event: error\n").unwrap_or_else(|| panic!("no error in {read:?}"));
    let before = &read[..read.len() - event.len() - "event: error\n".len()];
    assert!(before.is_empty() || before.ends_with("\n\n"), "not on a boundary: {read:?}");
    let data = event.strip_prefix("data: ").and_then(|data| data.strip_suffix("\n\n"));
    serde_json::from_str(data.unwrap_or_else(|| panic!("not one whole event: {event:?}"))).unwrap()
}

#[track_caller]
fn assert_cut(read: &str, code: &str) {
    let data = last_error(read);
    let mut fields: Vec<&String> = data.as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["code", "message"], "{data}");
    assert_eq!(data["code"], code);
    let message = data["message"].as_str().unwrap();
    assert!(message.ends_with(&format!(" [docs: refusals/{code}]")), "{message}");
}

#[track_caller]
fn wait_until_dropped(recorder: &Recorder, connection: usize) {
    recorder.wait_for("the end of the stream's connection", |seen| {
        seen.connections.get(connection).is_some_and(|c| c.closed)
    });
}

/// each chunk is on its way before the next one exists, and is the same chunk.
#[test]
fn chunks_pass_at_once_and_unchanged() {
    // An event in two chunks, a character in two chunks, two events in one, a comment, CRLF.
    let chunks: [&[u8]; 6] = [
        b"data: {\"message_type\":\"ping\"}\n\n",
        b"data: ab",
        b"c \xc3",
        b"\xa9\n\ndata: x\n\ndata: y\n\n",
        b": comment\r\n\r\n",
        b"data: [DONE]\n\n",
    ];
    let signals: Vec<Signal> = chunks.iter().map(|_| Signal::new()).collect();
    let reply = chunks
        .iter()
        .zip(&signals)
        .fold(Reply::stream(), |reply, (chunk, signal)| reply.chunk(chunk).wait(signal))
        .last_chunk();
    let recorder = Recorder::with(move |_| reply.clone());
    let gate = Gate::start(&recorder);
    let (head, mut connection) = stream(&gate, &writer(&gate)).start();
    assert_eq!(head.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(head.header("access-control-allow-origin"), Some(ORIGIN));
    for (chunk, signal) in chunks.iter().zip(&signals) {
        assert_eq!(connection.piece().unwrap().data, *chunk);
        signal.raise();
    }
    assert!(connection.piece().is_none());
}

#[test]
fn both_ways_of_streaming_bring_every_event_to_its_end() {
    let gate = Gate::before_letta();
    let token = writer(&gate);
    let expected = events().map(|data| format!("data: {data}\n\n")).concat();
    let streamed = stream(&gate, &token).send();
    assert_eq!(streamed.text(), expected);
    assert!(streamed.pieces.len() >= 3, "{} pieces", streamed.pieces.len());
    let mut body = says("hello");
    body["streaming"] = json!(true);
    let call = gate.call("POST", &agent_path(A, "/messages")).token(&token);
    assert_eq!(call.json(&body).send().text(), expected);
}

/// C-02.
#[test]
fn deletion_cuts_the_open_stream_and_drops_the_upstream_request() {
    let (recorder, gate, signal) = stuck();
    let token = writer(&gate);
    let mut connection = started(&stream(&gate, &token));
    delete(&gate, &token);
    let rest = connection.rest();
    assert_cut(&rest, "token_revoked");
    wait_until_dropped(&recorder, 0);
    signal.raise();
    assert_refused(&stream(&gate, &token).send(), 401, "token_invalid");
}

/// The answer of the deletion is the last moment at which anything of the upstream's passes.
#[test]
fn nothing_of_the_upstreams_passes_after_the_deletion_is_answered() {
    let (_recorder, gate, signal) = stuck();
    let token = writer(&gate);
    let mut connection = started(&stream(&gate, &token));
    delete(&gate, &token);
    signal.raise();
    let rest = connection.rest();
    assert!(!rest.contains("two"), "{rest:?}");
    assert_cut(&rest, "token_revoked");
}

#[test]
fn cut_in_the_middle_of_an_event_still_ends_on_a_boundary() {
    let signal = Signal::new();
    let reply = Reply::stream()
        .event("one")
        .chunk("data: half of")
        .wait(&signal)
        .chunk(" two\n\ndata: three\n\n");
    let recorder = Recorder::with(move |_| reply.clone());
    let gate = Gate::start(&recorder);
    let token = writer(&gate);
    let (_, mut connection) = stream(&gate, &token).start();
    let read = connection.read_until("half an event", |read| read.ends_with("half of"));
    delete(&gate, &token);
    signal.raise();
    let rest = connection.rest();
    assert!(!rest.contains("three"), "{rest:?}");
    assert_cut(&format!("{read}{rest}"), "token_revoked");
}

/// Half an event cannot be made whole; what is left is not to look finished.
#[test]
fn stream_that_hangs_in_the_middle_of_an_event_is_broken_off_by_a_deletion() {
    let reply = Reply::stream().event("one").chunk("data: half of");
    let recorder = Recorder::with(move |_| reply.clone());
    let gate = Gate::start(&recorder);
    let token = writer(&gate);
    let (_, mut connection) = stream(&gate, &token).start();
    connection.read_until("half an event", |read| read.ends_with("half of"));
    delete(&gate, &token);
    let rest = String::from_utf8(connection.until_close()).unwrap();
    assert!(rest.contains("event: error\n") || !rest.ends_with("0\r\n\r\n"), "{rest:?}");
    wait_until_dropped(&recorder, 0);
}

#[test]
fn deletion_cuts_every_stream_of_that_token_and_no_other() {
    let (_recorder, gate, signal) = stuck();
    let (doomed, other) = (writer(&gate), writer(&gate));
    let mut cut = [started(&stream(&gate, &doomed)), started(&stream(&gate, &doomed))];
    let mut kept = started(&stream(&gate, &other));
    delete(&gate, &doomed);
    for connection in &mut cut {
        assert_cut(&connection.rest(), "token_revoked");
    }
    signal.raise();
    assert_eq!(kept.rest(), "data: two\n\n");
}

/// A stream that is still awaited is no better than an open one.
#[test]
fn stream_that_begins_after_the_deletion_is_cut_before_its_first_event() {
    let signal = Signal::new();
    let waiting = signal.clone();
    let recorder = Recorder::with(move |_| {
        Reply::silence().wait(&waiting).and(Reply::stream().event("one").last_chunk())
    });
    let gate = Gate::start(&recorder);
    let token = writer(&gate);
    let mut connection = stream(&gate, &token).open();
    recorder.wait_for_requests(1);
    delete(&gate, &token);
    signal.raise();
    let answer = connection.answer("POST");
    assert!(!answer.text().contains("data: one"), "{}", answer.text());
    if answer.status == 200 {
        assert_cut(&answer.text(), "token_revoked");
    }
}

#[test]
fn open_stream_may_outlive_its_token_within_the_grace() {
    let (_recorder, gate, signal) = stuck();
    let token = mint_until(&gate, A, &["write_messages"], Duration::from_millis(1500));
    let mut connection = started(&stream(&gate, &token));
    let expired = || gate.call("GET", &agent_path(A, "")).token(&token).send().code_if_any();
    eventually("the token expires", || expired() == "token_expired");
    signal.raise();
    assert_eq!(connection.rest(), "data: two\n\n");
}

///
#[test]
fn stream_is_cut_when_the_grace_after_expiry_is_over() {
    let signal = Signal::new();
    let reply = Reply::stream().event("one").wait(&signal);
    let recorder = Recorder::with(move |_| reply.clone());
    let gate = Gate::start_with(&recorder, &[("streams.expiry_grace", "200ms".into())]);
    let token = mint_until(&gate, A, &["write_messages"], Duration::from_millis(1500));
    let mut connection = started(&stream(&gate, &token));
    assert_cut(&connection.rest(), "token_expired");
    wait_until_dropped(&recorder, 0);
    signal.raise();
}

#[test]
fn client_that_leaves_ends_the_upstream_request() {
    let (recorder, gate, signal) = stuck();
    let token = writer(&gate);
    drop(started(&stream(&gate, &token)));
    wait_until_dropped(&recorder, 0);
    signal.raise();
}

#[test]
fn client_that_leaves_before_the_answer_ends_the_upstream_request() {
    let recorder = Recorder::with(|_| Reply::silence());
    let gate = Gate::start(&recorder);
    let connection = stream(&gate, &writer(&gate)).open();
    recorder.wait_for_requests(1);
    drop(connection);
    wait_until_dropped(&recorder, 0);
}

/// a connection with unread bytes of somebody else's answer is never used again.
#[test]
fn connection_of_a_dropped_stream_is_not_reused() {
    let (recorder, gate, signal) = stuck_with(&[("server.workers", 1.into())]);
    let token = writer(&gate);
    drop(started(&stream(&gate, &token)));
    wait_until_dropped(&recorder, 0);
    signal.raise();
    started(&stream(&gate, &token));
    let used: Vec<usize> = recorder.requests().iter().map(|r| r.connection).collect();
    assert_eq!(used, [0, 1]);
}

/// What the upstream broke off must not look finished.
#[test]
fn stream_that_the_upstream_breaks_off_does_not_end_like_a_whole_one() {
    let breaks = [Reply::stream().event("one").close(), Reply::stream().event("one").reset()];
    for reply in breaks {
        let recorder = Recorder::with(move |_| reply.clone());
        let gate = Gate::start(&recorder);
        let mut connection = stream(&gate, &writer(&gate)).open();
        let received = String::from_utf8(connection.until_close()).unwrap();
        let told = received.contains("event: error\n") || !received.ends_with("0\r\n\r\n");
        assert!(told, "{received:?}");
    }
}

/// D-10.
#[test]
fn token_opens_only_so_many_streams_at_once() {
    let signal = Signal::new();
    let reply = Reply::stream().event("one").wait(&signal).last_chunk();
    let recorder = Recorder::with(move |_| reply.clone());
    let gate = Gate::start_with(&recorder, &[("streams.per_token_max", 2.into())]);
    let (token, other) = (writer(&gate), writer(&gate));
    let mut open = [started(&stream(&gate, &token)), started(&stream(&gate, &token))];
    assert_refused(&stream(&gate, &token).send(), 429, "too_many_streams");
    let mut others = started(&stream(&gate, &other));
    signal.raise();
    for connection in open.iter_mut().chain([&mut others]) {
        assert_eq!(connection.rest(), "");
    }
    assert_eq!(stream(&gate, &token).send().status, 200, "those that ended count no more");
    assert_eq!(recorder.requests().len(), 4);
}
