use std::error::Error;
use std::io::{self, Read as _};

use http::Method;
use serde::{Deserialize, Serialize};

use super::arguments::{Create, Delete, Gate, List, Token};
use super::gate_client::{Answer, GateClient, Question};
use super::{Environment, Outcome, print_line, secret_in};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{is_server_key, quoted};
use crate::policy::{Permission, PolicyEntry};
use crate::token::TokenLimits;

/// Where the token API is, under the gate's base URL.
const PATH: &str = "/v1/client-side-access-tokens";

/// Asks a running gate, and prints its answer as it came.
pub(super) fn execute(command: Token, environment: &Environment) -> Outcome {
    match command {
        Token::Create(options) => create(options, environment),
        Token::List(options) => list(&options, environment),
        Token::Delete(options) => delete(&options, environment),
    }
}

/// The body of a create request.
#[derive(Serialize)]
struct CreateBody {
    policy: Vec<Entry>,
    hostname: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<TokenLimits>,
}

#[derive(Serialize)]
struct Entry {
    r#type: &'static str,
    id: String,
    access: Vec<Permission>,
}

/// The body of a refusal, as far as it is shown.
#[derive(Default, Deserialize)]
struct Refusal {
    message: Option<String>,
    code: Option<String>,
    request_id: Option<String>,
}

fn create(options: Create, environment: &Environment) -> Outcome {
    let single = options.agent.zip(options.access);
    let single = single.map(|(agent, access)| PolicyEntry { agent, access });
    let entry = |entry: PolicyEntry| Entry {
        r#type: "agent",
        id: entry.agent.to_string(),
        access: entry.access.iter().collect(),
    };
    let expires_at = match options.expires_in {
        Some(lifetime) => Some(SystemClock::default().now().checked_add(lifetime)?.to_string()),
        None => options.expires_at,
    };
    let limits = TokenLimits {
        requests_per_minute: options.requests_per_minute,
        concurrent_streams: options.concurrent_streams,
        stream_seconds: options.stream_seconds,
    };
    let body = CreateBody {
        policy: single.into_iter().chain(options.policy).map(entry).collect(),
        hostname: options.hostname,
        expires_at,
        limits: (limits != TokenLimits::NONE).then_some(limits),
    };
    let question = Question {
        method: Method::POST,
        target: PATH.to_owned(),
        body: Some(serde_json::to_vec(&body)?),
    };
    ask(&options.gate, environment, question)
}

fn list(options: &List, environment: &Environment) -> Outcome {
    let parameters = [
        options.agent.map(|agent| format!("agentId={agent}")),
        options.limit.map(|limit| format!("limit={limit}")),
        options.offset.map(|offset| format!("offset={offset}")),
        options.usage.then(|| "usage=true".to_owned()),
    ];
    let query = parameters.into_iter().flatten().collect::<Vec<_>>().join("&");
    let target = if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") };
    ask(&options.gate, environment, Question { method: Method::GET, target, body: None })
}

fn delete(options: &Delete, environment: &Environment) -> Outcome {
    let token = match options.token.as_str() {
        "-" => token_from(io::stdin().lock())?,
        token => token.to_owned(),
    };
    // These need no escaping in a path, and no token has others.
    let admitted = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if token.is_empty() || !token.bytes().all(admitted) {
        return Err("this is no token: a token is of `A-Z`, `a-z`, `0-9`, `_` and `-`".into());
    }
    let target = format!("{PATH}/{token}");
    ask(&options.gate, environment, Question { method: Method::DELETE, target, body: None })
}

fn token_from(input: impl io::Read) -> io::Result<String> {
    const INPUT_BYTES_MAX: u64 = 1024;
    let mut text = String::new();
    input.take(INPUT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

fn ask(gate: &Gate, environment: &Environment, question: Question) -> Outcome {
    let server_key = secret_in(environment, &gate.server_key_env)?;
    if !is_server_key(server_key.expose()) {
        return Err(format!("the variable `{}` holds no server key", gate.server_key_env).into());
    }
    let answer = GateClient::new(&gate.url, gate.ca.as_deref(), server_key)?.ask(question)?;
    if answer.status.is_success() { print_answer(&answer) } else { Err(refusal(&answer)) }
}

fn print_answer(answer: &Answer) -> Outcome {
    // JSON escapes whatever could steer a terminal; anything else is not printed.
    let json: &serde_json::value::RawValue = serde_json::from_slice(&answer.body)
        .map_err(|_| "the answer is not JSON: is there a ckgate at this URL?")?;
    print_line(json.get())
}

fn refusal(answer: &Answer) -> Box<dyn Error> {
    let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    let escaped = |text: String| text.escape_debug().to_string().replace("\\\"", "\"");
    let mut text = format!("the gate refused with {}", answer.status.as_u16());
    for (before, part, after) in [
        (" ", refusal.code, ""),
        (": ", refusal.message, ""),
        (" (request ", refusal.request_id.map(|id| quoted(&id)), ")"),
    ] {
        if let Some(part) = part {
            text.push_str(before);
            text.push_str(&escaped(part));
            text.push_str(after);
        }
    }
    text.into()
}
