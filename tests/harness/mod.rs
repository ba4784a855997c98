//! The real program, run against an upstream that records every byte, and driven by a client that
//! inspects every answer.
//!
//! A crate of tests takes this in with `#[path = "../harness/mod.rs"] mod harness;`. Must always
//! hold: nothing waits for a while, everything waits for a condition and gives up at [`DEADLINE`].

mod call;
mod connection;
mod gate;
pub(crate) mod http2;
mod inspection;
mod kept;
mod letta;
mod log;
mod recorder;
mod reload;
mod reply;
mod settings;
mod signal;
mod tls;
mod tokens;
mod wire;

use std::time::{Duration, Instant};

pub(crate) use call::Call;
pub(crate) use connection::{Answer, Connection};
pub(crate) use gate::Gate;
pub(crate) use inspection::assert_refused;
pub(crate) use letta::{SECRET_MARKER, events, letta};
pub(crate) use log::{Log, field};
pub(crate) use recorder::Recorder;
pub(crate) use reload::{count, edit, hang_up, replace, section};
pub(crate) use reply::Reply;
pub(crate) use settings::Settings;
pub(crate) use signal::Signal;
pub(crate) use tls::{Leaf, Pki};
pub(crate) use tokens::{
    TOKENS, create, create_answer, delete, from_now, mint, mint_for, mint_until,
};
pub(crate) use wire::Recorded;

/// The agent most tokens are for.
pub(crate) const A: &str = "agent-11111111-1111-4111-8111-111111111111";
/// An agent that they are not for.
pub(crate) const B: &str = "agent-22222222-2222-4222-8222-222222222222";
/// Where tokens are bound to.
pub(crate) const ORIGIN: &str = "https://app.test";
/// The `Host` that clients send.
pub(crate) const HOST: &str = "gw.test";
/// The key of the account `default`.
pub(crate) const SERVER_KEY: &str = "sk-let-test0server0key0of0the0default0account0";
/// The key of the account `other`.
pub(crate) const OTHER_SERVER_KEY: &str = "sk-let-test0server0key0of0the0other00account0";
/// What the upstream asks for, and no client may ever see.
pub(crate) const CREDENTIAL: &str = "upstream-credential-that-no-client-may-see";
/// Longest wait for anything; reaching it fails the test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks at a condition, so that who waits leaves the core to whom it waits for.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Asks again until `condition` holds, for what the program shows only when it is asked.
#[track_caller]
pub(crate) fn eventually(claim: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "never: {claim}");
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// `/v1/agents/{agent}` and what follows.
pub(crate) fn agent_path(agent: &str, rest: &str) -> String {
    format!("/v1/agents/{agent}{rest}")
}

/// The body that sends one user message.
pub(crate) fn says(text: &str) -> serde_json::Value {
    serde_json::json!({"messages": [{"role": "user", "content": text}]})
}
