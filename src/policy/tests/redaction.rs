use proptest::prelude::*;
use serde_json::Value;

use super::super::{Unreadable, redact};

fn names(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

/// What an answer looks like without its `secrets` and `env`.
#[track_caller]
fn check(answer: &str, expected: Result<&str, Unreadable>) {
    let redacted = redact(answer.as_bytes(), &names(&["secrets", "env"]));
    let redacted = redacted.map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(redacted.as_deref(), expected.as_ref().copied(), "{answer}");
}

#[test]
fn named_fields_go_wherever_they_stand() {
    check(r#"{"secrets":1}"#, Ok("{}"));
    check(r#"{"a":1,"secrets":{"x":[1]},"b":2}"#, Ok(r#"{"a":1,"b":2}"#));
    check(r#"{"secrets":1,"env":2,"a":3,"secrets":4}"#, Ok(r#"{"a":3}"#));
    check(r#"[{"secrets":1},{"a":{"env":[]}}]"#, Ok(r#"[{},{"a":{}}]"#));
    check(r#"{"a":[[{"b":{"secrets":[{"c":1}]}}]]}"#, Ok(r#"{"a":[[{"b":{}}]]}"#));
}

#[test]
fn names_are_compared_whole_and_by_case() {
    for answer in [
        r#"{"secret":1}"#,
        r#"{"secretss":1}"#,
        r#"{"Secrets":1}"#,
        r#"{"a":"secrets"}"#,
        r#"["secrets"]"#,
        r#""secrets""#,
        r#"{"a":"{\"secrets\":1}"}"#,
    ] {
        check(answer, Ok(answer));
    }
}

#[test]
fn escaped_spellings_of_a_name_are_found() {
    for key in [
        r"\u0073ecrets",
        r"s\u0065crets",
        r"secret\u0073",
        r"\u0073\u0065\u0063\u0072\u0065\u0074\u0073",
    ] {
        check(&format!(r#"{{"a":1,"{key}":2}}"#), Ok(r#"{"a":1}"#));
    }
}

#[test]
fn every_escape_of_an_unusual_name_is_found() {
    for (name, key) in [("a/b", r"a\/b"), ("a\"b", r#"a\"b"#), ("a\nb", r"a\nb"), ("é", r"\u00e9")]
    {
        let answer = format!(r#"{{"{key}":1,"x":2}}"#);
        let redacted = redact(answer.as_bytes(), &names(&[name])).unwrap();
        assert_eq!(String::from_utf8(redacted).unwrap(), r#"{"x":2}"#, "{name:?}");
    }
}

#[test]
fn scalars_keep_their_spelling() {
    let answer = r#"{"n":[1.0,1e5,-0,0.10,12345678901234567890123],"s":"\u00e9\/\n","env":0}"#;
    let kept = r#"{"n":[1.0,1e5,-0,0.10,12345678901234567890123],"s":"\u00e9\/\n"}"#;
    check(answer, Ok(kept));
}

#[test]
fn answer_without_the_names_is_left_as_it_is() {
    for answer in ["{ \"a\" : [ 1 , 2 ] }", "[]", "null", "1.50", "\"x\"", "{\"a\":1,\"a\":2}"] {
        check(answer, Ok(answer));
    }
}

#[test]
fn what_cannot_be_read_whole_is_not_passed_on() {
    for answer in [
        "",
        "{",
        "{\"secrets\":1",
        "{\"secrets\":1}}",
        "{\"secrets\":1} {\"secrets\":2}",
        "secrets",
        "{secrets:1}",
        "\u{feff}{\"secrets\":1}",
        "{\"a\":1,}",
        "{\"\\ud800\":1}",
    ] {
        check(answer, Err(Unreadable));
    }
    assert_eq!(redact(b"{\"a\":\"\xff\"}", &names(&["x"])), Err(Unreadable));
}

#[test]
fn deep_answers_are_refused_only_when_they_must_be_searched() {
    let nested =
        |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    check(&nested(63, r#"{"secrets":1}"#), Ok(&nested(63, "{}")));
    check(&nested(64, r#"{"secrets":1}"#), Err(Unreadable));
    check(&nested(10_000, r#"{"secrets":1}"#), Err(Unreadable));
    check(&nested(100, "1"), Ok(&nested(100, "1")));
}

/// JSON values with the names among their keys.
fn values() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("secrets")),
    ];
    let key = prop_oneof![
        Just("secrets".to_owned()),
        Just("env".to_owned()),
        Just("secrets2".to_owned()),
        any::<String>(),
        "[a-c]",
    ];
    scalar.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().collect::<Value>()),
        ]
    })
}

fn without_names(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(without_names).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| *key != "secrets" && *key != "env")
            .map(|(key, value)| (key.clone(), without_names(value)))
            .collect(),
        scalar => scalar.clone(),
    }
}

/// The same JSON with the first letter of some keys and strings escaped.
fn with_escapes(text: &str) -> String {
    text.replace("\"s", "\"\\u0073").replace("\"e", "\"\\u0065")
}

proptest! {
    #[test]
    fn redacted_is_the_same_value_without_the_fields(value in values(), spread in any::<bool>()) {
        let text = if spread {
            serde_json::to_string_pretty(&value).unwrap()
        } else {
            value.to_string()
        };
        for text in [with_escapes(&text), text] {
            let Ok(before) = serde_json::from_str::<Value>(&text) else { continue };
            let redacted = redact(text.as_bytes(), &names(&["secrets", "env"])).unwrap();
            let after: Value = serde_json::from_slice(&redacted).unwrap();
            prop_assert_eq!(after, without_names(&before));
        }
    }

    #[test]
    fn redacting_never_panics(bytes in "[\\[\\]{}:,\"\\\\a-z0-9u ]{0,40}") {
        let _ = redact(bytes.as_bytes(), &names(&["a", "s"]));
    }
}
