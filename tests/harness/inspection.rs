//! What must hold of every answer, whatever a test is about.

use serde_json::Value;

use super::connection::Answer;
use super::letta::SECRET_MARKER;
use super::{CREDENTIAL, OTHER_SERVER_KEY, SERVER_KEY};

/// Whose rules an answer follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    Public,
    Admin,
}

/// The only headers that answers may carry.
const HEADERS: [&str; 22] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "date",
    "etag",
    "last-modified",
    "retry-after",
    "transfer-encoding",
    "vary",
    "www-authenticate",
    "x-request-id",
    "x-should-retry",
];

/// Inspects an answer; every helper that receives one calls this.
#[track_caller]
pub(super) fn inspect(listener: Listener, method: &str, target: &str, answer: &Answer) {
    let whole = format!("{method} {target} -> {:?} {}", answer.head, answer.text());
    for (name, value) in &answer.head.headers {
        let admitted =
            HEADERS.contains(&name.as_str()) || (name == "location" && value.starts_with('/'));
        assert!(admitted, "the header {name} in {whole}");
    }
    assert_keeps_secrets(
        &format!("{method} {target}"),
        &format!("{:?}{}", answer.head, answer.text()),
    );
    let shows_tokens = target.starts_with("/v1/client-side-access-tokens") && answer.status < 300;
    assert!(shows_tokens || !answer.text().contains("ck-let-"), "a token in {whole}");
    if listener == Listener::Public {
        let varies = answer.head.header_all("vary").join(",").to_lowercase();
        assert!(varies.split(',').any(|v| v.trim() == "origin"), "no Vary: Origin in {whole}");
        assert!(answer.header("access-control-allow-credentials").is_none(), "{whole}");
        if answer.status >= 400 && method != "HEAD" && !is_upstreams_own(answer) {
            assert_error_shape(answer, &whole);
        }
    }
}

/// How every token and every key begins: as it is, escaped, in base64 at any of its three shifts.
const PREFIX_SPELLINGS: [&str; 7] =
    ["ck-let-", "sk-let-", "k%2Dlet%2D", "k%2dlet%2d", "stbGV0L", "NrLWxldC", "ay1sZXQt"];

/// Fails when `text` holds a secret of the harness in any spelling.
#[track_caller]
pub(super) fn assert_keeps_secrets(place: &str, text: &str) {
    for secret in [SERVER_KEY, OTHER_SERVER_KEY, CREDENTIAL, SECRET_MARKER] {
        assert!(!text.contains(secret), "{place} shows {secret}: {text}");
    }
    if place == "the log" {
        for spelling in PREFIX_SPELLINGS {
            assert!(!text.contains(spelling), "{place} shows a token or key: {text}");
        }
    }
}

/// Fails unless an answer is the gate's refusal with this status and code.
#[track_caller]
pub(crate) fn assert_refused(answer: &Answer, status: u16, code: &str) {
    let found = (answer.status, answer.code());
    assert_eq!(found, (status, code.to_owned()), "{}", answer.text());
    let challenge = answer.header("www-authenticate");
    match status {
        401 => assert!(challenge.is_some_and(|c| c.starts_with("Bearer")), "{challenge:?}"),
        403 if code == "permission_denied" => {
            assert!(challenge.is_some_and(|c| c.contains("insufficient_scope")), "{challenge:?}");
        }
        429 => assert!(answer.header("retry-after").is_some(), "no Retry-After"),
        _ => {}
    }
}

#[track_caller]
fn assert_error_shape(answer: &Answer, whole: &str) {
    let Ok(Value::Object(fields)) = serde_json::from_slice(&answer.body) else {
        panic!("an error that is no JSON object: {whole}");
    };
    let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["code", "message", "request_id"], "{whole}");
    assert!(fields.values().all(|v| v.as_str().is_some_and(|t| !t.is_empty())), "{whole}");
    let [message, code] = ["message", "code"].map(|name| fields[name].as_str().unwrap());
    assert!(message.ends_with(&format!(" [docs: refusals/{code}]")), "{whole}");
    assert!(ckgate::docs::refusal(code).is_some(), "no page for {code}");
    assert_eq!(answer.header("x-request-id"), fields["request_id"].as_str(), "{whole}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{whole}");
}

/// Letta's own errors are relayed; they have other fields.
fn is_upstreams_own(answer: &Answer) -> bool {
    serde_json::from_slice::<Value>(&answer.body)
        .is_ok_and(|body| body.get("detail").is_some() || body.get("error").is_some())
}
