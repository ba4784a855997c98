//! The promise about deletions, measured: three gates, load on all, and tokens that go at random.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, within};
use crate::fleet::{CUT_SLACK, Fleet, STALENESS_MAX, end_of, open_stream, read_call, try_delete};
use crate::harness::{A, Call, Connection, mint};

/// How long after a deletion the other gates may admit, at the 99th percentile on one network.
const FELT_P99_MAX: Duration = Duration::from_millis(250);
const DELETIONS: usize = 120;
/// Between two requests of one client of the load.
const LOAD_PAUSE: Duration = Duration::from_millis(2);
const TOKENS: usize = 60;
const STREAMED_DELETIONS: usize = 12;

/// A token under load.
struct Target {
    token: String,
    deleted: Mutex<Option<(Instant, usize)>>,
}

/// What the load found.
#[derive(Default)]
struct Found {
    requests: AtomicU64,
    admitted: AtomicU64,
    worst_elsewhere: Mutex<Duration>,
    on_the_same_gate: AtomicU64,
}

/// Ends the load when it is dropped.
struct EndOfLoad<'t>(&'t Mutex<Vec<Arc<Target>>>);

impl Drop for EndOfLoad<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().clear();
    }
}

/// A few numbers a test run can be judged by.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn send(call: &Call, connection: &mut Connection) -> u16 {
    connection.send(call.bytes());
    connection.answer("GET").status
}

/// Keeps asking one gate for whatever tokens there are.
fn load(gate: usize, calls: &[Vec<Call>], targets: &Mutex<Vec<Arc<Target>>>, found: &Found) {
    let mut connection = calls[gate][0].open();
    let _ = connection.answer("GET");
    let mut turn = gate;
    loop {
        let target = {
            let targets = targets.lock().unwrap();
            if targets.is_empty() {
                return;
            }
            turn = turn.wrapping_mul(31).wrapping_add(7);
            Arc::clone(&targets[turn % targets.len()])
        };
        let place: usize = target.token_index();
        let asked = Instant::now();
        // Read before the request is sent: a deletion after this is not held against the gate.
        let deleted = *target.deleted.lock().unwrap();
        let status = send(&calls[gate][place], &mut connection);
        found.requests.fetch_add(1, Ordering::Relaxed);
        // Load, and not a siege: the servers have to run on the same cores.
        thread::sleep(LOAD_PAUSE);
        if status != 200 {
            continue;
        }
        found.admitted.fetch_add(1, Ordering::Relaxed);
        if let Some((at, by)) = deleted {
            if by == gate {
                found.on_the_same_gate.fetch_add(1, Ordering::Relaxed);
            } else {
                let late = asked.duration_since(at);
                let mut worst = found.worst_elsewhere.lock().unwrap();
                *worst = late.max(*worst);
            }
        }
    }
}

impl Target {
    fn token_index(&self) -> usize {
        self.token.split('#').nth(1).unwrap().parse().unwrap()
    }

    fn text(&self) -> &str {
        self.token.split('#').next().unwrap()
    }
}

