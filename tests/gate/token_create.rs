//! Creating tokens: the shape, every rule of every field, and who may.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::{
    A, B, Gate, ORIGIN, Recorder, SERVER_KEY, TOKENS, agent_path, assert_refused, create,
    create_answer, from_now, mint,
};

fn policy() -> Value {
    json!([{"type": "agent", "id": A, "access": ["read_messages"]}])
}

/// The usual body with one field set to something else.
fn with(field: &str, value: Value) -> Value {
    let mut body = json!({"policy": policy(), "hostname": ORIGIN});
    body[field] = value;
    body
}

fn entry(field: &str, value: Value) -> Value {
    let mut policy = policy();
    policy[0][field] = value;
    with("policy", policy)
}

fn expiry(created: &Value) -> Timestamp {
    created["expiresAt"].as_str().unwrap().parse().unwrap()
}

#[track_caller]
fn check_refused(gate: &Gate, body: &Value, named: &str) {
    let answer = create_answer(gate, body);
    assert_eq!(answer.status, 400, "{body} -> {}", answer.text());
    let message = answer.message();
    assert!(message.contains(named), "`{named}` is not named for {body}: {message}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn created_token_is_answered_in_the_shape_that_all_sdks_parse() {
    let gate = Gate::before_letta();
    let answer = create_answer(&gate, &with("expires_at", json!("2099-12-31T23:59:59Z")));
    assert_eq!(answer.status, 400, "further than 30 days: {}", answer.text());
    let body = with("expires_at", json!(from_now(Duration::from_hours(1))));
    let answer = create_answer(&gate, &body);
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let mut created = answer.json();
    let token = created["token"].take();
    let token = token.as_str().unwrap().strip_prefix("ck-let-").unwrap();
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    assert!(token.len() == 52 && token.bytes().all(unreserved), "{} characters", token.len());
    assert_eq!(expiry(&created), body["expires_at"].as_str().unwrap().parse().unwrap());
    created["expiresAt"].take();
    let expected = json!({
        "token": null,
        "hostname": ORIGIN,
        "expiresAt": null,
        "policy": {"version": "1", "data": policy()},
    });
    assert_eq!(created, expected);
}

#[test]
fn token_without_expiry_lives_five_minutes() {
    let gate = Gate::before_letta();
    for body in [json!({"policy": policy(), "hostname": ORIGIN}), with("expires_at", Value::Null)] {
        let before = Timestamp::now();
        let expires = expiry(&create(&gate, &body));
        let after = Timestamp::now();
        let (five, slack) = (SignedDuration::from_mins(5), SignedDuration::from_millis(1));
        assert!(expires >= before + five - slack && expires <= after + five + slack, "{body}");
    }
}

/// Every spelling that a backend in some language produces, and the documented examples.
#[test]
fn expiry_is_understood_in_every_spelling_of_iso_8601_that_is_sent() {
    let gate = Gate::before_letta();
    let base = Timestamp::now().round(jiff::Unit::Second).unwrap() + SignedDuration::from_hours(2);
    let utc = base.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let east = (base + SignedDuration::from_mins(330)).strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let spellings = [
        (format!("{utc}Z"), 0),
        (utc.clone(), 0),
        (format!("{utc}+00:00"), 0),
        (format!("{east}+05:30"), 0),
        (format!("{utc}.5Z"), 500),
        (format!("{utc}.123Z"), 123),
        (format!("{utc}.123456"), 123),
        (format!("{utc}.123456789Z"), 123),
    ];
    for (spelling, milliseconds) in spellings {
        for field in ["expires_at", "expiresAt"] {
            let created = create(&gate, &with(field, json!(spelling)));
            let expected = base + SignedDuration::from_millis(milliseconds);
            let difference = expiry(&created).duration_since(expected).abs();
            assert!(difference < SignedDuration::from_millis(1), "{field} {spelling}: {created}");
        }
    }
}

#[test]
fn expiry_that_is_past_too_far_or_no_time_is_refused_by_name() {
    let gate = Gate::before_letta();
    let past = Timestamp::now() - SignedDuration::from_secs(1);
    let far = Timestamp::now() + SignedDuration::from_hours(24 * 30 + 1);
    let wrong = [
        json!(past.to_string()),
        json!(far.to_string()),
        json!("tomorrow"),
        json!(""),
        json!("2099-13-01T00:00:00Z"),
        json!(4_102_444_800_u64),
        json!(true),
        json!({}),
    ];
    for value in wrong {
        check_refused(&gate, &with("expires_at", value), "expires_at");
    }
}

#[test]
fn policy_that_is_not_one_to_a_hundred_entries_is_refused() {
    let gate = Gate::before_letta();
    let entries = |count: u64| -> Value {
        let id = |n: u64| format!("agent-{n:08x}-0000-4000-8000-000000000000");
        let entry = |n| json!({"type": "agent", "id": id(n), "access": ["read_agent"]});
        (0..count).map(entry).collect()
    };
    create(&gate, &with("policy", entries(100)));
    check_refused(&gate, &with("policy", entries(101)), "policy");
    for value in [json!([]), json!({}), Value::Null, json!("agent"), json!([[]]), json!([null])] {
        check_refused(&gate, &with("policy", value), "policy");
    }
    check_refused(&gate, &json!({"hostname": ORIGIN}), "policy");
}

/// M-05, M-07.
#[test]
fn policy_entry_with_a_wrong_field_is_refused_by_name() {
    let gate = Gate::before_letta();
    let upper = A.to_uppercase();
    let version_one = A.replace("-4111-", "-1111-");
    let path = format!("{A}/messages");
    let (short, padded) = (&A[..41], format!("{A} "));
    let ids = [
        "",
        "*",
        "..",
        "count",
        "messages",
        "search",
        "agent-nope",
        "agent-",
        &upper,
        &version_one,
        &path,
        short,
        &padded,
    ];
    for id in ids {
        check_refused(&gate, &entry("id", json!(id)), "id");
    }
    check_refused(&gate, &entry("id", json!(7)), "id");
    for kind in [json!("block"), json!("Agent"), json!(""), Value::Null] {
        check_refused(&gate, &entry("type", kind), "type");
    }
    for access in [
        json!([]),
        json!(["read"]),
        json!(["read_messages", "*"]),
        json!(["READ_MESSAGES"]),
        json!("read_messages"),
        Value::Null,
        json!([1]),
    ] {
        check_refused(&gate, &entry("access", access), "access");
    }
    check_refused(&gate, &entry("scope", json!("all")), "scope");
}

#[test]
fn same_agent_twice_is_the_union_of_both_entries() {
    let gate = Gate::before_letta();
    let policy = json!([
        {"type": "agent", "id": A, "access": ["read_messages"]},
        {"type": "agent", "id": B, "access": ["read_agent"]},
        {"type": "agent", "id": A, "access": ["write_agent", "read_messages"]},
    ]);
    let created = create(&gate, &with("policy", policy));
    let expected = json!([
        {"type": "agent", "id": A, "access": ["read_messages", "write_agent"]},
        {"type": "agent", "id": B, "access": ["read_agent"]},
    ]);
    assert_eq!(created["policy"]["data"], expected);
    let token = created["token"].as_str().unwrap();
    let listed = gate.call("GET", &agent_path(A, "/messages")).token(token).send();
    let changed = gate.call("PATCH", &agent_path(A, "")).token(token).json(&json!({})).send();
    assert_eq!((listed.status, changed.status), (200, 200));
}

/// O-08.
#[test]
fn hostname_is_an_origin_or_a_host_and_nothing_else() {
    let gate = Gate::before_letta();
    let accepted = [
        "https://chat.example.com",
        "http://localhost:3000",
        "chat.example.com",
        "chat.example.com:8443",
        "HTTPS://Chat.Example.COM:443/",
        "https://bücher.example",
        "http://[2001:db8::1]:3000",
        "127.0.0.1:5173",
        "hostname",
    ];
    for hostname in accepted {
        let created = create(&gate, &with("hostname", json!(hostname)));
        assert_eq!(created["hostname"], hostname, "the answer repeats what was sent");
    }
    let refused = [
        "",
        " ",
        "*",
        "https://*.app.test",
        "https://app.test/path",
        "app.test/path",
        "https://user@app.test",
        "https://app.test?q",
        "https://app.test#f",
        "ftp://app.test",
        "https://",
        "https://app.test:0",
        "https://app.test:99999",
        "https://app.test, https://evil.test",
        "https://app.test\n",
        "https://[::1",
        "a..b",
        "null://",
    ];
    for hostname in refused {
        check_refused(&gate, &with("hostname", json!(hostname)), "hostname");
    }
    for hostname in [Value::Null, json!(1), json!(["https://app.test"])] {
        check_refused(&gate, &with("hostname", hostname), "hostname");
    }
    check_refused(&gate, &json!({"policy": policy()}), "hostname");
}

#[test]
fn unknown_field_is_refused_by_name() {
    let gate = Gate::before_letta();
    check_refused(&gate, &with("user_id", json!("user-1")), "user_id");
    check_refused(&gate, &with("expires", json!(null)), "expires");
}

/// D-09 and trap 6: the upstream's leniency about JSON is not the gate's.
#[test]
fn body_that_is_not_one_strict_json_object_is_refused() {
    let gate = Gate::before_letta();
    let good = with("expires_at", Value::Null).to_string();
    let nested = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let twice = good.replacen('{', r#"{"hostname":"https://evil.test","#, 1);
    let listed = good.replacen('{', r#"{"limits":[null,null,null],"#, 1);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: [&[u8]; 10] = [
        b"",
        b"null",
        b"[]",
        b"{",
        nested.as_bytes(),
        twice.as_bytes(),
        listed.as_bytes(),
        &utf16,
        &[b"\xef\xbb\xbf", good.as_bytes()].concat(),
        &[good.as_bytes(), b"{}"].concat(),
    ];
    for body in bodies {
        let call = gate.call("POST", TOKENS).bearer(SERVER_KEY);
        let answer = call.header("Content-Type", "application/json").body(body).send();
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert!(matches!(answer.status, 400 | 413), "{shown}: {}", answer.status);
    }
}

#[test]
fn body_above_64_kib_is_refused() {
    let gate = Gate::before_letta();
    let padding = " ".repeat(64 * 1024);
    let body = format!("{}{padding}", with("expires_at", Value::Null));
    let call = gate.call("POST", TOKENS).bearer(SERVER_KEY);
    let answer = call.header("Content-Type", "application/json").body(body).send();
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
}

/// A-01.
#[test]
fn client_token_can_neither_make_list_nor_delete_tokens() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages", "write_messages", "read_agent", "write_agent"]);
    let calls = [
        gate.call("POST", TOKENS).json(&with("expires_at", Value::Null)),
        gate.call("GET", TOKENS),
        gate.call("DELETE", &format!("{TOKENS}/{token}")),
    ];
    for call in calls {
        assert_refused(&call.token(&token).send(), 403, "route_not_allowed");
    }
    recorder.assert_untouched();
    let still = gate.call("GET", &agent_path(A, "")).token(&token).send();
    assert_eq!(still.status, 200, "it has not deleted itself");
}

#[test]
fn token_api_answers_nobody_without_a_known_server_key() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let body = with("expires_at", Value::Null);
    let ask = || gate.call("POST", TOKENS).json(&body);
    assert_refused(&ask().send(), 401, "token_missing");
    let unknown = SERVER_KEY.replace("test0", "test1");
    assert_refused(&ask().bearer(&unknown).send(), 401, "token_invalid");
    let target = format!("{TOKENS}?api_key={SERVER_KEY}");
    let by_query = gate.call("POST", &target).json(&body).open().answer("POST");
    assert_eq!(by_query.status, 401, "a key in the query is not read");
    recorder.assert_untouched();
}

#[test]
fn trailing_slash_makes_no_difference() {
    let gate = Gate::before_letta();
    let target = format!("{TOKENS}/");
    let body = with("expires_at", Value::Null);
    let created = gate.call("POST", &target).bearer(SERVER_KEY).json(&body).send();
    let listed = gate.call("GET", &target).bearer(SERVER_KEY).send();
    assert_eq!((created.status, listed.status), (201, 200));
}

#[test]
fn acknowledged_token_survives_a_kill() {
    let mut gate = Gate::before_letta();
    let token = mint(&gate, A, &["read_messages"]);
    gate.restart();
    let answer = gate.call("GET", &agent_path(A, "/messages")).token(&token).send();
    assert_ne!(answer.status, 401, "{}", answer.text());
}
