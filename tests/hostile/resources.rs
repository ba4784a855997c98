//! Callers that are slow, many, or large: each has a limit, and the others are served all the while.

use std::time::{Duration, Instant};

use crate::harness::{
    A, Connection, Gate, ORIGIN, Recorder, Reply, SERVER_KEY, Signal, TOKENS, agent_path,
    eventually, mint, says,
};
use crate::process::Process;
use crate::stage::{Stage, metric};

/// A fresh caller is served within this while others misbehave; generous, for slow machines.
const PROMPT: Duration = Duration::from_secs(2);

#[track_caller]
fn assert_prompt(stage: &Stage) {
    let began = Instant::now();
    stage.still_serves();
    assert!(began.elapsed() < PROMPT, "a fresh caller waited {:?}", began.elapsed());
}

/// D-01: a head that goes on for ever, a byte at a time, has the same deadline as one that stops.
#[test]
fn slow_heads_end_at_their_deadline_and_hold_nobody_up() {
    let stage = Stage::set_with(&[("limits.header_timeout", "1s".into())]);
    let began = Instant::now();
    let mut slow: Vec<Connection> =
        std::iter::repeat_with(|| Connection::open(stage.gate.public())).take(200).collect();
    for (number, connection) in slow.iter_mut().enumerate() {
        let head = stage.head(&format!("GET {} HTTP/1.1", agent_path(A, "/messages")), "X-A: ");
        connection.send(&head[..head.len() * (number % 10) / 10]);
    }
    assert_prompt(&stage);
    // One goes on sending; that moves its deadline not at all.
    let mut dripping = slow.pop().unwrap();
    dripping.send("GET /");
    eventually("the dripping head is given up", || {
        dripping.send("x");
        !dripping.is_silent_for(Duration::from_millis(10))
    });
    for mut connection in slow {
        assert!(connection.until_close().is_empty());
    }
    assert!(began.elapsed() >= Duration::from_millis(900), "too early: {:?}", began.elapsed());
    eventually("all are counted out", || stage.metric("ckgate_connections") <= 1);
    stage.still_serves();
}

/// D-01 on a connection that has served before: its next head has a deadline from its first byte.
#[test]
fn second_head_has_a_deadline_as_well() {
    let stage = Stage::set_with(&[("limits.header_timeout", "300ms".into())]);
    let mut connection = Connection::open(stage.gate.public());
    connection.send(stage.canary());
    assert_eq!(connection.answer("GET").status, 200);
    connection.send("GET /v1");
    connection.assert_closed();
    stage.still_serves();
}

/// D-01: idle connections are kept for a while and then closed, without a word.
#[test]
fn idle_connections_are_closed_in_the_end() {
    let stage = Stage::set_with(&[("limits.keep_alive_timeout", "1s".into())]);
    let mut connection = Connection::open(stage.gate.public());
    connection.send(stage.canary());
    assert_eq!(connection.answer("GET").status, 200);
    connection.assert_closed();
}

/// D-02: a body that trickles in is given up by its deadline where it is inspected.
#[test]
fn trickling_body_is_given_up() {
    let stage = Stage::set_with(&[("limits.body_timeout", "1s".into())]);
    for framing in ["Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"] {
        let mut connection = Connection::open(stage.gate.public());
        connection.send(stage.post(framing));
        let piece = if framing.starts_with('C') { " " } else { "1\r\n \r\n" };
        eventually("the body is given up", || {
            connection.send(piece);
            !connection.is_silent_for(Duration::from_millis(20))
        });
        assert_eq!(connection.answer("POST").status, 408);
    }
    stage.recorder.assert_untouched();
    assert_prompt(&stage);
}

/// D-02: a body that is passed on unread must keep a pace; below it the upstream's request is dropped.
#[test]
fn passed_body_below_the_minimum_rate_is_given_up() {
    let stage = Stage::set_with(&[("limits.body_rate_min", 1_000_000.into())]);
    let line = "POST /v1/folders/ HTTP/1.1";
    let head = stage.head_as(SERVER_KEY, line, "Content-Length: 100000\r\n\r\n");
    let mut connection = Connection::open(stage.gate.public());
    connection.send(head + "beginning");
    let answer = connection.answer("POST");
    assert!(matches!(answer.status, 408 | 502), "{}: {}", answer.status, answer.text());
    stage.recorder.wait_for("the end", |seen| seen.connections[0].closed);
    assert!(stage.recorder.requests().is_empty());
}

