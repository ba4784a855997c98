//! The store goes away in every way there is: nothing is admitted too late, nothing comes back to
//! life, and all is well again by itself.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Stop, url, within};
use crate::fleet::{
    CUT_SLACK, Fleet, STALENESS_MAX, assert_felt, end_of, open_stream, read, try_delete,
};
use crate::harness::{A, Gate, assert_refused, mint};
use crate::relay::Relay;

/// Long enough for every deadline on the way to pass, and for a new try after it.
const RECOVERY: Duration = Duration::from_secs(30);
/// As long as a request may hang on its way to a refusal: the store's deadlines one after another.
const REFUSAL: Duration = Duration::from_secs(10);

fn writer(gate: &Gate) -> String {
    mint(gate, A, &["read_messages", "write_messages"])
}

#[track_caller]
fn assert_recovers(gates: &[&Gate], live: &str, dead: &str) {
    for gate in gates {
        within(RECOVERY, "a live token is admitted again", || read(gate, live).status == 200);
        within(STALENESS_MAX, "a deleted one is not", || read(gate, dead).status == 401);
    }
    // And the feed is followed again: a deletion here is felt there.
    let token = writer(gates[0]);
    for gate in gates {
        assert_eq!(read(gate, &token).status, 200);
    }
    assert_eq!(try_delete(gates[0], &token).status, 200);
    for gate in gates {
        within(STALENESS_MAX, "a new deletion is felt", || read(gate, &token).status == 401);
    }
}

/// C-07: a cable is pulled; one gate hears nothing more, and nobody tells it so.
#[test]
fn gate_that_is_cut_off_admits_nothing_beyond_the_bound() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let relay = Relay::to(cluster.port());
    let urls = [url(&[relay.port()], "ckgate"), cluster.url("ckgate")];
    let fleet = Fleet::start(&urls);
    let [far, near] = &fleet.gates[..] else { panic!("two gates") };
    let (dead, live) = (writer(near), writer(near));
    for gate in [far, near] {
        assert_eq!(read(gate, &dead).status, 200);
        assert_eq!(read(gate, &live).status, 200);
    }
    let mut dead_stream = open_stream(far, &dead);
    let mut live_stream = open_stream(far, &live);
    let mut near_stream = open_stream(near, &live);
    let cut = Instant::now();
    relay.cut();
    assert_eq!(try_delete(near, &dead).status, 200);
    let deleted = Instant::now();
    assert_refused(&read(near, &dead), 401, "token_invalid");

    let (ends, statuses) = std::thread::scope(|scope| {
        let ends = scope.spawn(|| [end_of(&mut dead_stream), end_of(&mut live_stream)]);
        let watched = 2 * STALENESS_MAX;
        let statuses = assert_felt(far, &dead, deleted, STALENESS_MAX, watched);
        (ends.join().unwrap(), statuses)
    });
    println!(
        "cut off: {statuses:?}; streams: {:?}",
        ends.each_ref().map(|(at, code)| (at.duration_since(deleted), code))
    );
    assert_eq!(statuses.last(), Some(&503), "what cannot be known is not admitted: {statuses:?}");
    for (at, code) in ends {
        assert_eq!(code, "store_unavailable");
        assert!(at.duration_since(cut) <= STALENESS_MAX + CUT_SLACK, "{:?}", at - cut);
    }
    assert_refused(&read(far, &live), 503, "store_unavailable");
    assert_eq!(read(near, &live).status, 200, "the other gate goes on");
    assert!(near_stream.is_silent_for(Duration::from_millis(200)), "and so do its streams");
    relay.mend();
    assert_recovers(&[far, near], &live, &dead);
}

/// The feed cannot be read, and the store still answers: streams run on, for as long as it does.
#[test]
fn streams_run_on_while_the_store_still_answers_for_their_tokens() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let fleet = Fleet::start(&vec![cluster.url("ckgate"); 2]);
    let [one, two] = &fleet.gates[..] else { panic!("two gates") };
    let (dead, live) = (writer(one), writer(one));
    let mut dead_stream = open_stream(one, &dead);
    let mut live_stream = open_stream(one, &live);
    cluster.sql("ckgate", "ALTER TABLE deletions RENAME COLUMN transaction TO gone");
    within(RECOVERY, "the feed fails", || {
        one.log_lines().iter().any(|line| line.contains("feed of deletions cannot be read"))
    });
    // Somebody removes the record by hand, since no gate can delete it now.
    cluster
        .sql("ckgate", "DELETE FROM tokens WHERE id = (SELECT id FROM tokens ORDER BY id LIMIT 1)");
    let deleted = Instant::now();
    let (at, code) = end_of(&mut dead_stream);
    assert_eq!(code, "token_revoked");
    assert!(at.duration_since(deleted) <= STALENESS_MAX + CUT_SLACK);
    assert!(live_stream.is_silent_for(2 * STALENESS_MAX), "the live one was cut");
    assert_eq!(read(one, &live).status, 200);
    cluster.sql("ckgate", "ALTER TABLE deletions RENAME COLUMN gone TO transaction");
    assert_recovers(&[one, two], &live, &dead);
}

