//! Tokens, what is remembered of them, and where they are kept.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::harness::{
    A, Connection, Gate, Recorder, Reply, Signal, agent_path, delete, mint, mint_until, says,
};
use crate::stage::Stage;

fn use_of(gate: &Gate, token: &str) -> u16 {
    gate.call("GET", &agent_path(A, "/messages")).token(token).send().status
}

/// C-01, C-03: callers that never stop asking cannot bring a token back, however the deletion falls
/// between their look-ups.
#[test]
fn deleted_token_stays_deleted_under_fire() {
    let stage = Stage::set();
    for _ in 0..5 {
        let token = mint(&stage.gate, A, &["read_messages"]);
        let request =
            stage.head_as(&token, &format!("GET {} HTTP/1.1", agent_path(A, "/messages")), "\r\n");
        let acknowledged = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let (request, acknowledged) = (request.clone(), Arc::clone(&acknowledged));
                let mut connection = Connection::open(stage.gate.public());
                thread::spawn(move || {
                    let mut refusals = 0;
                    while refusals < 20 {
                        let deleted_before = acknowledged.load(Ordering::SeqCst);
                        connection.send(&request);
                        let status = connection.answer("GET").status;
                        assert!(status == 200 || status == 401, "{status}");
                        assert!(!(deleted_before && status == 200), "admitted after its deletion");
                        refusals += usize::from(status == 401);
                    }
                })
            })
            .collect();
        assert_eq!(use_of(&stage.gate, &token), 200);
        delete(&stage.gate, &token);
        acknowledged.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.join().unwrap();
        }
        assert_eq!(use_of(&stage.gate, &token), 401);
    }
}

/// C-02: not even when the next event comes at the very moment of the deletion.
#[test]
fn event_that_comes_with_the_deletion_does_not_pass() {
    let stage = Stage::set_with(&[("streams.per_token_max", 100.into())]);
    for round in 0..100 {
        let token = mint(&stage.gate, A, &["write_messages"]);
        let signal = Signal::new();
        let flood =
            (0..50).fold(Reply::stream().event("one").wait(&signal), |reply, _| reply.event("two"));
        stage.recorder.answer_next(flood.last_chunk());
        let call = stage.gate.call("POST", &agent_path(A, "/messages/stream")).token(&token);
        let (head, mut connection) = call.json(&says("hello")).start();
        assert_eq!(head.status, 200);
        connection.read_until("the first event", |text| text.contains("one"));
        delete(&stage.gate, &token);
        signal.raise();
        let rest = connection.rest();
        assert!(!rest.contains("two") && rest.contains("token_revoked"), "round {round}: {rest}");
    }
}

/// C-04: what is remembered of a token ends with the token.
#[test]
fn remembered_token_expires_on_time() {
    let stage = Stage::set();
    let token = mint_until(&stage.gate, A, &["read_messages"], Duration::from_millis(1500));
    let mut last = 200;
    while last == 200 {
        last = use_of(&stage.gate, &token);
    }
    assert_eq!(last, 401);
    for _ in 0..50 {
        assert_eq!(use_of(&stage.gate, &token), 401);
    }
}

/// C-05: every bit of a token's text counts, also when the true one is remembered.
#[test]
fn token_with_any_bit_changed_is_another_one() {
    let stage = Stage::set();
    let mut connection = Connection::open(stage.gate.public());
    connection.send(stage.canary());
    assert_eq!(connection.answer("GET").status, 200);
    let genuine = URL_SAFE_NO_PAD.decode(&stage.reader["ck-let-".len()..]).unwrap();
    for bit in 0..genuine.len() * 8 {
        let mut changed = genuine.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let token = format!("ck-let-{}", URL_SAFE_NO_PAD.encode(changed));
        connection.send(stage.canary().replace(&stage.reader, &token));
        assert_eq!(connection.answer("GET").status, 401, "bit {bit}");
    }
    connection.send(stage.canary());
    assert_eq!(connection.answer("GET").status, 200);
}

/// C-05: halves of two live tokens make no token.
#[test]
fn parts_of_two_tokens_make_no_third() {
    let stage = Stage::set();
    for cut in [10, 20, 30, 40, 50] {
        let mixed = format!("{}{}", &stage.reader[..7 + cut], &stage.writer[7 + cut..]);
        if mixed != stage.reader && mixed != stage.writer {
            assert_eq!(use_of(&stage.gate, &mixed), 401, "cut after {cut}");
        }
    }
}

/// C-11: the store holds no token, in any spelling, and its copy is of no use to another gate.
#[test]
fn stolen_store_opens_nothing() {
    let stage = Stage::set();
    let mut bytes = Vec::new();
    for name in ["ckgate.db", "ckgate.db-wal"] {
        if let Ok(mut file) = std::fs::File::open(stage.gate.directory().join(name)) {
            file.read_to_end(&mut bytes).unwrap();
        }
    }
    assert!(bytes.len() > 4096);
    for token in [&stage.reader, &stage.writer] {
        let text = &token["ck-let-".len()..];
        let raw = URL_SAFE_NO_PAD.decode(text).unwrap();
        // Version, key id, expiry and id are no secret; the tag behind them is.
        let tag = &raw[23..];
        assert!(!contains(&bytes, text.as_bytes()) && !contains(&bytes, tag));
        let hex = tag.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert!(!contains(&bytes, hex.as_bytes()));
    }
    let recorder = Recorder::start();
    let other = Gate::start(&recorder);
    for token in [&stage.reader, &stage.writer] {
        assert_eq!(use_of(&other, token), 401, "made by another gate");
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A token works for whom it was made, on every one of the gate's cores at once.
#[test]
fn token_is_live_on_every_worker_as_soon_as_it_is_answered() {
    let stage = Stage::set_with(&[("server.workers", 4.into())]);
    for _ in 0..10 {
        let token = mint(&stage.gate, A, &["read_messages"]);
        for _ in 0..8 {
            assert_eq!(use_of(&stage.gate, &token), 200);
        }
        delete(&stage.gate, &token);
        for _ in 0..8 {
            assert_eq!(use_of(&stage.gate, &token), 401);
        }
    }
}
