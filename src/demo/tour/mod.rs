//! The tour: requests worth seeing, each with what the gate promises about it.
//!
//! The same list is printed as commands to copy and, with `--tour`, taken step by step.

use std::io::{self, Write};
use std::net::SocketAddr;

use http::Method;
use serde_json::{Value, json};

use super::DemoError;
use super::api_client::{ApiClient, Call};
use super::users::{ORIGIN, User, Users};

mod promise;

use promise::Promise;

/// A page that no token of the demo is bound to.
const FOREIGN_ORIGIN: &str = "https://elsewhere.example";

/// The steps, and the client that takes them.
pub(super) struct Tour<'d> {
    client: &'d ApiClient,
    public: SocketAddr,
    steps: Vec<Step>,
}

/// One request, perhaps a second one while the answer to the first arrives, and what must come of it.
pub(super) struct Step {
    title: String,
    call: Call,
    meanwhile: Option<Call>,
    promise: Promise,
}

impl<'d> Tour<'d> {
    /// The tour for these users.
    pub(super) fn new(client: &'d ApiClient, public: SocketAddr, users: &Users) -> Self {
        Self { client, public, steps: steps(users) }
    }

    /// Prints every step as commands.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        for (number, step) in self.steps.iter().enumerate() {
            self.print_step(out, number + 1, step)?;
            writeln!(out)?;
        }
        Ok(())
    }

    /// Takes every step, printing request and answer. Fails when one did not end as promised.
    pub(super) async fn take(&self, out: &mut impl Write) -> Result<(), DemoError> {
        let mut failed = 0;
        for (number, step) in self.steps.iter().enumerate() {
            self.print_step(out, number + 1, step).map_err(DemoError::Print)?;
            let outcome = promise::check(self.client, step).await;
            let verdict = match &outcome.broken {
                None => "as promised".to_owned(),
                Some(difference) => {
                    failed += 1;
                    format!("NOT AS PROMISED: {difference}")
                }
            };
            writeln!(out, "# answered: {}\n# {verdict}\n", outcome.answered)
                .and_then(|()| out.flush())
                .map_err(DemoError::Print)?;
        }
        if failed == 0 { Ok(()) } else { Err(DemoError::Tour { failed, steps: self.steps.len() }) }
    }

    fn print_step(&self, out: &mut impl Write, number: usize, step: &Step) -> io::Result<()> {
        writeln!(out, "# {number}. {}", step.title)?;
        let command = self.command(&step.call);
        match &step.meanwhile {
            None => writeln!(out, "{command}")?,
            Some(meanwhile) => {
                writeln!(out, "{command} &\nsleep 1; {}; wait", self.command(meanwhile))?;
            }
        }
        writeln!(out, "# promised: {}", step.promise)
    }

    /// A call as one shell command.
    fn command(&self, call: &Call) -> String {
        let quiet = if call.target.ends_with("/stream") { "-sSN" } else { "-sS" };
        let token = call.token.as_ref().unwrap_or(self.client.credential()).expose();
        let mut parts = vec![format!("curl {quiet} -w '\\n[%{{http_code}}]\\n'")];
        if call.method != Method::GET && call.body.is_none() {
            parts.push(format!("-X {}", call.method));
        }
        parts.push(format!("'http://{}{}' \\\n ", self.public, call.target));
        parts.push(format!("-H 'Authorization: Bearer {token}'"));
        parts.extend(call.origin.iter().map(|origin| format!("-H 'Origin: {origin}'")));
        if let Some(body) = &call.body {
            let data = shell_quoted(&body.to_string());
            parts.push(format!("\\\n  -H 'Content-Type: application/json' -d '{data}'"));
        }
        parts.join(" ")
    }
}

/// Text for between single quotes.
fn shell_quoted(text: &str) -> String {
    text.replace('\'', r"'\''")
}

fn steps(users: &Users) -> Vec<Step> {
    let Users { ann, ben } = users;
    let messages = |user: &User| format!("/v1/agents/{}/messages", user.agent);
    let state = |user: &User| format!("/v1/agents/{}", user.agent);
    let stream = format!("{}/stream", messages(ann));
    let step = |title: &str, call: Call, promise: Promise| Step {
        title: title.to_owned(),
        call,
        meanwhile: None,
        promise,
    };
    let refused = |status: u16, code: &'static str| Promise::Refusal { status, code };
    let hello = || says("hello");
    vec![
        step(
            &format!("{} says hello to her agent", ann.name),
            post(ann, &messages(ann), hello()),
            Promise::Message,
        ),
        step(
            "A reply can be read while it is written",
            post(ann, &stream, says("Count to ten. [[words 10 100]]")),
            Promise::Stream,
        ),
        step("What was said is kept", get(ann, &messages(ann)), Promise::Message),
        step(
            "An agent's state comes without its secrets",
            get(ann, &state(ann)),
            Promise::Redacted,
        ),
        step(
            &format!("{}'s agent is not {}'s to read", ben.name, ann.name),
            get(ann, &messages(ben)),
            refused(403, "permission_denied"),
        ),
        step(
            &format!("{} may read his agent's messages, but not write any", ben.name),
            post(ben, &messages(ben), hello()),
            refused(403, "permission_denied"),
        ),
        step(
            "A token works only from the page that it is bound to",
            Call { origin: Some(FOREIGN_ORIGIN.to_owned()), ..get(ann, &messages(ann)) },
            refused(403, "hostname_mismatch"),
        ),
        step(
            "No token makes or lists tokens",
            get(ann, "/v1/client-side-access-tokens"),
            refused(403, "route_not_allowed"),
        ),
        Step {
            title: format!("Deleting {}'s token cuts her open stream", ann.name),
            call: post(ann, &stream, says("Write a poem of forty lines. [[words 40 100]]")),
            meanwhile: Some(deletion(ann)),
            promise: Promise::Cut { code: "token_revoked" },
        },
        step("A deleted token is refused", get(ann, &messages(ann)), refused(401, "token_invalid")),
    ]
}

fn says(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

fn get(user: &User, target: &str) -> Call {
    Call {
        method: Method::GET,
        target: target.to_owned(),
        token: Some(user.token.clone()),
        origin: Some(ORIGIN.to_owned()),
        body: None,
    }
}

fn post(user: &User, target: &str, mut body: Value) -> Call {
    if target.ends_with("/stream")
        && let Some(fields) = body.as_object_mut()
    {
        fields.insert("stream_tokens".to_owned(), Value::Bool(true));
    }
    Call { method: Method::POST, body: Some(body), ..get(user, target) }
}

/// What the application's backend sends when a user logs out.
fn deletion(user: &User) -> Call {
    Call {
        method: Method::DELETE,
        target: format!("/v1/client-side-access-tokens/{}", user.token.expose()),
        token: None,
        origin: None,
        body: None,
    }
}
