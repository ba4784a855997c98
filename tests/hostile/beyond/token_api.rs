//! The token API, asked in shapes that its readers might take for something else.

use serde_json::{Value, json};

use crate::harness::{A, B, SERVER_KEY, TOKENS, agent_path, mint};
use crate::stage::Stage;

/// An object is an object: its fields in a list, in the right order, are none.
#[test]
fn lists_in_the_place_of_objects_make_no_token() {
    let stage = Stage::set();
    let entry = json!({"type": "agent", "id": A, "access": ["read_messages"]});
    for body in [
        json!([[entry], "https://app.test", null]),
        json!({"policy": [["agent", A, ["read_messages"]]], "hostname": "https://app.test"}),
        json!({"policy": {"0": entry}, "hostname": "https://app.test"}),
        json!({"policy": entry, "hostname": "https://app.test"}),
        json!({"policy": [[entry]], "hostname": "https://app.test"}),
        json!({"policy": [entry], "hostname": ["https://app.test"]}),
        json!({"policy": [entry], "hostname": "app.test", "expires_at": 1_900_000_000}),
        json!({"policy": [entry], "hostname": "app.test", "expires_at": [null]}),
        json!({"policy": [{"type": "agent", "id": A, "access": "read_messages"}], "hostname": "app.test"}),
        json!({"policy": [{"type": "agent", "id": A, "access": {"read_messages": true}}], "hostname": "app.test"}),
        json!("{}"),
        Value::Null,
    ] {
        let answer = stage.gate.call("POST", TOKENS).bearer(SERVER_KEY).json(&body).send();
        assert_eq!((answer.status, answer.code()), (400, "invalid_request".to_owned()), "{body}");
    }
}

/// The same key twice, unescaped or not, at any depth.
#[test]
fn keys_that_come_twice_make_no_token() {
    let stage = Stage::set();
    let entry = format!(r#"{{"type":"agent","id":"{A}","access":["read_messages"]}}"#);
    for body in [
        format!(r#"{{"policy":[{entry}],"policy":[{entry}],"hostname":"app.test"}}"#),
        format!(r#"{{"policy":[{entry}],"hostname":"app.test","hostn\u0061me":"b.test"}}"#),
        format!(
            r#"{{"policy":[{entry}],"hostname":"app.test","expires_at":null,"expiresAt":null}}"#
        ),
        format!(
            r#"{{"policy":[{{"type":"agent","id":"{A}","i\u0064":"{B}","access":["read_agent"]}}],"hostname":"app.test"}}"#
        ),
        format!(r#"{{"policy":[{entry}],"hostname":"app.test"}}{{}}"#),
        format!("\u{feff}{{\"policy\":[{entry}],\"hostname\":\"app.test\"}}"),
    ] {
        let call = stage.gate.call("POST", TOKENS).bearer(SERVER_KEY);
        let answer = call.header("Content-Type", "application/json").body(&body).send();
        assert_eq!(answer.status, 400, "{body}");
    }
}

/// A token is deleted by its own path and no other.
#[test]
fn paths_that_resemble_a_tokens_delete_nothing() {
    let stage = Stage::set();
    let token = mint(&stage.gate, A, &["read_messages"]);
    for path in [
        format!("{TOKENS}//{token}"),
        format!("{TOKENS}/./{token}"),
        format!("{TOKENS}/../client-side-access-tokens/{token}"),
        format!("{TOKENS};x/{token}"),
        format!("{TOKENS}/x/{token}"),
        format!("{TOKENS}/{token}/x"),
        format!("{TOKENS}/{token}//"),
        format!("{TOKENS}/{token}%00"),
        format!("{TOKENS}/{token}%20"),
        format!("{TOKENS}/{token}="),
        format!("{TOKENS}/{}", token.to_uppercase()),
        format!("{TOKENS}/{}", &token["ck-let-".len()..]),
        format!("{TOKENS}%2F{token}"),
    ] {
        let answer = stage.gate.call("DELETE", &path).bearer(SERVER_KEY).send();
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
    }
    let call = stage.gate.call("GET", &agent_path(A, "/messages"));
    assert_eq!(call.token(&token).send().status, 200);
}
