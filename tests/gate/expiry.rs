//! The moment of expiry, to the millisecond.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::harness::{A, Gate, ORIGIN, agent_path, assert_refused, create, from_now};

/// C-04, X-01: while the record is remembered all the time.
#[test]
fn token_is_admitted_until_its_expiry_and_never_after() {
    let gate = Gate::before_letta();
    let created = create(
        &gate,
        &json!({
            "policy": [{"type": "agent", "id": A, "access": ["read_messages"]}],
            "hostname": ORIGIN,
            "expires_at": from_now(Duration::from_millis(1234)),
        }),
    );
    let token = created["token"].as_str().unwrap();
    let expires: Timestamp = created["expiresAt"].as_str().unwrap().parse().unwrap();
    let mut admitted = 0;
    loop {
        let before = Timestamp::now();
        let answer = gate.call("GET", &agent_path(A, "/messages")).token(token).send();
        let after = Timestamp::now();
        if answer.status == 200 {
            admitted += 1;
            assert!(before < expires, "asked at {before}, expired at {expires}");
        } else {
            assert_refused(&answer, 401, "token_expired");
            assert!(after >= expires, "refused at {after}, expires at {expires}");
            break;
        }
    }
    assert!(admitted > 0, "it lived for more than a second");
}
