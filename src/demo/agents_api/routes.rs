//! Requests to answers.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::agents::{AGENT_IDS, Agents, Page, Role};
use super::script::Script;
use super::shapes;
use super::stream::{Events, ReplyBody};
use crate::clock::{Clock as _, SystemClock};
use crate::policy::AgentId;

/// Longest request body.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Messages on a page when nothing else is asked for.
const PAGE_DEFAULT: usize = 100;

type Reply = Response<ReplyBody>;

/// Answers one request; never fails.
pub(super) async fn answer(request: Request<Incoming>, agents: Arc<Agents>) -> Reply {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    if matches!(segments.as_slice(), ["v1", "health" | "ready", ..]) {
        return json_reply(StatusCode::OK, &json!({"version": "0.16.8", "status": "ok"}));
    }
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if !authorization.is_some_and(|value| agents.admits(value)) {
        return detail(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    let ["v1", "agents", agent, rest @ ..] = segments.as_slice() else {
        return detail(StatusCode::NOT_FOUND, "Not Found");
    };
    if agent.is_empty() && rest.is_empty() && request.method() == Method::GET {
        let states = agents.each(shapes::agent_state);
        return json_reply(StatusCode::OK, &Value::Array(states));
    }
    if AgentId::parse(agent).is_err() {
        return detail(StatusCode::UNPROCESSABLE_ENTITY, "not an agent id");
    }
    let Some(agent) = AGENT_IDS.into_iter().find(|id| id == agent) else {
        return detail(StatusCode::NOT_FOUND, "Agent not found");
    };
    match (request.method().as_str(), rest) {
        ("GET", []) => agent_state(&agents, agent),
        ("PATCH", []) => patch(request, &agents, agent).await,
        ("GET", ["messages"]) => list(&request, &agents, agent),
        ("POST", ["messages"]) => send(request, &agents, agent, Mode::AsAsked).await,
        ("POST", ["messages", "stream"]) => send(request, &agents, agent, Mode::Stream).await,
        ("POST", ["messages", "async"]) => send(request, &agents, agent, Mode::Run).await,
        // Every run here is over before it can be cancelled.
        ("POST", ["messages", "cancel"]) => json_reply(StatusCode::OK, &json!({})),
        (_, [] | ["messages"] | ["messages", "stream" | "async" | "cancel"]) => {
            detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        }
        _ => detail(StatusCode::NOT_FOUND, "Not Found"),
    }
}

/// How a message is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// As the body's `streaming` says.
    AsAsked,
    /// As events, whatever the body says.
    Stream,
    /// Later, as a run.
    Run,
}

async fn send(
    request: Request<Incoming>,
    agents: &Arc<Agents>,
    agent: &'static str,
    mode: Mode,
) -> Reply {
    // The real server refuses `streaming` from callers that do not look like a current SDK.
    let current_sdk = request.headers().contains_key("x-stainless-package-version");
    let body = match json_body(request).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let Some(said) = user_text(&body) else {
        return detail(StatusCode::UNPROCESSABLE_ENTITY, "a user's message is needed");
    };
    let streaming = body.get("streaming").and_then(Value::as_bool).unwrap_or(false);
    if mode == Mode::AsAsked && streaming && !current_sdk {
        return detail(StatusCode::UNPROCESSABLE_ENTITY, "streaming needs a current SDK");
    }
    let script = Script::for_text(&said);
    agents.say(agent, Role::User, said.clone());
    match mode {
        Mode::AsAsked if !streaming => {
            let answer = agents.say(agent, Role::Assistant, script.text());
            let usage = shapes::usage(&said, &answer.content);
            json_reply(StatusCode::OK, &shapes::letta_response(&answer, &usage))
        }
        Mode::AsAsked | Mode::Stream => {
            let events = Events::new(agents, agent, &said, &script);
            let body = ReplyBody::Events(events);
            let mut reply = reply(StatusCode::OK, "text/event-stream; charset=utf-8", body);
            reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            reply
        }
        Mode::Run => {
            agents.say(agent, Role::Assistant, script.text());
            let run = shapes::run(&agents.new_id("run"), agent, SystemClock::default().now());
            json_reply(StatusCode::OK, &run)
        }
    }
}

async fn patch(request: Request<Incoming>, agents: &Agents, agent: &str) -> Reply {
    match json_body(request).await {
        Err(refusal) => refusal,
        Ok(fields) => {
            agents.with(agent, |agent| agent.patch(&fields));
            agent_state(agents, agent)
        }
    }
}

fn agent_state(agents: &Agents, agent: &str) -> Reply {
    match agents.with(agent, |agent| shapes::agent_state(agent)) {
        Some(state) => json_reply(StatusCode::OK, &state),
        None => detail(StatusCode::NOT_FOUND, "Agent not found"),
    }
}

fn list(request: &Request<Incoming>, agents: &Agents, agent: &str) -> Reply {
    let query = request.uri().query().unwrap_or("");
    let value = |key: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.rfind(|(name, _)| *name == key).map(|(_, value)| value)
    };
    let page = Page {
        limit: value("limit").and_then(|n| n.parse().ok()).unwrap_or(PAGE_DEFAULT),
        oldest_first: value("order") == Some("asc"),
        after: value("after"),
        before: value("before"),
    };
    let messages = agents.with(agent, |agent| {
        agent.page(&page).into_iter().map(shapes::message).collect::<Vec<Value>>()
    });
    json_reply(StatusCode::OK, &Value::Array(messages.unwrap_or_default()))
}

async fn json_body(request: Request<Incoming>) -> Result<Map<String, Value>, Reply> {
    let collected = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let bytes = collected
        .map_err(|_| detail(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"))?
        .to_bytes();
    serde_json::from_slice(&bytes)
        .map_err(|_| detail(StatusCode::UNPROCESSABLE_ENTITY, "the body is not a JSON object"))
}

/// The text of the newest user message, or of `input`.
fn user_text(body: &Map<String, Value>) -> Option<String> {
    if let Some(input) = body.get("input").filter(|input| !input.is_null()) {
        return content_text(input);
    }
    let messages = body.get("messages")?.as_array()?;
    let user = |message: &&Value| message.get("role").and_then(Value::as_str) == Some("user");
    content_text(messages.iter().rfind(user)?.get("content")?)
}

fn content_text(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            Some(texts.collect::<Vec<&str>>().join(" "))
        }
        _ => None,
    }
}

fn detail(status: StatusCode, detail: &str) -> Reply {
    json_reply(status, &json!({"detail": detail}))
}

fn json_reply(status: StatusCode, value: &Value) -> Reply {
    let body = ReplyBody::Whole(Full::new(Bytes::from(value.to_string())));
    reply(status, "application/json", body)
}

fn reply(status: StatusCode, content_type: &'static str, body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