/// What every way of losing the server has in common.
#[track_caller]
fn assert_survives(
    cluster: &mut Cluster,
    urls: &[String],
    break_it: impl Fn(&mut Cluster),
    bring_back: impl Fn(&mut Cluster),
) {
    let fleet = Fleet::start(urls);
    let gates: Vec<&Gate> = fleet.gates.iter().collect();
    let (dead, live, doubtful) = (writer(gates[0]), writer(gates[0]), writer(gates[0]));
    for gate in &gates {
        for token in [&dead, &live, &doubtful] {
            assert_eq!(read(gate, token).status, 200);
        }
    }
    let mut stream = open_stream(gates[1], &live);
    assert_eq!(try_delete(gates[0], &dead).status, 200);
    let deleted = Instant::now();
    break_it(cluster);
    let lost = Instant::now();

    let (at, code) = std::thread::scope(|scope| {
        let end = scope.spawn(|| end_of(&mut stream));
        // A deletion that is not written is not acknowledged.
        let refused = try_delete(gates[0], &doubtful);
        assert_refused(&refused, 503, "store_unavailable");
        let watched = STALENESS_MAX + Duration::from_secs(1);
        assert_felt(gates[1], &dead, deleted, STALENESS_MAX, watched);
        for gate in &gates {
            let asked = Instant::now();
            assert_refused(&read(gate, &live), 503, "store_unavailable");
            assert!(asked.elapsed() < REFUSAL, "refused after {:?}", asked.elapsed());
        }
        end.join().unwrap()
    });
    assert_eq!(code, "store_unavailable");
    assert!(at.duration_since(lost) <= STALENESS_MAX + CUT_SLACK, "{:?}", at - lost);

    bring_back(cluster);
    assert_recovers(&gates, &live, &dead);
    // It was asked for and not acknowledged: either is right, and the same for all.
    let everywhere: Vec<u16> = gates.iter().map(|gate| read(gate, &doubtful).status).collect();
    assert!(everywhere.windows(2).all(|pair| pair[0] == pair[1]), "{everywhere:?}");
}

#[test]
fn gates_survive_a_server_that_is_stopped() {
    let mut cluster = Cluster::start();
    cluster.create_database("ckgate");
    let urls = vec![cluster.url("ckgate"); 3];
    assert_survives(&mut cluster, &urls, |c| c.stop(Stop::Fast), Cluster::launch);
}

#[test]
fn gates_survive_a_server_that_crashes() {
    let mut cluster = Cluster::start();
    cluster.create_database("ckgate");
    let urls = vec![cluster.url("ckgate"); 3];
    assert_survives(&mut cluster, &urls, |c| c.stop(Stop::Immediate), Cluster::launch);
}

/// Every connection is there, and none answers.
#[test]
fn gates_survive_a_server_that_freezes() {
    let mut cluster = Cluster::start();
    cluster.create_database("ckgate");
    let urls = vec![cluster.url("ckgate"); 3];
    assert_survives(&mut cluster, &urls, |c| c.freeze(), |c| c.thaw());
}

/// Over before anybody has to be refused: what was acknowledged stays, what is live goes on.
#[test]
fn gates_survive_a_restart() {
    let mut cluster = Cluster::start();
    cluster.create_database("ckgate");
    let fleet = Fleet::start(&vec![cluster.url("ckgate"); 3]);
    let gates: Vec<&Gate> = fleet.gates.iter().collect();
    let (dead, live) = (writer(gates[0]), writer(gates[0]));
    for gate in &gates {
        assert_eq!(read(gate, &dead).status, 200);
    }
    assert_eq!(try_delete(gates[2], &dead).status, 200);
    cluster.stop(Stop::Immediate);
    cluster.launch();
    assert_recovers(&gates, &live, &dead);
}

/// The server is lost for good, and its standby takes over.
#[test]
fn gates_follow_a_failover_and_nothing_is_resurrected() {
    let mut primary = Cluster::start();
    primary.create_database("ckgate");
    let standby = primary.standby();
    // Acknowledged is what both have.
    primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.sql("postgres", "SELECT pg_reload_conf()");
    within(RECOVERY, "the standby is synchronous", || {
        primary.sql("postgres", "SELECT max(sync_state) FROM pg_stat_replication") == "sync"
    });
    let both = url(&[primary.port(), standby.port()], "ckgate");
    let fleet = Fleet::start(&vec![both; 3]);
    let gates: Vec<&Gate> = fleet.gates.iter().collect();
    let (dead, live) = (writer(gates[0]), writer(gates[0]));
    let mut later = Vec::new();
    for gate in &gates {
        assert_eq!(read(gate, &dead).status, 200);
    }
    for _ in 0..20 {
        let token = writer(gates[1]);
        assert_eq!(try_delete(gates[1], &token).status, 200);
        later.push(token);
    }
    assert_eq!(try_delete(gates[0], &dead).status, 200);
    let deleted = Instant::now();
    primary.stop(Stop::Immediate);
    assert_felt(gates[2], &dead, deleted, STALENESS_MAX, STALENESS_MAX + Duration::from_secs(1));
    standby.promote();
    assert_recovers(&gates, &live, &dead);
    for token in &later {
        for gate in &gates {
            assert_refused(&read(gate, token), 401, "token_invalid");
        }
    }
}
