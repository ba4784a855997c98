//! A token's limits where gates share a store: equal parts, and never more than the whole.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Cluster, within};
use crate::fleet::{Fleet, read};
use crate::harness::{
    A, Connection, Gate, ORIGIN, SERVER_KEY, TOKENS, agent_path, assert_refused, create, says,
};

/// A gate that joins or goes is counted within 10 s; and a busy machine.
const COUNTED: Duration = Duration::from_secs(20);

fn limited(gate: &Gate, limits: &Value) -> String {
    let access = ["read_messages", "write_messages"];
    let policy = json!([{"type": "agent", "id": A, "access": access}]);
    let created = create(gate, &json!({"policy": policy, "hostname": ORIGIN, "limits": limits}));
    created["token"].as_str().unwrap().to_owned()
}

/// How many requests a gate admits at once, until it refuses for the limit's sake.
#[track_caller]
fn burst(gate: &Gate, token: &str) -> usize {
    for admitted in 0..100 {
        let answer = read(gate, token);
        if answer.status != 200 {
            assert_refused(&answer, 429, "rate_limited");
            return admitted;
        }
    }
    panic!("a hundred requests, and no limit");
}

/// Waits until each of these gates knows how many they are: six requests are shared equally.
#[track_caller]
fn wait_until_counted(gates: &[&Gate]) {
    let each = 6 / gates.len();
    within(COUNTED, "the gates have counted each other", || {
        let token = limited(gates[0], &json!({"requests_per_minute": 6}));
        gates.iter().all(|gate| burst(gate, &token) == each)
    });
}

fn open_streams(gate: &Gate, token: &str) -> Vec<Connection> {
    let mut open = Vec::new();
    loop {
        let call = gate.call("POST", &agent_path(A, "/messages/stream")).token(token);
        let (head, connection) = call.json(&says("hello")).start();
        if head.status != 200 {
            assert_eq!(head.status, 429);
            return open;
        }
        open.push(connection);
    }
}

#[test]
fn gates_together_admit_the_limit_and_count_who_joins_and_goes() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let mut fleet = Fleet::start(&vec![cluster.url("ckgate"); 3]);
    {
        let gates: Vec<&Gate> = fleet.gates.iter().collect();
        wait_until_counted(&gates);
        // Nine a minute: nothing comes back while this runs.
        let token = limited(gates[0], &json!({"requests_per_minute": 9}));
        let admitted: Vec<usize> = gates.iter().map(|gate| burst(gate, &token)).collect();
        assert_eq!(admitted, [3, 3, 3]);
        let token = limited(gates[1], &json!({"concurrent_streams": 7}));
        let open: Vec<Vec<Connection>> =
            gates.iter().map(|gate| open_streams(gate, &token)).collect();
        assert_eq!(open.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2], "never more than 7");
        // More gates than there are to share: one each, which is the stated error.
        let token = limited(gates[2], &json!({"requests_per_minute": 1, "concurrent_streams": 1}));
        let admitted: Vec<usize> = gates.iter().map(|gate| burst(gate, &token)).collect();
        assert_eq!(admitted, [1, 1, 1]);
    }
    // One goes without a word.
    drop(fleet.gates.pop());
    wait_until_counted(&fleet.gates.iter().collect::<Vec<_>>());
    // And one comes.
    let joined = fleet.gate(&cluster.url("ckgate"), &["key-1"], &[]);
    fleet.gates.push(joined);
    wait_until_counted(&fleet.gates.iter().collect::<Vec<_>>());
    assert_eq!(cluster.sql("ckgate", "SELECT count(*) >= 3 FROM gates"), "t");
}

#[test]
fn gates_that_share_nothing_admit_all_of_it_each() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let settings = [("limits.shared_by", "gate".into())];
    let fleet = Fleet::start_with(&vec![cluster.url("ckgate"); 2], &settings);
    let token = limited(&fleet.gates[0], &json!({"requests_per_minute": 4}));
    let admitted: Vec<usize> = fleet.gates.iter().map(|gate| burst(gate, &token)).collect();
    assert_eq!(admitted, [4, 4]);
    assert_eq!(cluster.sql("ckgate", "SELECT count(*) FROM gates"), "0");
}

#[test]
fn gates_count_what_a_token_was_used_for_together() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let fleet = Fleet::start(&vec![cluster.url("ckgate"); 2]);
    let token = limited(&fleet.gates[0], &Value::Null);
    for (gate, times) in fleet.gates.iter().zip([2, 3]) {
        for _ in 0..times {
            assert_eq!(read(gate, &token).status, 200);
        }
    }
    for gate in &fleet.gates {
        within(COUNTED, "both gates show what both have counted", || {
            let list = gate.call("GET", &format!("{TOKENS}?usage=true")).bearer(SERVER_KEY);
            let usage = &list.send().json()["tokens"][0]["usage"];
            assert_eq!(usage["write_messages"], json!({"requests": 0, "last_used_at": null}));
            usage["read_messages"]["requests"] == 5
        });
    }
}
