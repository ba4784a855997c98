//! What no token opens, whatever it is called.

use serde_json::json;

use crate::harness::{A, B, Gate, ORIGIN, Recorder, SERVER_KEY, agent_path, mint, mint_for, says};
use crate::stage::Stage;

const ALL: [&str; 4] = ["read_messages", "write_messages", "read_agent", "write_agent"];

/// With every permission for one agent, none of these goes upstream, whoever the agent in them is.
#[track_caller]
fn check_closed(routes: &[(&str, String)]) {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &ALL);
    for (method, target) in routes {
        let call = gate.call(method, target).token(&token);
        let call =
            if matches!(*method, "POST" | "PATCH" | "PUT") { call.json(&says("x")) } else { call };
        let answer = call.open().answer(method);
        let refused = matches!(answer.status, 400 | 403 | 404 | 405);
        assert!(refused, "{method} {target}: {} {}", answer.status, answer.text());
    }
    recorder.assert_untouched();
}

/// M-01: every set of permissions, on its own agent, on another and on none, against the first
/// operations of each permission. The whole interface stands in the permission matrix of `routes`.
#[test]
fn operation_is_open_exactly_when_its_permission_is_held_for_its_agent() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let operations = [
        ("GET", "/messages", "read_messages"),
        ("POST", "/messages", "write_messages"),
        ("GET", "", "read_agent"),
        ("PATCH", "", "write_agent"),
    ];
    let malformed = A.replace("-4111-", "-1111-");
    for held in 1..16_u8 {
        let held: Vec<&str> = ALL
            .iter()
            .enumerate()
            .filter(|(bit, _)| held & (1 << bit) != 0)
            .map(|(_, p)| *p)
            .collect();
        let token = mint(&gate, A, &held);
        for (method, rest, needed) in operations {
            for agent in [A, B, &malformed] {
                let call = gate.call(method, &agent_path(agent, rest)).token(&token);
                let call = match method {
                    "POST" => call.json(&says("x")),
                    "PATCH" => call.json(&json!({"name": "n"})),
                    _ => call,
                };
                let open = agent == A && held.contains(&needed);
                let before = recorder.bytes_total();
                let answer = call.send();
                let case = format!("{held:?}: {method} {agent}{rest}: {}", answer.text());
                assert_eq!(answer.status, if open { 200 } else { 403 }, "{case}");
                assert_eq!(recorder.bytes_total() > before, open, "{case}");
            }
        }
    }
}

/// M-02.
#[test]
fn reading_messages_opens_nothing_that_writes_or_runs() {
    let stage = Stage::set();
    for (method, rest) in [
        ("POST", "/messages"),
        ("POST", "/messages/stream"),
        ("POST", "/messages/async"),
        ("POST", "/messages/cancel"),
        ("POST", "/generate"),
        ("POST", "/summarize"),
        ("POST", "/messages/preview-raw-payload"),
        ("PATCH", "/reset-messages"),
        ("POST", "/tools/tool-1/run"),
        ("POST", "/archival-memory"),
        ("PATCH", "/core-memory/blocks/x"),
        ("PATCH", "/tools/attach/tool-1"),
        ("PATCH", ""),
        ("DELETE", ""),
        ("PATCH", "/messages/message-1"),
        ("POST", "/recompile"),
        ("POST", "/import"),
        ("PUT", "/messages"),
        ("PATCH", "/messages"),
    ] {
        let call = stage.gate.call(method, &agent_path(A, rest)).token(&stage.reader);
        let answer = call.json(&says("x")).send();
        assert_eq!(answer.status, 403, "{method} {rest}: {}", answer.text());
    }
    stage.recorder.assert_untouched();
}

