//! Redaction: what comes out is the same value without the fields, to another parser.

#![no_main]

use ckgate::policy::redact;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// A line with one more name, then the answer.
fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let (Some(name), Some(answer)) = (parts.next(), parts.next()) else { return };
    let names: [Box<str>; 3] =
        ["secrets".into(), "e".into(), String::from_utf8_lossy(name).into()];
    let before = serde_json::from_slice::<Value>(answer);
    let Ok(redacted) = redact(answer, &names) else { return };
    // Only what that parser finds too deep, or cannot represent, is not compared.
    let Ok(mut before) = before else { return };
    let after: Value = serde_json::from_slice(&redacted).expect("what comes out is JSON");
    remove(&mut before, &names);
    assert_eq!(after, before);
});

fn remove(value: &mut Value, names: &[Box<str>]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| remove(item, names)),
        Value::Object(fields) => {
            fields.retain(|key, _| !names.iter().any(|name| **name == *key));
            fields.values_mut().for_each(|value| remove(value, names));
        }
        _ => {}
    }
}
