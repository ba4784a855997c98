//! The stand-in, the scratch directory and the settings, without a gate.

use std::os::unix::fs::PermissionsExt as _;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::agents_api::{AGENT_IDS, AgentsApi};
use super::api_client::{ApiClient, Call};
use super::scratch::ScratchDirectory;
use super::{DemoUpstream, gate};
use crate::token::Secret;

fn stand_in() -> (AgentsApi, ApiClient) {
    let password = Secret::new("a-password".to_owned());
    let api = AgentsApi::start(password.clone()).unwrap();
    let client = ApiClient::to_address(api.address(), password);
    (api, client)
}

fn call(method: Method, target: String, body: Option<Value>) -> Call {
    Call { method, target, token: None, origin: None, body }
}

fn messages_of(agent: &str, rest: &str) -> String {
    format!("/v1/agents/{agent}/messages{rest}")
}

fn user_says(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

async fn json_of(client: &ApiClient, call: &Call) -> (StatusCode, Value) {
    let answer = client.send(call).await.unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

#[test]
fn stand_in_refuses_callers_without_its_password() {
    let (_api, client) = stand_in();
    let mut intruder = call(Method::GET, messages_of(AGENT_IDS[0], ""), None);
    intruder.token = Some(Secret::new("a-passwore".to_owned()));
    let (status, body) = block_on(json_of(&client, &intruder));
    assert_eq!((status.as_u16(), body), (401, json!({"detail": "Unauthorized"})));
}

#[test]
fn stand_in_keeps_each_agents_messages_apart_newest_first() {
    let (_api, client) = stand_in();
    let [one, two] = AGENT_IDS;
    let (answer, listed, other, rest) = block_on(async {
        let send = call(Method::POST, messages_of(one, ""), Some(user_says("good day")));
        let (_, answer) = json_of(&client, &send).await;
        let list = |target| call(Method::GET, target, None);
        let (_, listed) = json_of(&client, &list(messages_of(one, ""))).await;
        let oldest = listed[1]["id"].as_str().unwrap();
        let page_after = messages_of(one, &format!("?limit=5&after={oldest}"));
        let (_, rest) = json_of(&client, &list(page_after)).await;
        let (_, other) = json_of(&client, &list(messages_of(two, ""))).await;
        (answer, listed, other, rest)
    });
    assert_eq!(answer["messages"][0]["content"], "echo: good day");
    assert_eq!(answer["stop_reason"]["stop_reason"], "end_turn");
    assert_eq!(answer["usage"]["message_type"], "usage_statistics");
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["message_type"], "assistant_message");
    assert_eq!(listed[1]["message_type"], "user_message");
    assert_eq!(rest, json!([]), "paging must end");
    assert_eq!(other, json!([]));
}

#[test]
fn stand_in_streams_piece_by_piece_and_ends_with_done() {
    let (_api, client) = stand_in();
    let target = messages_of(AGENT_IDS[0], "/stream");
    let stream = call(Method::POST, target, Some(user_says("[[words 5 1]]")));
    let (pieces, text) = block_on(async {
        let mut open = client.open(&stream).await.unwrap();
        let (mut pieces, mut text) = (0, String::new());
        while let Some(piece) = open.next_piece().await.unwrap() {
            pieces += 1;
            text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        (pieces, text)
    });
    assert!(pieces >= 5, "{pieces} pieces");
    let events: Vec<&str> =
        text.split_terminator("\n\n").map(|e| e.strip_prefix("data: ").unwrap()).collect();
    let kinds: Vec<String> = events
        .iter()
        .map(|e| {
            serde_json::from_str(e)
                .map_or((*e).to_owned(), |v: Value| v["message_type"].to_string())
        })
        .collect();
    let said = ["\"assistant_message\""; 5];
    let expected =
        [&["\"ping\""], &said[..], &["\"stop_reason\"", "\"usage_statistics\"", "[DONE]"]].concat();
    assert_eq!(kinds, expected);
}

#[test]
fn stream_whose_reader_left_says_nothing_more() {
    let (_api, client) = stand_in();
    let [one, _] = AGENT_IDS;
    let contents = block_on(async {
        let say = Some(user_says("[[words 1000 2000]]"));
        let mut open =
            client.open(&call(Method::POST, messages_of(one, "/stream"), say)).await.unwrap();
        open.next_piece().await.unwrap();
        drop(open);
        let (_, listed) = json_of(&client, &call(Method::GET, messages_of(one, ""), None)).await;
        listed.as_array().unwrap().iter().map(|m| m["message_type"].clone()).collect::<Vec<_>>()
    });
    assert_eq!(contents, ["user_message"]);
}

#[test]
fn stand_in_refuses_streaming_to_callers_that_are_no_current_sdk() {
    let (_api, client) = stand_in();
    let body = Some(json!({"input": "hello", "streaming": true}));
    let (status, _) =
        block_on(json_of(&client, &call(Method::POST, messages_of(AGENT_IDS[0], ""), body)));
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[test]
fn stand_in_states_carry_secrets_for_the_gate_to_remove() {
    let (_api, client) = stand_in();
    let [one, _] = AGENT_IDS;
    let state = format!("/v1/agents/{one}");
    let (read, patched) = block_on(async {
        let (_, read) = json_of(&client, &call(Method::GET, state.clone(), None)).await;
        let change = Some(json!({"description": "new", "name": 7}));
        let (_, patched) = json_of(&client, &call(Method::PATCH, state, change)).await;
        (read, patched)
    });
    assert_eq!(read["secrets"][0]["key"], "DEMO_API_KEY");
    assert_eq!(patched["tool_exec_environment_variables"][0]["key"], "DEMO_DATABASE_PASSWORD");
    assert_eq!((&patched["description"], &patched["name"]), (&json!("new"), &read["name"]));
}

#[test]
fn stand_in_answers_the_rest_of_the_core_routes_in_the_servers_shapes() {
    let (_api, client) = stand_in();
    let [one, _] = AGENT_IDS;
    let check = |method: Method, target: String, body: Option<Value>, status: u16| {
        let (found, answer) = block_on(json_of(&client, &call(method, target.clone(), body)));
        assert_eq!(found.as_u16(), status, "{target}");
        answer
    };
    let run = check(Method::POST, messages_of(one, "/async"), Some(user_says("later")), 200);
    assert!(run["id"].as_str().unwrap().starts_with("run-"));
    check(Method::POST, messages_of(one, "/cancel"), Some(json!({})), 200);
    check(Method::GET, "/v1/health/".to_owned(), None, 200);
    check(Method::GET, "/v1/agents/agent-nope".to_owned(), None, 422);
    let unknown = "/v1/agents/agent-33333333-3333-4333-8333-333333333333";
    check(Method::GET, unknown.to_owned(), None, 404);
    check(Method::GET, "/v1/tools/".to_owned(), None, 404);
    check(Method::DELETE, format!("/v1/agents/{one}"), None, 405);
}

#[test]
fn scratch_directory_is_private_and_leaves_nothing_behind() {
    let scratch = ScratchDirectory::create().unwrap();
    let path = scratch.path().to_owned();
    let file = scratch.write_secret("key", &Secret::new("s".to_owned())).unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
    drop(scratch);
    assert!(!path.exists());
}

#[test]
fn demo_configuration_holds_no_secret() {
    let scratch = ScratchDirectory::create().unwrap();
    let upstream = DemoUpstream {
        url: "http://127.0.0.1:1".to_owned(),
        credential: Secret::new("the-credential".to_owned()),
        model: None,
    };
    let server_key = Secret::new("sk-let-the-key".to_owned());
    let settings = gate::Settings {
        upstream: &upstream,
        server_key: &server_key,
        listen_public: ([127, 0, 0, 1], 0).into(),
        listen_admin: ([127, 0, 0, 1], 0).into(),
    };
    let text = gate::configuration(&settings, &scratch).unwrap();
    assert!(!text.contains("the-credential") && !text.contains("the-key"));
    let parsed: toml::Table = text.parse().unwrap();
    assert_eq!(parsed["listen"]["public"].as_str(), Some("127.0.0.1:0"));
    let held = parsed["upstream"]["credential"]["file"].as_str().unwrap();
    assert_eq!(std::fs::read_to_string(held).unwrap(), "the-credential");
}
