//! What the upstream receives: built from what was judged, never copied.

use toml::Value as Toml;

use crate::harness::{
    A, CREDENTIAL, Gate, ORIGIN, Recorded, Recorder, SERVER_KEY, agent_path, mint, says,
};

/// Headers of a request that a plain client sent without any of its own.
const PLAIN: [&str; 5] =
    ["authorization", "host", "traceparent", "x-request-id", "x-stainless-package-version"];

fn started() -> (Recorder, Gate, String) {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages", "write_messages", "read_agent", "write_agent"]);
    (recorder, gate, token)
}

#[track_caller]
fn assert_credential_only(request: &Recorded) {
    assert_eq!(request.header_all("authorization"), [format!("Bearer {CREDENTIAL}")]);
    assert!(!request.contains("ck-let-") && !request.contains("sk-let-"), "{:?}", request.head);
}

/// H-02, I-04.
#[test]
fn plain_request_arrives_with_exactly_the_gates_own_headers() {
    let (recorder, gate, token) = started();
    let answer = gate.call("GET", &agent_path(A, "/messages?limit=5")).token(&token).send();
    let request = recorder.only_request();
    assert_eq!(request.head.line, format!("GET {} HTTP/1.1", agent_path(A, "/messages?limit=5")));
    assert_eq!(request.header_names(), PLAIN);
    assert_eq!(request.header("host"), Some(recorder.address().to_string().as_str()));
    assert_credential_only(&request);
    assert_eq!(request.header("x-request-id"), answer.header("x-request-id"));
    assert_eq!(request.body, b"");
}

#[test]
fn sent_message_arrives_byte_for_byte_with_one_length_and_our_content_type() {
    let (recorder, gate, token) = started();
    let body = "{ \"messages\" : [ {\"content\":\"h\u{e9}llo \\u2603\", \"role\":\"user\"} ] }\n";
    let call = gate.call("POST", &agent_path(A, "/messages")).token(&token);
    assert_eq!(call.header("content-type", "application/json").body(body).send().status, 200);
    let request = recorder.only_request();
    let mut names = PLAIN.to_vec();
    names.extend(["content-length", "content-type"]);
    names.sort_unstable();
    assert_eq!(request.header_names(), names);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-length"), Some(body.len().to_string().as_str()));
    assert_eq!(request.body, body.as_bytes());
    assert_credential_only(&request);
}

/// I-02, I-03, I-09, H-07: headers are allowed, not denied.
#[test]
fn nothing_else_of_the_clients_headers_arrives() {
    let (recorder, gate, token) = started();
    let unwanted = [
        "user_id",
        "USER_ID",
        "user-id",
        "User_Id",
        "X-User-Id",
        "X-BARE-PASSWORD",
        "X-Organization-Id",
        "X-Project-Id",
        "X-Project",
        "X-Agent-Id",
        "X-Run-Id",
        "run-id",
        "X-Billing-Plan-Type",
        "X-Billing-Cost-Source",
        "X-Experimental-Letta-V1-Agent",
        "X-Letta-Source",
        "storage_unit",
        "x-api-request-log-id",
        "x-letta-agent-id",
        "x-api-key",
        "anthropic-api-key",
        "X-Override-Embedding-Model",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X_Forwarded_Proto",
        "Forwarded",
        "X-Real-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-Method-Override",
        "Cookie",
        "Referer",
        "Accept-Encoding",
        "Range",
        "If-None-Match",
        "Proxy-Authorization",
        "Via",
        "x-request-id",
        "traceparent",
        "tracestate",
        "baggage",
        "Sec-Fetch-Site",
        "DNT",
        "Priority",
        "Cache-Control",
        "Content-Encoding",
        "Content-Language",
        "x-stainlesss",
        "x_stainless_lang",
        "xx-fern-language",
    ];
    for name in unwanted {
        let call = gate.call("GET", &agent_path(A, "/messages")).token(&token);
        call.header(name, "MARKED-VALUE").header(name, "MARKED-VALUE").send();
    }
    for request in recorder.requests() {
        assert_eq!(request.header_names(), PLAIN, "{:?}", request.head);
        assert!(!request.contains("MARKED-VALUE"), "{:?}", request.head);
    }
}