/// D-02: who reads nothing of an answer is let go; who reads a stream slowly is not.
#[test]
fn reader_that_takes_nothing_is_let_go_and_a_slow_one_is_not() {
    let stage = Stage::set_with(&[("limits.write_stall_timeout", "1s".into())]);
    let line = format!("POST {} HTTP/1.1", agent_path(A, "/messages/stream"));
    let body = says("hello").to_string();
    let call = stage.head_as(
        &stage.writer,
        &line,
        &format!("Content-Length: {}\r\n\r\n{body}", body.len()),
    );
    // More than all the buffers on the way can hold.
    let flood = (0..40).fold(Reply::stream(), |reply, _| reply.event(&"x".repeat(1 << 20)));
    stage.recorder.answer_next(flood);
    let mut stalled = Connection::open(stage.gate.public());
    stalled.send(&call);
    stage.recorder.wait_for_requests(1);
    stage.recorder.wait_for("the upstream is let go", |seen| seen.connections[0].closed);

    // A stream in which nothing happens for longer than that is nobody's fault.
    let signal = Signal::new();
    let quiet = Reply::stream().event("one").wait(&signal).event("two").last_chunk();
    stage.recorder.answer_next(quiet);
    let mut patient = Connection::open(stage.gate.public());
    patient.send(&call);
    assert_eq!(patient.answer_head().status, 200);
    patient.read_until("the first event", |text| text.contains("one"));
    assert!(patient.is_silent_for(Duration::from_millis(1500)), "nothing happens");
    signal.raise();
    assert!(patient.rest().contains("two"));

    // Nor is reading a large stream in small sips.
    let large = (0..10).fold(Reply::stream(), |reply, _| reply.event(&"y".repeat(1 << 20)));
    stage.recorder.answer_next(large.last_chunk());
    let mut sipping = Connection::open(stage.gate.public());
    sipping.send(&call);
    assert_eq!(sipping.answer_head().status, 200);
    let mut read = 0;
    while let Some(piece) = sipping.piece() {
        read += piece.data.len();
        sipping.is_silent_for(Duration::from_millis(1));
    }
    assert!(read > 10 << 20, "{read} bytes arrived");
    drop(stalled);
}

/// D-02: a range header, however long, is nothing to the gate.
#[test]
fn ranges_are_neither_read_nor_passed_on() {
    let stage = Stage::set();
    let ranges: Vec<String> = (0..1000).map(|at| format!("5-{at}")).collect();
    let call = stage.gate.call("GET", &agent_path(A, "/messages")).token(&stage.reader);
    let answer = call.header("Range", &format!("bytes=0-,{}", ranges.join(","))).send();
    assert_eq!(answer.status, 200);
    assert!(stage.recorder.only_request().header("range").is_none());
}

/// D-03: out of descriptors, the gate sheds, does not spin, and serves again as soon as there are some.
#[test]
fn gate_without_descriptors_sheds_rests_and_recovers() {
    let stage = Stage::set_with(&[("limits.header_timeout", "2s".into())]);
    let process = Process::of(&stage.gate);
    process.limit_descriptors(process.descriptors() + 20);
    let lines = stage.gate.log_lines().len();
    let idle: Vec<Connection> =
        std::iter::repeat_with(|| Connection::open(stage.gate.public())).take(300).collect();
    eventually("it has run out", || {
        stage.gate.log_lines().iter().any(|line| line.contains("cannot accept"))
    });
    let (cpu, began) = (process.cpu_time(), Instant::now());
    let mut first = idle.into_iter();
    // Their heads never come: waiting for one of them to be closed is waiting for the deadline.
    assert!(first.next().unwrap().until_close().is_empty());
    let busy = process.cpu_time().saturating_sub(cpu);
    assert!(busy < began.elapsed() / 2 + Duration::from_millis(200), "{busy:?} of work while idle");
    drop(first);
    eventually("it serves again", || {
        let mut connection = Connection::open(stage.gate.public());
        connection.send(stage.get(&agent_path(A, "/messages")));
        connection.until_first_bytes().starts_with(b"HTTP/1.1 200")
    });
    let written = stage.gate.log_lines().len() - lines;
    assert!(written < 50, "{written} lines about it");
}