/// C-01, C-08: with a load on every gate, and each token used on gates that did not make it.
#[test]
fn deletion_is_felt_at_once_here_and_within_the_bound_everywhere() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let fleet = Fleet::start(&vec![cluster.url("ckgate"); 3]);
    let gates = &fleet.gates;
    let all: Vec<Arc<Target>> = (0..DELETIONS + TOKENS)
        .map(|n| {
            let token = mint(&gates[n % 3], A, &["read_messages"]);
            Arc::new(Target { token: format!("{token}#{n}"), deleted: Mutex::default() })
        })
        .collect();
    let calls: Vec<Vec<Call>> = gates
        .iter()
        .map(|gate| all.iter().map(|target| read_call(gate, target.text())).collect())
        .collect();
    let targets = Mutex::new(all.clone());
    let found = Found::default();
    let mut lags = Vec::new();
    thread::scope(|scope| {
        for gate in 0..3 {
            let (calls, targets, found) = (&calls, &targets, &found);
            scope.spawn(move || load(gate, calls, targets, found));
        }
        // Whatever happens below, the load ends.
        let _end = EndOfLoad(&targets);
        for n in 0..DELETIONS {
            let (target, by) = (&all[n], (n * 7) % 3);
            // Cached everywhere.
            for gate_calls in &calls {
                // Not yet known here: the store has to answer, in its own time.
                within(STALENESS_MAX, "it is admitted", || gate_calls[n].send().status == 200);
            }
            assert_eq!(try_delete(&gates[by], target.text()).status, 200);
            let deleted = Instant::now();
            *target.deleted.lock().unwrap() = Some((deleted, by));
            assert_eq!(calls[by][n].send().status, 401, "the gate that answered");
            lags.extend(felt_elsewhere(&calls, n, by, deleted));
        }
    });
    lags.sort_unstable();
    let (p50, p99, worst) = (percentile(&lags, 50), percentile(&lags, 99), percentile(&lags, 100));
    let under_load = *found.worst_elsewhere.lock().unwrap();
    println!(
        "{} requests, {} admitted; {} deletions on three gates; last admission elsewhere after \
         the answer: p50 {p50:?}, p99 {p99:?}, worst {worst:?}; under load, worst {under_load:?}",
        found.requests.load(Ordering::Relaxed),
        found.admitted.load(Ordering::Relaxed),
        DELETIONS,
    );
    histogram(&lags);
    assert_eq!(found.on_the_same_gate.load(Ordering::Relaxed), 0, "admitted by the gate itself");
    assert!(found.requests.load(Ordering::Relaxed) > 1000, "there was no load");
    assert!(p99 <= FELT_P99_MAX, "p99 {p99:?}");
    assert!(worst.max(under_load) <= STALENESS_MAX, "worst {worst:?}, {under_load:?}");
}

/// Asks the other two gates in turn until both refuse; when each admitted for the last time.
fn felt_elsewhere(calls: &[Vec<Call>], n: usize, by: usize, deleted: Instant) -> Vec<Duration> {
    let mut lags = Vec::new();
    let mut others: Vec<(usize, Connection)> =
        (0..3).filter(|gate| *gate != by).map(|gate| (gate, calls[gate][n].open())).collect();
    let mut last = [Duration::ZERO; 3];
    // The requests that opened the connections count as sent now.
    let mut asked = deleted.elapsed();
    while !others.is_empty() {
        others.retain_mut(|(gate, connection)| {
            let status = connection.answer("GET").status;
            if status == 200 {
                last[*gate] = asked;
                connection.send(calls[*gate][n].bytes());
                return true;
            }
            assert_eq!(status, 401);
            lags.push(last[*gate]);
            false
        });
        asked = deleted.elapsed();
        assert!(asked < 2 * STALENESS_MAX, "never felt");
    }
    lags
}

fn histogram(lags: &[Duration]) {
    let bounds = [0, 1, 2, 5, 10, 20, 50, 100, 250, 1000, 3000];
    for pair in bounds.windows(2) {
        let within = |lag: &&Duration| (pair[0]..pair[1]).contains(&lag.as_millis());
        let count = lags.iter().filter(within).count();
        println!("{:>5} to {:>4} ms: {count:>4} {}", pair[0], pair[1], "#".repeat(count / 2));
    }
}

#[test]
fn open_streams_on_every_gate_are_cut_by_a_deletion_anywhere() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let fleet = Fleet::start(&vec![cluster.url("ckgate"); 3]);
    let mut lags = Vec::new();
    for n in 0..STREAMED_DELETIONS {
        let token = mint(&fleet.gates[n % 3], A, &["read_messages", "write_messages"]);
        let streams = fleet.gates.iter().map(|gate| open_stream(gate, &token));
        let streams: Vec<Connection> = streams.collect();
        let asked = Instant::now();
        let answered = AtomicBool::new(false);
        let ends: Vec<(Instant, String)> = thread::scope(|scope| {
            let waiting: Vec<_> = streams
                .into_iter()
                .map(|mut stream| scope.spawn(move || end_of(&mut stream)))
                .collect();
            assert_eq!(try_delete(&fleet.gates[(n + 1) % 3], &token).status, 200);
            answered.store(true, Ordering::SeqCst);
            waiting.into_iter().map(|waiting| waiting.join().unwrap()).collect()
        });
        for (at, code) in ends {
            assert_eq!(code, "token_revoked");
            lags.push(at.duration_since(asked));
        }
    }
    lags.sort_unstable();
    let (p50, worst) = (percentile(&lags, 50), percentile(&lags, 100));
    println!(
        "{} streams cut; from the request to the last event: p50 {p50:?}, worst {worst:?}",
        lags.len()
    );
    assert!(worst <= STALENESS_MAX + CUT_SLACK, "{worst:?}");
}