#[test]
fn the_headers_that_the_upstream_needs_of_a_client_arrive_unchanged() {
    let (recorder, gate, token) = started();
    let admitted = [
        ("accept", "application/json"),
        ("accept-language", "de, en;q=0.5"),
        ("user-agent", "Letta/JS 1.12.1"),
        ("x-stainless-lang", "js"),
        ("x-stainless-package-version", "1.12.1"),
        ("x-stainless-retry-count", "0"),
    ];
    let call = gate.call("GET", &agent_path(A, "/messages")).token(&token);
    admitted.iter().fold(call, |call, (name, value)| call.header(name, value)).send();
    let request = recorder.only_request();
    for (name, value) in admitted {
        assert_eq!(request.header_all(name), [value]);
    }
}

/// Without one of these headers the upstream refuses `streaming`.
#[test]
fn sdk_version_is_supplied_to_plain_clients_only() {
    let (recorder, gate, token) = started();
    let call = || gate.call("GET", &agent_path(A, "/messages")).token(&token);
    call().send();
    call().header("X-Stainless-Lang", "python").send();
    call().header("X-Fern-Language", "Python").header("X-Fern-SDK-Version", "0.1.324").send();
    let supplied: Vec<bool> = recorder
        .requests()
        .iter()
        .map(|request| request.header("x-stainless-package-version").is_some())
        .collect();
    assert_eq!(supplied, [true, false, false]);
    assert_eq!(recorder.requests()[2].header("x-fern-sdk-version"), Some("0.1.324"));
}

/// P-15: the upstream is never given a reason to redirect.
#[test]
fn path_arrives_in_the_slash_form_of_the_route() {
    let (recorder, gate, token) = started();
    for (sent, received) in
        [("/messages/", "/messages"), ("/", ""), ("/messages/?limit=1", "/messages?limit=1")]
    {
        let answer = gate.call("GET", &agent_path(A, sent)).token(&token).send();
        assert_eq!(answer.status, 200, "{sent}: {}", answer.text());
        assert_eq!(recorder.requests().pop().unwrap().target(), agent_path(A, received));
    }
    let stream = gate.call("POST", &agent_path(A, "/messages/stream/")).token(&token);
    assert_eq!(stream.json(&says("hello")).send().status, 200);
    assert_eq!(recorder.requests().pop().unwrap().target(), agent_path(A, "/messages/stream"));
}

#[test]
fn query_arrives_in_order_with_its_meaning() {
    let (recorder, gate, token) = started();
    let query =
        "?order=asc&limit=10&include_return_message_types=a%20b&include_return_message_types=c%26d";
    let target = agent_path(A, &format!("/messages{query}"));
    assert_eq!(gate.call("GET", &target).token(&token).send().status, 200);
    let request = recorder.only_request();
    let (_, received) = request.target().split_once('?').unwrap();
    let pairs =
        |text: &str| url::form_urlencoded::parse(text.as_bytes()).into_owned().collect::<Vec<_>>();
    assert_eq!(pairs(received), pairs(query.trim_start_matches('?')));
}

/// I-06, I-07.
#[test]
fn connection_header_takes_nothing_away() {
    let (recorder, gate, token) = started();
    for named in ["authorization", "close, host", "x-request-id", "user_id, content-length"] {
        let call = gate.call("POST", &agent_path(A, "/messages")).token(&token);
        let answer = call.header("Connection", named).json(&says("hello")).send();
        assert!(matches!(answer.status, 200 | 400), "{named}: {}", answer.status);
    }
    for request in recorder.requests() {
        assert_credential_only(&request);
        assert_eq!(request.header_all("host"), [recorder.address().to_string()]);
        assert_eq!(request.json(), says("hello"));
    }
}

