//! The promise where notifications do not come: switched off, or lost on their way.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, url, within};
use crate::fleet::{
    CUT_SLACK, Fleet, STALENESS_MAX, end_of, open_stream, read, read_call, try_delete,
};
use crate::harness::{A, Gate, mint};
use crate::relay::Relay;

/// The feed is read once a second without being told; and a busy machine.
const POLLED: Duration = Duration::from_millis(1800);

/// Deletes at one gate what the other has cached; how long the other goes on admitting.
#[track_caller]
fn lag(by: &Gate, at: &Gate) -> Duration {
    let token = mint(by, A, &["read_messages"]);
    assert_eq!(read(at, &token).status, 200);
    assert_eq!(try_delete(by, &token).status, 200);
    let deleted = Instant::now();
    assert_eq!(read(by, &token).status, 401, "the gate that answered");
    let (call, mut last) = (read_call(at, &token), Duration::ZERO);
    loop {
        let asked = deleted.elapsed();
        if call.send().status != 200 {
            return last;
        }
        last = asked;
        assert!(last <= STALENESS_MAX, "admitted {last:?} after the deletion");
    }
}

fn listening(gate: &Gate) -> Option<u64> {
    let text = gate.admin_get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix("ckgate_feed_listening "));
    value.map(|value| value.parse().unwrap())
}

#[test]
fn promise_holds_without_notifications() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let fleet =
        Fleet::start_with(&vec![cluster.url("ckgate"); 2], &[("store.notify", false.into())]);
    let [one, two] = &fleet.gates[..] else { panic!("two gates") };
    assert_eq!(listening(one), None, "it does not pretend to listen");
    let lags: Vec<Duration> = (0..6).map(|_| lag(one, two)).collect();
    println!("polled: {lags:?}");
    assert!(lags.iter().all(|lag| *lag <= POLLED), "{lags:?}");
    assert!(lags.iter().any(|lag| *lag > Duration::from_millis(50)), "somebody has told: {lags:?}");
    let token = mint(one, A, &["read_messages", "write_messages"]);
    let mut stream = open_stream(two, &token);
    assert_eq!(try_delete(one, &token).status, 200);
    let deleted = Instant::now();
    let (ended, code) = end_of(&mut stream);
    assert_eq!(code, "token_revoked");
    assert!(ended.duration_since(deleted) <= POLLED + CUT_SLACK);
    let listeners = "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'";
    assert_eq!(cluster.sql("postgres", listeners), "0");
}

/// Questions take one way, notifications another; whichever breaks, the promise holds.
#[test]
fn listening_has_a_way_of_its_own_and_losing_it_costs_only_the_wake_up() {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let (questions, notifications) = (Relay::to(cluster.port()), Relay::to(cluster.port()));
    let fleet = Fleet::start_with(
        &[url(&[questions.port()], "ckgate"), cluster.url("ckgate")],
        &[("store.listen_url", url(&[notifications.port()], "ckgate").into())],
    );
    let [one, two] = &fleet.gates[..] else { panic!("two gates") };
    within(STALENESS_MAX, "both listen", || (listening(one), listening(two)) == (Some(1), Some(1)));
    let told = lag(two, one);
    assert!(told <= Duration::from_millis(700), "nobody has told: {told:?}");

    notifications.cut();
    within(3 * STALENESS_MAX, "a dead peer is noticed", || listening(one) == Some(0));
    for _ in 0..3 {
        let polled = lag(two, one);
        assert!(polled <= POLLED, "{polled:?}");
    }
    let said = one.log_lines().iter().any(|line| line.contains("no longer told of deletions"));
    assert!(said, "the log says nothing");
    notifications.mend();
    within(3 * STALENESS_MAX, "it listens again", || listening(one) == Some(1));
    assert!(lag(two, one) <= Duration::from_millis(700));

    // The other way round: told of everything, able to read nothing.
    let token = mint(two, A, &["read_messages"]);
    assert_eq!(read(one, &token).status, 200);
    questions.cut();
    assert_eq!(try_delete(two, &token).status, 200);
    let deleted = Instant::now();
    while deleted.elapsed() < STALENESS_MAX + Duration::from_secs(1) {
        let late = deleted.elapsed();
        let status = read(one, &token).status;
        assert!(status != 200 || late <= STALENESS_MAX, "admitted {late:?} after the deletion");
    }
    assert_eq!(read(one, &token).status, 503);
    questions.mend();
    within(4 * STALENESS_MAX, "it knows again", || read(one, &token).status == 401);
}
