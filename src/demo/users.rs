//! The two users of the demo: what an application's backend would do when they log in.

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::DemoError;
use super::api_client::{Answer, ApiClient, Call};
use crate::clock::{Clock as _, SystemClock};
use crate::policy::Permission;
use crate::token::Secret;

/// Where the users' page would be served from; their tokens are bound to it.
pub(super) const ORIGIN: &str = "http://localhost:3000";
/// How long their tokens live.
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);
/// How much of an unexpected answer is shown.
const SHOWN_BYTES_MAX: usize = 500;

/// Somebody who talks to one agent.
#[derive(Debug)]
pub(super) struct User {
    pub(super) name: &'static str,
    pub(super) agent: String,
    pub(super) token: Secret,
}

/// Both users.
#[derive(Debug)]
pub(super) struct Users {
    /// May read, and write messages.
    pub(super) ann: User,
    /// May only read messages.
    pub(super) ben: User,
}

/// Asks the gate for a token for each user, with the server key that `client` holds.
pub(super) async fn create(client: &ApiClient, agents: [String; 2]) -> Result<Users, DemoError> {
    let [first, second] = agents;
    let ann_may = [Permission::ReadMessages, Permission::WriteMessages, Permission::ReadAgent];
    let ann = create_user(client, "Ann", first, &ann_may).await?;
    let ben = create_user(client, "Ben", second, &[Permission::ReadMessages]).await?;
    Ok(Users { ann, ben })
}

async fn create_user(
    client: &ApiClient,
    name: &'static str,
    agent: String,
    access: &[Permission],
) -> Result<User, DemoError> {
    let expires_at =
        SystemClock::default().now().saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
    let call = Call {
        method: Method::POST,
        target: "/v1/client-side-access-tokens".to_owned(),
        token: None,
        origin: None,
        body: Some(json!({
            "policy": [{"type": "agent", "id": agent, "access": access}],
            "hostname": ORIGIN,
            "expires_at": expires_at.to_string(),
        })),
    };
    let created = expect_json(client, &call, StatusCode::CREATED).await?;
    match created.get("token").and_then(Value::as_str) {
        Some(token) => Ok(User { name, agent, token: Secret::new(token.to_owned()) }),
        None => Err(DemoError::Answer {
            request: request_line(&call),
            status: StatusCode::CREATED.as_u16(),
            answer: "no token in it".to_owned(),
        }),
    }
}

/// Sends `call` and returns the JSON of its answer, which must have this status.
pub(super) async fn expect_json(
    client: &ApiClient,
    call: &Call,
    status: StatusCode,
) -> Result<Value, DemoError> {
    let answer = client
        .send(call)
        .await
        .map_err(|source| DemoError::Exchange { request: request_line(call), source })?;
    if answer.status == status
        && let Ok(value) = serde_json::from_slice(&answer.body)
    {
        return Ok(value);
    }
    Err(DemoError::Answer {
        request: request_line(call),
        status: answer.status.as_u16(),
        answer: shown(&answer),
    })
}

/// How errors name a request.
pub(super) fn request_line(call: &Call) -> String {
    format!("{} {}", call.method, call.target)
}

fn shown(answer: &Answer) -> String {
    let beginning = answer.body.get(..SHOWN_BYTES_MAX).unwrap_or(&answer.body);
    String::from_utf8_lossy(beginning).into_owned()
}