#[test]
fn request_id_is_the_gates_own_each_time() {
    let (recorder, gate, token) = started();
    for _ in 0..3 {
        gate.call("GET", &agent_path(A, "")).token(&token).header("X-Request-Id", "mine").send();
    }
    let requests = recorder.requests();
    let mut ids: Vec<&str> = requests.iter().map(|r| r.header("x-request-id").unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert!(!ids.contains(&"mine"));
    let trace = requests[0].header("traceparent").unwrap().split('-').collect::<Vec<_>>();
    assert_eq!((trace.len(), trace[0], trace[1].len(), trace[2].len()), (4, "00", 32, 16));
}

#[test]
fn server_key_request_arrives_with_the_accounts_credential_and_its_own_body() {
    let (recorder, gate, _) = started();
    let call = gate.call("POST", "/v1/tools/?x=%2F&y=1").bearer(SERVER_KEY).origin(ORIGIN);
    let call = call
        .header("Content-Type", "text/csv")
        .header("user_id", "user-1")
        .header("X-Project", "p");
    assert_eq!(call.body("a,b\n").send().status, 200);
    let request = recorder.only_request();
    assert_eq!(request.head.line, "POST /v1/tools/?x=%2F&y=1 HTTP/1.1");
    assert_eq!(request.header("content-type"), Some("text/csv"));
    assert_eq!(request.body, b"a,b\n");
    assert_credential_only(&request);
    for name in ["user_id", "x-project", "origin"] {
        assert_eq!(request.header(name), None, "{name}");
    }
}

#[test]
fn body_of_a_server_key_streams_through_before_it_is_complete() {
    let (recorder, gate, _) = started();
    let head = format!(
        "POST /v1/folders/ HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer {SERVER_KEY}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    let mut connection = crate::harness::Connection::open(gate.public());
    connection.send(format!("{head}a\r\nfirst half\r\n"));
    recorder.wait_for("the first half", |seen| {
        seen.connections.iter().any(|c| c.bytes.windows(10).any(|window| window == b"first half"))
    });
    assert_eq!(recorder.requests().len(), 0);
    connection.send("b\r\nsecond half\r\n0\r\n\r\n");
    assert_eq!(connection.answer("POST").status, 200);
    assert_eq!(recorder.only_request().body, b"first halfsecond half");
}

#[test]
fn account_acts_with_its_own_credential_and_as_its_own_user() {
    let recorder = Recorder::start();
    let user = "user-00000000-0000-4000-8000-000000000000";
    let accounts: Toml = toml::from_str::<toml::Table>(&format!(
        "accounts = [{{ name = 'default', server_keys = [{{ file = 'server-key' }}], \
         credential = {{ file = 'other-server-key' }}, user_id = '{user}' }}]"
    ))
    .unwrap()
    .remove("accounts")
    .unwrap();
    let gate = Gate::start_with(&recorder, &[("accounts", accounts)]);
    let token = mint(&gate, A, &["read_messages"]);
    gate.call("GET", &agent_path(A, "/messages")).token(&token).header("user_id", "user-x").send();
    gate.call("GET", "/v1/tools/").bearer(SERVER_KEY).send();
    for request in recorder.requests() {
        assert_eq!(request.header_all("user_id"), [user]);
        let expected = format!("Bearer {}", crate::harness::OTHER_SERVER_KEY);
        assert_eq!(request.header_all("authorization"), [expected]);
    }
}

#[test]
fn one_client_connection_and_one_upstream_connection_serve_many_requests() {
    let (recorder, gate, token) = started();
    let mut connection = crate::harness::Connection::open(gate.public());
    for _ in 0..5 {
        let call = gate.call("GET", &agent_path(A, "/messages")).token(&token);
        assert_eq!(call.send_on(&mut connection).status, 200);
    }
    let used: Vec<usize> = recorder.requests().iter().map(|request| request.connection).collect();
    assert_eq!(used, [0; 5]);
}
