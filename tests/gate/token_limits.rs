//! How much may be asked with one token: requests a minute, streams at once, length of a stream.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    A, Answer, Call, Connection, Gate, ORIGIN, OTHER_SERVER_KEY, Recorder, Reply, SERVER_KEY,
    Settings, Signal, TOKENS, agent_path, assert_refused, create, create_answer, edit, hang_up,
    says,
};

/// A token of this account with these limits of its own.
#[track_caller]
fn limited(gate: &Gate, server_key: &str, limits: &Value) -> String {
    let call = gate.call("POST", TOKENS).bearer(server_key).json(&with_limits(limits));
    let answer = call.send();
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn with_limits(limits: &Value) -> Value {
    let access = ["read_messages", "write_messages"];
    json!({
        "policy": [{"type": "agent", "id": A, "access": access}],
        "hostname": ORIGIN,
        "limits": limits,
    })
}

fn read(gate: &Gate, token: &str) -> Answer {
    gate.call("GET", &agent_path(A, "/messages")).token(token).send()
}

fn stream(gate: &Gate, token: &str) -> Call {
    gate.call("POST", &agent_path(A, "/messages/stream")).token(token).json(&says("hello"))
}

/// A gate before an upstream whose streams have one event and then wait for the signal.
fn before_endless_streams(settings: Settings<'_>) -> (Recorder, Gate, Signal) {
    let signal = Signal::new();
    let endless = Reply::stream().event("one").wait(&signal).last_chunk();
    let recorder = Recorder::with(move |request| {
        let streams = request.head.line.contains("/messages/stream");
        if streams { endless.clone() } else { Reply::json(200, &json!([])) }
    });
    let gate = Gate::start_with(&recorder, settings);
    (recorder, gate, signal)
}

/// Asks until the first refusal, which has to be the limit's: how many were admitted, and how long
/// to wait for the next.
#[track_caller]
fn use_up(gate: &Gate, token: &str) -> (usize, Duration) {
    for admitted in 0..1000 {
        let answer = read(gate, token);
        if answer.status != 200 {
            assert_refused(&answer, 429, "rate_limited");
            let seconds = answer.header("retry-after").unwrap().parse().unwrap();
            return (admitted, Duration::from_secs(seconds));
        }
    }
    panic!("a thousand requests, and no limit");
}

/// Opens streams until the first refusal, which has to be the limit's.
#[track_caller]
fn open_all(gate: &Gate, token: &str) -> Vec<Connection> {
    let mut open = Vec::new();
    while open.len() < 100 {
        let (head, connection) = stream(gate, token).start();
        if head.status != 200 {
            assert_refused(&stream(gate, token).send(), 429, "too_many_streams");
            assert!(head.header("retry-after").is_some());
            return open;
        }
        open.push(connection);
    }
    panic!("a hundred streams, and no limit");
}

/// One request in twelve seconds comes back: none, as long as the test runs.
#[test]
fn token_may_ask_as_often_as_its_limit_says_and_retry_after_is_true() {
    let gate = Gate::before_letta();
    let slow = limited(&gate, SERVER_KEY, &json!({"requests_per_minute": 5}));
    let (admitted, wait) = use_up(&gate, &slow);
    assert_eq!(admitted, 5);
    assert!((1..=13).contains(&wait.as_secs()), "{wait:?}");

    let quick = limited(&gate, SERVER_KEY, &json!({"requests_per_minute": 60}));
    let started = Instant::now();
    let (admitted, wait) = use_up(&gate, &quick);
    let come_back = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    assert!((60..=60 + come_back).contains(&admitted), "{admitted}");
    assert!((1..=2).contains(&wait.as_secs()), "{wait:?}");
    // The very thing under test: after so long, and not before, it is worth asking again.
    thread::sleep(wait);
    assert_eq!(read(&gate, &quick).status, 200);
}

/// Its cores share the limit: so many requests, whichever of them each comes to.
#[test]
fn limit_holds_over_many_connections_at_once() {
    let gate = Gate::before_letta_with(&[("server.workers", 4.into())]);
    let token = limited(&gate, SERVER_KEY, &json!({"requests_per_minute": 6}));
    let admitted: usize = thread::scope(|scope| {
        let client = || (0..5).filter(|_| read(&gate, &token).status == 200).count();
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(admitted, 6);
}

#[test]
fn tokens_limits_go_before_the_accounts_and_these_before_the_gates() {
    let settings = [
        ("limits.requests_per_minute_per_token", 9.into()),
        ("streams.per_token_max", 4.into()),
        ("streams.length_max", "1h".into()),
    ];
    let (_recorder, gate, signal) = before_endless_streams(&settings);
    edit(&gate, |table| {
        let mut limits = toml::Table::new();
        limits.insert("requests_per_minute".to_owned(), 6.into());
        limits.insert("concurrent_streams".to_owned(), 2.into());
        let other = table["accounts"][1].as_table_mut().unwrap();
        assert_eq!(other["name"].as_str(), Some("other"));
        other.insert("limits".to_owned(), limits.into());
    });
    hang_up(&gate);
    let own = json!({"requests_per_minute": 7, "concurrent_streams": 1});
    for (key, limits, requests, streams) in [
        (SERVER_KEY, Value::Null, 9, 4),
        (SERVER_KEY, own.clone(), 7, 1),
        (OTHER_SERVER_KEY, Value::Null, 6, 2),
        (OTHER_SERVER_KEY, own, 7, 1),
        // What is not said comes from one level up.
        (OTHER_SERVER_KEY, json!({"concurrent_streams": 1}), 6, 1),
    ] {
        let token = limited(&gate, key, &limits);
        assert_eq!(use_up(&gate, &token).0, requests, "{limits}");
        let token = limited(&gate, key, &limits);
        assert_eq!(open_all(&gate, &token).len(), streams, "{limits}");
    }
    signal.raise();
}

#[test]
fn stream_that_outlives_the_tokens_limit_ends_with_an_event_that_says_so() {
    let (recorder, gate, signal) = before_endless_streams(&[]);
    let token = limited(&gate, SERVER_KEY, &json!({"stream_seconds": 1}));
    let other = limited(&gate, SERVER_KEY, &json!({"stream_seconds": 3600}));
    let started = Instant::now();
    let (head, mut short) = stream(&gate, &token).start();
    let (_, mut long) = stream(&gate, &other).start();
    assert_eq!(head.status, 200);
    let read = short.rest();
    let lasted = started.elapsed();
    let last = read.strip_prefix("data: one\n\nevent: error\ndata: ");
    let last: Value = serde_json::from_str(last.unwrap_or_else(|| panic!("{read:?}"))).unwrap();
    assert_eq!(last["code"], "stream_too_long");
    assert!(!last["message"].as_str().unwrap().is_empty());
    assert!(lasted >= Duration::from_secs(1), "{lasted:?}");
    recorder.wait_for("the end of the stream's connection", |seen| {
        seen.connections.iter().any(|connection| connection.closed)
    });
    long.read_until("the first event", |read| read.ends_with("\n\n"));
    assert!(long.is_silent_for(Duration::from_millis(100)), "the other one goes on");
    assert_eq!(stream(&gate, &token).start().0.status, 200, "the next one may be opened");
    signal.raise();
}

#[test]
fn limits_are_echoed_listed_and_outlive_the_gate() {
    let mut gate = Gate::before_letta();
    let limits = json!({"requests_per_minute": 2, "concurrent_streams": 3, "stream_seconds": 4});
    let created = create(&gate, &with_limits(&limits));
    assert_eq!(created["limits"], limits);
    gate.restart();
    let listed = gate.call("GET", TOKENS).bearer(SERVER_KEY).send().json();
    assert_eq!(listed["tokens"][0]["limits"], limits);
    assert_eq!(use_up(&gate, created["token"].as_str().unwrap()).0, 2);
    // Whoever sets none gets Letta's own answer.
    for none in [json!({}), Value::Null, json!({"stream_seconds": null})] {
        assert_eq!(create(&gate, &with_limits(&none)).get("limits"), None, "{none}");
    }
}

#[test]
fn limits_that_make_no_sense_are_refused_by_name() {
    let gate = Gate::before_letta();
    for (limits, named) in [
        (json!({"requests_per_minute": 0}), "limits.requests_per_minute"),
        (json!({"requests_per_minute": 100_000_001}), "limits.requests_per_minute"),
        (json!({"concurrent_streams": 0}), "limits.concurrent_streams"),
        (json!({"concurrent_streams": 10_001}), "limits.concurrent_streams"),
        (json!({"stream_seconds": 86_401}), "limits.stream_seconds"),
        (json!({"stream_seconds": -1}), "limits.stream_seconds"),
        (json!({"stream_seconds": 1.5}), "limits.stream_seconds"),
        (json!({"requests_per_minute": "5"}), "limits.requests_per_minute"),
        (json!({"requests_per_hour": 5}), "requests_per_hour"),
        (json!([1, 2, 3]), "limits"),
        (json!("none"), "limits"),
    ] {
        let answer = create_answer(&gate, &with_limits(&limits));
        assert_refused(&answer, 400, "invalid_request");
        assert!(answer.message().contains(named), "{limits}: {}", answer.message());
    }
}

/// Whoever can make the gate read its configuration again gains nothing by it.
#[test]
fn what_is_used_up_stays_used_up_over_a_reload() {
    let gate = Gate::before_letta();
    let token = limited(&gate, SERVER_KEY, &json!({"requests_per_minute": 3}));
    assert_eq!(use_up(&gate, &token).0, 3);
    hang_up(&gate);
    assert_refused(&read(&gate, &token), 429, "rate_limited");
}
