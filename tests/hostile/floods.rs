//! Many tokens at once, false and true.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;

use crate::harness::{A, Connection, DEADLINE, agent_path, mint};
use crate::process::Process;
use crate::stage::Stage;

/// How many false tokens; the longer suite sends more of them.
const FALSE_TOKENS: usize = 20_000;
/// On how many connections at once.
const CONNECTIONS: usize = 8;

/// What a flood may leave: log lines on their way to a slow reader, 8 MiB that wait and 8 MiB that are being
/// written, and 8 MiB for all else. A million tokens that are remembered are more than twice that.
const GROWTH_KIB_MAX: u64 = 24 << 10;

/// Bytes that look random, the same in every run.
fn noise() -> impl FnMut() -> u8 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    }
}

/// What one of several connections sends at once, and how much of it is refused.
struct Batch {
    requests: Vec<u8>,
    refused: usize,
}

/// Requests with false tokens, each another one, and one with the live token behind each hundred.
fn batches(stage: &Stage, count: usize) -> Vec<Batch> {
    let live = stage.canary();
    let genuine = URL_SAFE_NO_PAD.decode(&stage.reader["ck-let-".len()..]).unwrap();
    let mut noise = noise();
    let mut false_token = || {
        let mut bytes = genuine.clone();
        bytes[7..].iter_mut().for_each(|byte| *byte = noise());
        live.replace(&stage.reader, &format!("ck-let-{}", URL_SAFE_NO_PAD.encode(&bytes)))
    };
    let batch = |_| {
        let mut requests: String = (0..100).map(|_| false_token()).collect();
        requests.push_str(&live);
        Batch { requests: requests.into_bytes(), refused: 100 }
    };
    (0..count / 100).map(batch).collect()
}

/// Sends the batches, one after the other, each when the one before has been answered.
fn send(gate: SocketAddr, batches: &[Batch]) {
    let mut stream = TcpStream::connect(gate).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut read = vec![0; 256 << 10];
    for batch in batches {
        stream.write_all(&batch.requests).unwrap();
        let mut answers = Vec::new();
        let count = |answers: &[u8], head: &str| memmem::find_iter(answers, head).count();
        while !(count(&answers, "HTTP/1.1 200 ") == 1 && answers.ends_with(b"]")) {
            let length = stream.read(&mut read).unwrap();
            assert!(length > 0, "closed");
            answers.extend_from_slice(&read[..length]);
        }
        assert_eq!(count(&answers, "HTTP/1.1 401 "), batch.refused);
    }
}

/// D-05: tokens of the right form, version and key, far from expiry, each another one, on several
/// connections at once: none of them is looked up or remembered, and the live one is found where it was.
#[test]
fn flood_of_false_tokens_costs_arithmetic_only() {
    let stage = Stage::set();
    let wanted = std::env::var("CKGATE_FALSE_TOKENS").map(|text| text.parse().unwrap());
    let count: usize = wanted.unwrap_or(FALSE_TOKENS);
    let flood = |batches: &[Batch]| {
        std::thread::scope(|scope| {
            for part in batches.chunks(batches.len().div_ceil(CONNECTIONS)) {
                scope.spawn(|| send(stage.gate.public(), part));
            }
        });
    };
    flood(&batches(&stage, 8_000));
    let lookups = stage.metric("ckgate_store_lookups_total");
    let misses = stage.metric("ckgate_cache_lookups_total{result=\"Miss\"}");
    let batches = batches(&stage, count);
    let (memory, began) = (Process::of(&stage.gate).memory(), Instant::now());
    flood(&batches);
    let rate = f64::from(u32::try_from(count).unwrap()) / began.elapsed().as_secs_f64();
    println!("{count} false tokens, {rate:.0} a second");
    assert_eq!(stage.metric("ckgate_store_lookups_total"), lookups, "false tokens were looked up");
    let later = stage.metric("ckgate_cache_lookups_total{result=\"Miss\"}");
    assert_eq!(later, misses, "the live token was forgotten");
    let grown = Process::of(&stage.gate).memory().saturating_sub(memory);
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB more than before");
}

/// D-06.
#[test]
fn thousand_first_uses_of_one_token_are_one_look_up() {
    let mut stage = Stage::set();
    let token = mint(&stage.gate, A, &["read_messages"]);
    stage.gate.restart();
    let before = stage.metric("ckgate_store_lookups_total");
    // Judged and refused for its route: all of the look-up, and nothing upstream.
    let target = agent_path(A, "/context");
    let request = stage.head_as(&token, &format!("GET {target} HTTP/1.1"), "\r\n");
    let mut connections: Vec<Connection> =
        std::iter::repeat_with(|| Connection::open(stage.gate.public())).take(1000).collect();
    for connection in &mut connections {
        connection.send(&request);
    }
    for connection in &mut connections {
        assert_eq!(connection.answer("GET").status, 403);
    }
    assert_eq!(stage.metric("ckgate_store_lookups_total") - before, 1);
}

/// The same for a token that is gone: asking for it again and again is one look-up in a while.
#[test]
fn uses_of_a_token_that_is_gone_are_no_look_ups() {
    let mut stage = Stage::set();
    let token = mint(&stage.gate, A, &["read_messages"]);
    crate::harness::delete(&stage.gate, &token);
    let request =
        stage.head_as(&token, &format!("GET {} HTTP/1.1", agent_path(A, "/messages")), "\r\n");
    let ask = |stage: &Stage| {
        let mut connection = Connection::open(stage.gate.public());
        for _ in 0..200 {
            connection.send(&request);
            assert_eq!(connection.answer("GET").status, 401);
        }
    };
    let before = stage.metric("ckgate_store_lookups_total");
    ask(&stage);
    assert_eq!(stage.metric("ckgate_store_lookups_total"), before);
    stage.gate.restart();
    ask(&stage);
    // That it is gone is believed for a few seconds, and a busy machine takes longer over 200 uses.
    assert!(stage.metric("ckgate_store_lookups_total") <= 20);
}