/// M-03: the same agent through another family of routes.
#[test]
fn other_families_of_routes_lead_to_no_agent() {
    let conversation = "/v1/conversations";
    check_closed(&[
        ("POST", format!("{conversation}/{B}/messages")),
        ("GET", format!("{conversation}/{B}/messages")),
        ("POST", format!("{conversation}/{B}/stream")),
        ("POST", format!("{conversation}/{B}/cancel")),
        ("POST", format!("{conversation}/{}/messages", A.to_uppercase())),
        ("POST", format!("{conversation}/default/messages")),
        ("GET", format!("{conversation}/default/messages")),
        ("POST", format!("{conversation}/default/messages?agent_id={B}")),
        ("DELETE", format!("{conversation}/{A}")),
        ("POST", "/v1/chat/completions".to_owned()),
        ("POST", format!("/v1/{A}/chat/completions")),
        ("POST", format!("/v1/voice-beta/{A}/chat/completions")),
        ("POST", format!("/v1/voice-beta/{B}/chat/completions")),
        ("GET", "/v1/messages/".to_owned()),
        ("GET", format!("/v1/messages/?agent_id={A}")),
        ("POST", "/v1/agents/messages/search".to_owned()),
        ("POST", "/v1/messages/batches".to_owned()),
        ("POST", "/v1/messages/search".to_owned()),
        ("POST", "/v1/responses".to_owned()),
        ("POST", "/v1/completions".to_owned()),
        ("POST", "/v1/groups/group-1/messages".to_owned()),
    ]);
}

/// M-03: a conversation named by its agent is judged as that agent's messages are.
#[test]
fn conversation_of_an_agent_needs_the_permission_of_its_messages() {
    let stage = Stage::set();
    let conversation = |rest: &str| format!("/v1/conversations/{A}{rest}");
    for rest in ["/messages", "/stream", "/cancel", "/fork"] {
        let call = stage.gate.call("POST", &conversation(rest)).token(&stage.reader);
        let status = call.json(&says("x")).send().status;
        assert_eq!(status, 403, "{rest} with a token that reads");
    }
    let read = stage.gate.call("GET", &conversation("/messages")).token(&stage.writer).send();
    assert_eq!(read.status, 403, "reading with a token that writes");
    stage.recorder.assert_untouched();
}

/// M-03 on routes that name a run or a step: a token may read its own agent's, never another's.
#[test]
fn runs_and_steps_of_others_are_not_reached() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &ALL);
    let id = "00000000-0000-4000-8000-000000000001";
    for (target, asked) in [
        (format!("/v1/runs/run-{id}/messages"), format!("run-{id}")),
        (format!("/v1/steps/step-{id}/messages"), format!("step-{id}")),
        (format!("/v1/runs/run-{id}"), format!("run-{id}")),
        (format!("/v1/jobs/job-{id}"), format!("job-{id}")),
        (format!("/v1/conversations/conv-{id}/messages"), format!("conv-{id}")),
        ("/v1/runs/".to_owned(), String::new()),
        ("/v1/runs/active".to_owned(), String::new()),
    ] {
        // An answer that names another agent, as the owner of whatever was asked for.
        let other = json!({"id": asked, "agent_id": B, "message": "another agent's words"});
        recorder.answer_next(crate::harness::Reply::json(200, &other));
        let answer = gate.call("GET", &target).token(&token).send();
        assert!(!answer.text().contains("another agent's words"), "{target}");
        // Unavailable, where the owner cannot be told from such an answer.
        assert!(matches!(answer.status, 403 | 404 | 503), "{target}: {}", answer.status);
    }
}

/// M-04.
#[test]
fn what_the_upstream_does_not_document_is_closed() {
    let mut routes: Vec<(&str, String)> = Vec::new();
    for target in [
        "/v1/git/x",
        "/v1/git/",
        "/v1/_internal_agents/x",
        "/v1/_internal_runs/",
        "/v1/_internal_templates/groups",
        "/v1/admin/users",
        "/v1/admin/orgs",
        "/v1/users/",
        "/v1/organizations/",
        "/v1/anthropic/v1/messages",
        "/v1/zai/v1/messages",
        "/openai/v1/models",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/",
        "/index.html",
        "/assets/index.js",
        "/v1",
        "/v1/",
        "/v1/providers/",
        "/v1/sandbox-config/",
        "/v1/telemetry/x",
        "/v1/health/",
        "/latest/health/",
        "/v1/client-side-access-tokens-x",
        "/v1/agents",
        "/v1/agents/",
        "/v1/tools/mcp/servers",
        "/ws",
        "/favicon.ico",
        "/.git/config",
        "/.env",
        "/robots.txt",
        "/static/x",
        "/v1/embeddings/total_size",
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            routes.push((method, target.to_owned()));
        }
    }
    check_closed(&routes);
}

