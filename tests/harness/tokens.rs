//! Making and deleting tokens through the token API.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::connection::Answer;
use super::gate::Gate;
use super::kept;
use super::{ORIGIN, SERVER_KEY};

/// Where the token API answers.
pub(crate) const TOKENS: &str = "/v1/client-side-access-tokens";

/// Asks for a token with the server key of the account `default`.
#[track_caller]
pub(crate) fn create_answer(gate: &Gate, body: &Value) -> Answer {
    let answer = gate.call("POST", TOKENS).bearer(SERVER_KEY).json(body).send();
    if answer.status == 201 {
        kept::note_secret(answer.json()["token"].as_str().expect("a token"));
    }
    answer
}

/// Like [`create_answer`], which has to succeed.
#[track_caller]
pub(crate) fn create(gate: &Gate, body: &Value) -> Value {
    let answer = create_answer(gate, body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// A token for one agent with these permissions, bound to [`ORIGIN`].
#[track_caller]
pub(crate) fn mint(gate: &Gate, agent: &str, access: &[&str]) -> String {
    mint_for(gate, ORIGIN, &[(agent, access)])
}

/// A token with this policy, bound to `hostname`.
#[track_caller]
pub(crate) fn mint_for(gate: &Gate, hostname: &str, policy: &[(&str, &[&str])]) -> String {
    let entry =
        |(id, access): &(&str, &[&str])| json!({"type": "agent", "id": id, "access": access});
    let policy: Vec<Value> = policy.iter().map(entry).collect();
    text(&create(gate, &json!({"policy": policy, "hostname": hostname})))
}

/// A token for one agent that lives so long.
#[track_caller]
pub(crate) fn mint_until(gate: &Gate, agent: &str, access: &[&str], lifetime: Duration) -> String {
    text(&create(
        gate,
        &json!({
            "policy": [{"type": "agent", "id": agent, "access": access}],
            "hostname": ORIGIN,
            "expires_at": from_now(lifetime),
        }),
    ))
}

/// Deletes a token with the server key of its account.
#[track_caller]
pub(crate) fn delete(gate: &Gate, token: &str) {
    let answer = gate.call("DELETE", &format!("{TOKENS}/{token}")).bearer(SERVER_KEY).send();
    assert_eq!((answer.status, answer.text()), (200, "{}".to_owned()));
}

/// A moment so far ahead, as JavaScript writes it.
pub(crate) fn from_now(ahead: Duration) -> String {
    let at = Timestamp::now() + SignedDuration::try_from(ahead).unwrap();
    format!("{at:.3}")
}

#[track_caller]
fn text(created: &Value) -> String {
    created["token"].as_str().expect("a token").to_owned()
}
