//! Exchanging the token key of running gates: nobody is refused meanwhile who should not be.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::cluster::Cluster;
use crate::fleet::{Fleet, read};
use crate::harness::{
    A, Gate, SERVER_KEY, TOKENS, assert_refused, delete, edit, eventually, field, hang_up, mint,
    section,
};
use crate::migrate::ckgate;

fn hold(fleet: &Fleet, gate: &Gate, keys: &[&str]) {
    edit(gate, |table| {
        section(table, "tokens").insert("keys".to_owned(), fleet.keys(keys));
    });
    hang_up(gate);
}

/// What `ckgate key list` says of a gate's configuration and its store.
#[track_caller]
fn listed(gate: &Gate) -> Vec<String> {
    let config = gate.directory().join("ckgate.toml");
    let arguments = [Path::new("key"), Path::new("list"), Path::new("--config"), &config];
    let output = ckgate(&arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

/// Keeps asking every gate for every live token; all have to be admitted.
fn load(gates: &[Gate], live: &Mutex<Vec<String>>, stop: &AtomicBool, asked: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let tokens = live.lock().unwrap();
        for token in &*tokens {
            for gate in gates {
                let answer = read(gate, token);
                assert_eq!(answer.status, 200, "{}", answer.text());
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(tokens);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn key_is_exchanged_on_running_gates_and_no_live_token_is_refused() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let fleet = Fleet::start(&vec![cluster.url("ckgate"); 3]);
    let gates = &fleet.gates;
    let old = mint(&gates[0], A, &["read_messages"]);
    let live = Mutex::new(vec![old.clone()]);
    let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let going_on = || {
        let before = asked.load(Ordering::Relaxed);
        eventually("the load goes on", || asked.load(Ordering::Relaxed) > before + 30);
    };
    let mut new = Vec::new();
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| load(gates, &live, &stop, &asked));
        let stopping = Stop(&stop);
        going_on();
        let [only] = &listed(&gates[0])[..] else { panic!("one key") };
        assert!(only.starts_with("key 1: mints; 1 live token, the last expires "), "{only}");

        // 1. add, one gate after another.
        for gate in gates {
            hold(&fleet, gate, &["key-1", "key-2"]);
            live.lock().unwrap().push(mint(gate, A, &["read_messages"]));
            going_on();
        }
        let lines = listed(&gates[0]);
        assert!(lines[0].starts_with("key 1: mints; 4 live tokens"), "{lines:?}");
        assert!(lines[1].starts_with("key 2: verifies; no live token"), "{lines:?}");

        // 2. mint, one gate after another: what one has made the others know.
        for gate in gates {
            hold(&fleet, gate, &["key-2", "key-1"]);
            let token = mint(gate, A, &["read_messages"]);
            live.lock().unwrap().push(token.clone());
            new.push(token);
            going_on();
        }
        let lines = listed(&gates[2]);
        assert!(lines[0].starts_with("key 2: mints; 3 live tokens"), "{lines:?}");
        assert!(lines[1].starts_with("key 1: verifies; 4 live tokens, the last"), "{lines:?}");

        // 3. retire, once the old ones are gone.
        let retired: Vec<String> = live.lock().unwrap().drain(..4).collect();
        for token in retired.iter().skip(1) {
            delete(&gates[0], token);
        }
        let lines = listed(&gates[1]);
        assert!(lines[1].starts_with("key 1: verifies; 1 live token, the last"), "{lines:?}");
        for gate in gates {
            hold(&fleet, gate, &["key-2"]);
            going_on();
        }
        drop(stopping);
        loading.join().unwrap();
    });
    // The one that nobody waited for: refused everywhere, and the log says which key is missing.
    for gate in gates {
        assert_refused(&read(gate, &old), 401, "token_invalid");
        let said = gate.log().wait_for("which key is missing", |line| {
            let detail = field(line, "deny.detail").or_else(|| field(line, "detail"))?;
            detail.as_str()?.contains("token key 1, which this gate does not hold").then_some(())
        });
        assert!(said.is_some());
        assert!(new.iter().all(|token| read(gate, token).status == 200));
    }
    let lines = listed(&gates[0]);
    assert!(lines[0].starts_with("key 2: mints; 3 live tokens"), "{lines:?}");
    assert!(lines[1].starts_with("key 1: NOT HELD; 1 live token, the last"), "{lines:?}");
    println!("{} requests of live tokens, all admitted", asked.load(Ordering::Relaxed));
}

/// One gate was forgotten when the key was added.
#[test]
fn gate_that_lacks_the_minting_key_refuses_its_tokens_alone_and_says_which() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let mut fleet = Fleet::start(&[cluster.url("ckgate")]);
    let ahead = fleet.gate(&cluster.url("ckgate"), &["key-2", "key-1"], &[]);
    fleet.gates.push(ahead);
    let [behind, ahead] = &fleet.gates[..] else { panic!("two gates") };
    let (old, new) = (mint(behind, A, &["read_messages"]), mint(ahead, A, &["read_messages"]));
    assert_eq!((read(ahead, &old).status, read(behind, &old).status), (200, 200));
    assert_eq!(read(ahead, &new).status, 200);
    assert_refused(&read(behind, &new), 401, "token_invalid");
    let said = behind.log().wait_for("which key is missing", |line| {
        line.contains("token key 2, which this gate does not hold").then_some(())
    });
    assert!(said.is_some());
    // It neither lists what it cannot derive, nor deletes what it cannot verify.
    let tokens = |gate: &Gate| {
        let list = gate.call("GET", TOKENS).bearer(SERVER_KEY).send().json();
        list["tokens"].as_array().unwrap().len()
    };
    assert_eq!((tokens(behind), tokens(ahead)), (1, 2));
    let foreign = behind.call("DELETE", &format!("{TOKENS}/{new}")).bearer(SERVER_KEY).send();
    assert_eq!(foreign.status, 404);
    assert_eq!(read(ahead, &new).status, 200);
    hold(&fleet, behind, &["key-1", "key-2"]);
    assert_eq!(read(behind, &new).status, 200);
}