/// D-03: started with few descriptors, it takes no more connections than it can serve, and those that
/// it took are served while others are shed.
#[test]
fn gate_with_few_descriptors_serves_whom_it_took() {
    let recorder = Recorder::start();
    let gate = Gate::start_within(&recorder, 256);
    let token = mint(&gate, A, &["read_messages"]);
    let call = gate.call("GET", &agent_path(A, "/messages")).token(&token);
    let mut served: Vec<Connection> =
        std::iter::repeat_with(|| Connection::open(gate.public())).take(30).collect();
    for connection in &mut served {
        assert_eq!(call.send_on(connection).status, 200);
    }
    let flood: Vec<Connection> =
        std::iter::repeat_with(|| Connection::open(gate.public())).take(1000).collect();
    eventually("some are shed", || metric(&gate, "ckgate_connections_shed_total") > 900);
    for connection in &mut served {
        assert_eq!(call.send_on(connection).status, 200);
    }
    assert!(!gate.log_lines().iter().any(|line| line.contains("cannot accept")));
    drop(flood);
    eventually("there is room again", || {
        call.open().until_first_bytes().starts_with(b"HTTP/1.1 200")
    });
}

/// D-03: connections above the limit are closed at once, and those below it are served.
#[test]
fn flood_of_connections_is_shed_and_counted() {
    let stage = Stage::set_with(&[("limits.connections_max", 50.into())]);
    let mut kept = Connection::open(stage.gate.public());
    kept.send(stage.canary());
    assert_eq!(kept.answer("GET").status, 200);
    let flood: Vec<Connection> =
        std::iter::repeat_with(|| Connection::open(stage.gate.public())).take(1000).collect();
    eventually("they are shed", || stage.metric("ckgate_connections_shed_total") >= 900);
    kept.send(stage.canary());
    assert_eq!(kept.answer("GET").status, 200);
    drop(flood);
    eventually("there is room again", || {
        let mut connection = Connection::open(stage.gate.public());
        connection.send(stage.canary());
        connection.until_first_bytes().starts_with(b"HTTP/1.1 200")
    });
}

/// D-04: also a single huge line, and one that never ends.
#[test]
fn floods_of_headers_are_refused() {
    let stage = Stage::set();
    let line = format!("GET {} HTTP/1.1", agent_path(A, "/messages"));
    let many = (0..101).fold(String::new(), |text, n| text + &format!("X-{n}: 1\r\n"));
    let same = "X-A: 1\r\n".repeat(100);
    let one = format!("X-A: {}\r\n", "a".repeat(300 << 10));
    let name = format!("{}: 1\r\n", "A".repeat(40 << 10));
    let cookies = format!("Cookie: {}\r\n", "c=1; ".repeat(10 << 10));
    let crumbs = "Cookie: a=b\r\n".repeat(3000);
    for flood in [many, same, one, name, cookies, crumbs] {
        stage.refuses_and_closes(stage.head(&line, &format!("{flood}\r\n")), &[431]);
    }
    let endless = stage.head(&line, &format!("X-A: {}", "a".repeat(1 << 20)));
    stage.refuses_and_closes(endless, &[431]);
    let endless_target = format!("GET /{}", "a".repeat(1 << 20));
    stage.refuses_and_closes(endless_target, &[414]);
    let endless_method = "A".repeat(1 << 20);
    stage.refuses_and_closes(endless_method, &[400, 414, 501]);
    stage.still_serves();
    let within = format!("Cookie: {}\r\n\r\n", "c".repeat(16 << 10));
    let mut connection = Connection::open(stage.gate.public());
    connection.send(stage.head(&line, &within));
    assert_eq!(connection.answer("GET").status, 200);
}

