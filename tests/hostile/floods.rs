//! Many tokens at once, false and true.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::harness::{A, Connection, agent_path, mint};
use crate::process::Process;
use crate::stage::Stage;

/// How many false tokens; the longer suite sends more of them.
const FALSE_TOKENS: usize = 20_000;

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

/// D-05: tokens of the right form, version and key, far from expiry, each another one: none of them is
/// looked up or remembered, and the live one is found where it was.
#[test]
fn flood_of_false_tokens_costs_arithmetic_only() {
    let stage = Stage::set();
    let wanted = std::env::var("CKGATE_FALSE_TOKENS").ok().and_then(|text| text.parse().ok());
    let count: usize = wanted.unwrap_or(FALSE_TOKENS);
    let live = stage.canary();
    let mut connection = Connection::open(stage.gate.public());
    connection.send(&live);
    assert_eq!(connection.answer("GET").status, 200);
    let genuine = URL_SAFE_NO_PAD.decode(&stage.reader["ck-let-".len()..]).unwrap();
    let mut noise = noise();
    let mut flood = |count: usize, connection: &mut Connection| {
        for _ in 0..count / 100 {
            let mut requests = String::new();
            for _ in 0..100 {
                let mut bytes = genuine.clone();
                bytes[7..].iter_mut().for_each(|byte| *byte = noise());
                let token = format!("ck-let-{}", URL_SAFE_NO_PAD.encode(&bytes));
                requests.push_str(&live.replace(&stage.reader, &token));
            }
            requests.push_str(&live);
            connection.send(requests);
            for _ in 0..100 {
                assert_eq!(connection.answer("GET").status, 401);
            }
            assert_eq!(connection.answer("GET").status, 200);
        }
    };
    flood(2_000, &mut connection);
    let lookups = stage.metric("ckgate_store_lookups_total");
    let misses = stage.metric("ckgate_cache_lookups_total{result=\"Miss\"}");
    let (memory, began) = (Process::of(&stage.gate).memory(), Instant::now());
    flood(count, &mut connection);
    let seconds = began.elapsed().as_secs_f64();
    println!("{count} false tokens in {seconds:.1} s");
    assert_eq!(stage.metric("ckgate_store_lookups_total"), lookups, "false tokens were looked up");
    let later = stage.metric("ckgate_cache_lookups_total{result=\"Miss\"}");
    assert_eq!(later, misses, "the live token was forgotten");
    let grown = Process::of(&stage.gate).memory().saturating_sub(memory);
    assert!(grown < 8 << 10, "{grown} KiB more than before");
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
    assert!(stage.metric("ckgate_store_lookups_total") <= 2);
}
