//! A gate that has run for long is as large as before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{
    A, Call, Connection, Gate, Recorder, SERVER_KEY, TOKENS, agent_path, delete, eventually, mint,
    says,
};
use crate::process::Process;

/// How long each of two equal loads takes; `CKGATE_SOAK_SECONDS` says how long otherwise.
const SECONDS: u64 = 4;
/// Who asks at once.
const CLIENTS: usize = 6;
/// Between two requests of a client: the load is bounded.
const GAP: Duration = Duration::from_millis(4);
/// What deleted ids and caches may take beside the twentieth that the row allows, in KiB.
const SLACK: u64 = 4 << 10;

/// What a process holds when nobody asks it anything.
#[derive(Debug)]
struct Held {
    memory: u64,
    descriptors: usize,
    threads: usize,
}

fn held(gate: &Gate) -> Held {
    eventually("nobody is connected", || {
        std::thread::sleep(GAP);
        let metrics = gate.admin_get("/metrics").text();
        metrics.contains("\nckgate_connections 0\n") && metrics.contains("\nckgate_streams 0\n")
    });
    let process = Process::of(gate);
    Held {
        memory: process.memory(),
        descriptors: process.descriptors(),
        threads: process.threads(),
    }
}

/// One client's next act: tokens made, used and deleted, messages, streams read and left, refusals.
fn act(gate: &Gate, turn: usize, token: &str, kept: &mut Connection) {
    let read = || gate.call("GET", &agent_path(A, "/messages")).token(token);
    let stream = || {
        let call = gate.call("POST", &agent_path(A, "/messages/stream")).token(token);
        call.json(&says("hello"))
    };
    match turn % 8 {
        0 => {
            let own = mint(gate, A, &["read_messages"]);
            let call = Call::to(gate.public(), "GET", &agent_path(A, "/messages")).token(&own);
            assert_eq!(call.send().status, 200);
            delete(gate, &own);
        }
        1 | 2 => assert_eq!(read().send_on(kept).status, 200),
        3 => assert_eq!(read().send().status, 200),
        4 => assert_eq!(stream().send().status, 200),
        // Left as soon as it has begun.
        5 => assert_eq!(stream().start().0.status, 200),
        6 => assert_eq!(gate.call("GET", "/v1/agents/a#b").token(token).send().status, 400),
        _ => {
            assert_eq!(gate.call("GET", TOKENS).bearer("ck-let-nobody").send().status, 401);
            let list = gate.call("GET", &format!("{TOKENS}?limit=3")).bearer(SERVER_KEY);
            assert_eq!(list.send().status, 200);
        }
    }
}

/// Lets the clients ask for so long; how many acts there were.
fn load(gate: &Gate, token: &str, time: Duration) -> usize {
    let (acts, start) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let acts = &acts;
            scope.spawn(move || {
                let mut kept = Connection::open(gate.public());
                let mut turn = client;
                while start.elapsed() < time {
                    act(gate, turn, token, &mut kept);
                    turn += 1;
                    acts.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(GAP);
                }
            });
        }
    });
    acts.into_inner()
}

/// G-07: after the second of two equal loads, memory is within a twentieth of what it was after the
/// first, and there are no more descriptors and threads.
#[test]
fn gate_does_not_grow_with_time() {
    let asked = std::env::var("CKGATE_SOAK_SECONDS").map(|text| text.parse().unwrap());
    let time = Duration::from_secs(asked.unwrap_or(SECONDS));
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages", "write_messages"]);
    load(&gate, &token, time / 2);
    let acts = load(&gate, &token, time);
    let before = held(&gate);
    let more = load(&gate, &token, time);
    let after = held(&gate);
    println!("{acts} and {more} acts: {before:?}, then {after:?}");
    assert!(after.memory <= before.memory + before.memory / 20 + SLACK, "{before:?} {after:?}");
    assert!(after.descriptors <= before.descriptors + 4, "{before:?} {after:?}");
    assert_eq!(after.threads, before.threads, "{before:?} {after:?}");
}