/// M-05: a word where an id stands is no agent.
#[test]
fn literal_where_an_id_stands_is_no_agent() {
    check_closed(
        &[
            "count",
            "import",
            "search",
            "messages",
            "*",
            "%2A",
            "default",
            "null",
            "me",
            "undefined",
            "0",
            "agent-",
            "agent-*",
            "agent-11111111-1111-4111-8111-11111111111",
            "agent-%31",
            "agent-11111111-1111-4111-8111-1111111111111",
        ]
        .iter()
        .flat_map(|id| {
            [
                ("GET", format!("/v1/agents/{id}")),
                ("GET", format!("/v1/agents/{id}/messages")),
                ("POST", format!("/v1/agents/{id}/search")),
            ]
        })
        .collect::<Vec<_>>(),
    );
}

/// M-07: a policy of a hundred entries opens each of its agents and no other.
#[test]
fn large_policy_opens_each_of_its_agents_and_no_other() {
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let agent = |n: usize| format!("agent-{n:08x}-1111-4111-8111-111111111111");
    let agents: Vec<String> = (0..100).map(agent).collect();
    let policy: Vec<(&str, &[&str])> =
        agents.iter().map(|agent| (agent.as_str(), &["read_messages"][..])).collect();
    let token = mint_for(&gate, ORIGIN, &policy);
    for (agent, status) in
        [(&agents[0], 200), (&agents[50], 200), (&agents[99], 200), (&agent(100), 403)]
    {
        let answer = gate.call("GET", &agent_path(agent, "/messages")).token(&token).send();
        assert_eq!(answer.status, status, "{agent}");
    }
}

/// M-08: whoever sends a message reads the answer to it, and nothing older.
#[test]
fn writing_brings_its_own_answer_and_no_history() {
    let stage = Stage::set();
    let stream = stage.gate.call("POST", &agent_path(A, "/messages/stream")).token(&stage.writer);
    let answer = stream.json(&says("hello")).send();
    assert!(answer.status == 200 && answer.text().contains("assistant_message"));
    let sent = stage.recorder.bytes_total();
    for rest in ["/messages", "/context", ""] {
        let answer = stage.gate.call("GET", &agent_path(A, rest)).token(&stage.writer).send();
        assert_eq!(answer.status, 403, "{rest}");
    }
    assert_eq!(stage.recorder.bytes_total(), sent);
}

/// M-09.
#[test]
fn head_is_judged_as_get_and_options_and_trace_go_nowhere() {
    let stage = Stage::set();
    let target = agent_path(A, "/messages");
    assert_eq!(stage.gate.call("HEAD", &target).token(&stage.writer).send().status, 403);
    assert_eq!(stage.gate.call("OPTIONS", &target).bearer(&stage.reader).send().status, 403);
    let answer = stage.gate.call("TRACE", &target).token(&stage.reader).open().answer("TRACE");
    assert!(matches!(answer.status, 405 | 501), "{}", answer.status);
    stage.recorder.assert_untouched();
    assert_eq!(stage.gate.call("HEAD", &target).token(&stage.reader).send().status, 200);
    assert_eq!(stage.recorder.only_request().method(), "HEAD");
    // For a server key, TRACE is no method either.
    let answer = stage.gate.call("TRACE", "/v1/tools/").bearer(SERVER_KEY).open().answer("TRACE");
    assert!(matches!(answer.status, 405 | 501), "{}", answer.status);
}
