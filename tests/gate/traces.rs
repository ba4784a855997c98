//! Traces: what the collector receives, and what the upstream is told.

use serde_json::Value;

use crate::harness::{A, B, Gate, Recorder, Reply, agent_path, eventually, field, mint};

/// Every span that a collector has received.
fn spans(collector: &Recorder) -> Vec<Value> {
    let batches = collector.requests();
    let spans = batches.iter().flat_map(|request| {
        assert_eq!((request.method(), request.target()), ("POST", "/v1/traces"));
        let batch = request.json();
        let service = &batch["resourceSpans"][0]["resource"]["attributes"][0];
        assert_eq!(service["value"]["stringValue"], "ckgate");
        batch["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone()
    });
    spans.collect()
}

fn attribute<'s>(span: &'s Value, name: &str) -> &'s Value {
    let found = span["attributes"].as_array().unwrap().iter().find(|a| a["key"] == name);
    found.map_or(&Value::Null, |attribute| &attribute["value"])
}

fn collector() -> Recorder {
    Recorder::with(|_| Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").close())
}

#[test]
fn request_and_its_request_upstream_are_one_trace_that_no_caller_chooses() {
    let (recorder, collector) = (Recorder::start(), collector());
    let endpoint = format!("http://{}", collector.address());
    let gate = Gate::start_with(&recorder, &[("traces.endpoint", endpoint.into())]);
    let token = mint(&gate, A, &["read_messages"]);
    let foreign = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-bbbbbbbbbbbbbbbb-01";
    let call = gate.call("GET", &agent_path(A, "/messages")).token(&token);
    let answer = call.header("traceparent", foreign).header("tracestate", "x=y").send();
    let id = answer.header("x-request-id").unwrap().to_owned();
    let upstream = recorder.only_request();
    assert_eq!(upstream.header("tracestate"), None);
    let told: Vec<&str> = upstream.header("traceparent").unwrap().split('-').collect();
    assert_eq!((told[0], told[1], told[3]), ("00", id.as_str(), "01"));

    let of_request = || -> Vec<Value> {
        spans(&collector).into_iter().filter(|span| span["traceId"] == *id).collect()
    };
    eventually("two spans", || of_request().len() == 2);
    let [server, client]: [Value; 2] = of_request().try_into().unwrap();
    assert_eq!((&server["kind"], &client["kind"]), (&Value::from(2), &Value::from(3)));
    assert_eq!(client["spanId"], told[2]);
    assert_eq!(client["parentSpanId"], server["spanId"]);
    assert!(server.get("parentSpanId").is_none());
    let route = "/v1/agents/{agent_id}/messages";
    assert_eq!(server["name"], format!("GET {route}"));
    for (name, expected) in [
        ("http.route", route),
        ("url.scheme", "http"),
        ("url.path", &agent_path(A, "/messages")),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("server.address", "gw.test"),
        ("ckgate.operation", "agents.messages.list"),
    ] {
        assert_eq!(attribute(&server, name)["stringValue"], expected, "{name}");
    }
    let upstream = recorder.address();
    let full = format!("http://{upstream}{}", agent_path(A, "/messages"));
    assert_eq!(attribute(&client, "url.full")["stringValue"], full);
    assert_eq!(attribute(&client, "server.address")["stringValue"], "127.0.0.1");
    assert_eq!(attribute(&client, "server.port")["intValue"], upstream.port().to_string());
    assert_eq!(attribute(&server, "http.request.method")["stringValue"], "GET");
    assert_eq!(attribute(&server, "http.response.status_code")["intValue"], "200");
    assert_eq!(attribute(&client, "http.response.status_code")["intValue"], "200");
    let nanos = |span: &Value, at: &str| -> u128 { span[at].as_str().unwrap().parse().unwrap() };
    let [start, sent, answered, end] = [
        nanos(&server, "startTimeUnixNano"),
        nanos(&client, "startTimeUnixNano"),
        nanos(&client, "endTimeUnixNano"),
        nanos(&server, "endTimeUnixNano"),
    ];
    assert!(start <= sent && sent < answered && answered <= end);
    let metrics = gate.admin_get("/metrics").text();
    assert!(metrics.contains(&format!("# {{trace_id=\"{id}\"}}")), "no exemplar: {metrics}");

    let refused = gate.call("GET", &agent_path(B, "/messages")).token(&token).send();
    let id = refused.header("x-request-id").unwrap().to_owned();
    eventually("the refusal's span", || spans(&collector).iter().any(|s| s["traceId"] == *id));
    let all = spans(&collector);
    let span = all.iter().find(|span| span["traceId"] == *id).unwrap();
    assert_eq!(attribute(span, "error.type")["stringValue"], "permission_denied");
    let text = all.iter().map(Value::to_string).collect::<String>();
    assert!(!text.contains("ck-let-"), "{text}");
}

#[test]
fn without_a_collector_nothing_is_sampled() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages"]);
    assert_eq!(gate.call("GET", &agent_path(A, "/messages")).token(&token).send().status, 200);
    assert!(recorder.only_request().header("traceparent").unwrap().ends_with("-00"));
    assert!(!gate.admin_get("/metrics").text().contains("trace_id"));
}

/// Spans that a collector does not take are dropped, and the operator is told how many.
#[test]
fn spans_that_cannot_be_sent_are_counted() {
    let refusal = Reply::raw("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").close();
    let (recorder, collector) = (Recorder::start(), Recorder::with(move |_| refusal.clone()));
    let endpoint = format!("http://{}", collector.address());
    let gate = Gate::start_with(&recorder, &[("traces.endpoint", endpoint.into())]);
    assert_eq!(gate.call("GET", "/v1/agents/").send().status, 401);
    let told = gate.log().wait_for("how many were dropped", |line| field(line, "dropped"));
    assert_eq!(told, Some(Value::from(1)));
}