/// D-09: JSON that is deep, wide or large costs what its limits say.
#[test]
fn giant_and_deep_json_is_refused_in_bounded_memory() {
    let stage = Stage::set();
    let memory = Process::of(&stage.gate).memory();
    let deep = |n: usize| format!("{}{}", r#"{"a":"#.repeat(n), "}".repeat(n));
    let wide = (0..400_000).fold(String::new(), |text, n| text + &format!(r#""k{n}":1,"#));
    let bodies = [
        deep(100_000),
        "[".repeat(1_000_000),
        format!("{{{wide}\"z\":1}}"),
        format!(r#"{{"messages":[{}]}}"#, vec!["[]"; 1_000_000].join(",")),
        format!(r#"{{"{}":1}}"#, "k".repeat(4 << 20)),
        format!(r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#, "\\u0000".repeat(100_000)),
        r#"{"messages":[{"role":"user","content":1e999999}]}"#.to_owned(),
        format!(r#"{{"max_steps":{}}}"#, "9".repeat(1_000_000)),
    ];
    for body in &bodies {
        let call = stage.gate.call("POST", &agent_path(A, "/messages")).token(&stage.writer);
        let call = call.header("Content-Type", "application/json").body(body);
        let answer = call.send();
        let beginning = &body[..body.len().min(40)];
        assert!(
            matches!(answer.status, 400 | 403 | 413) || beginning.contains("messages"),
            "{beginning}"
        );
        assert!(answer.body.len() < 2048, "{beginning}: an answer of {} bytes", answer.body.len());
        let call = stage.gate.call("POST", TOKENS).bearer(SERVER_KEY);
        let answer = call.header("Content-Type", "application/json").body(body).send();
        assert!(matches!(answer.status, 400 | 413), "{beginning}: {}", answer.status);
        assert!(answer.body.len() < 2048, "{beginning}: an answer of {} bytes", answer.body.len());
    }
    let announced = stage.head_as(
        SERVER_KEY,
        &format!("POST {TOKENS} HTTP/1.1"),
        "Content-Length: 104857600\r\n\r\n",
    );
    let mut connection = Connection::open(stage.gate.public());
    connection.send(announced);
    assert!(matches!(connection.answer("POST").status, 400 | 413));
    assert_prompt(&stage);
    let grown = Process::of(&stage.gate).memory().saturating_sub(memory);
    assert!(grown < 100 << 10, "{grown} KiB more than before");
    let longest = stage.gate.log_lines().iter().map(String::len).max().unwrap();
    assert!(longest < 4096, "a line of {longest} bytes in the log");
}

/// Preflights cost neither the store nor memory, whatever they ask.
#[test]
fn flood_of_preflights_leaves_the_gate_as_it_was() {
    let stage = Stage::set();
    let process = Process::of(&stage.gate);
    let target = agent_path(A, "/messages");
    let preflight = |origin: &str| {
        format!(
            "OPTIONS {target} HTTP/1.1\r\nHost: gw.test\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\r\n"
        )
    };
    let mut connection = Connection::open(stage.gate.public());
    let mut flood = |from: usize, statuses: &[u16]| {
        for chunk in 0..20 {
            let origins = (0..100).map(|n| format!("https://o{from}-{chunk}-{n}.test"));
            connection.send(origins.map(|origin| preflight(&origin)).collect::<String>());
            for _ in 0..100 {
                let answer = connection.answer("OPTIONS");
                assert!(statuses.contains(&answer.status), "{}", answer.status);
            }
        }
    };
    flood(0, &[403, 503]);
    let memory = process.memory();
    flood(1, &[403, 503]);
    let grown = process.memory().saturating_sub(memory);
    assert!(grown < 8 << 10, "{grown} KiB more than before");
    stage.recorder.assert_untouched();
    let mut known = Connection::open(stage.gate.public());
    known.send(preflight(ORIGIN));
    assert_eq!(known.answer("OPTIONS").status, 204);
    assert_prompt(&stage);
}
