//! Removes keys from JSON answers, at any depth, leaving the rest byte for byte.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The answer is not JSON, or nests deeper than 64 levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not JSON that can be read whole")]
pub struct Unreadable;

/// Deepest nesting that is read.
const DEPTH_MAX: usize = 64;

/// The JSON text `answer` without the fields called one of `names`.
///
/// Scalars keep their spelling, fields their order; white space between fields goes.
pub fn redact(answer: &[u8], names: &[Box<str>]) -> Result<Vec<u8>, Unreadable> {
    let raw: &RawValue = serde_json::from_slice(answer).map_err(|_| Unreadable)?;
    let mut kept = Vec::with_capacity(answer.len());
    copy(raw.get(), names, &mut kept, 0)?;
    Ok(kept)
}

fn copy(raw: &str, names: &[Box<str>], kept: &mut Vec<u8>, depth: usize) -> Result<(), Unreadable> {
    if !may_name(raw, names) {
        kept.extend_from_slice(raw.as_bytes());
        return Ok(());
    }
    if depth >= DEPTH_MAX {
        return Err(Unreadable);
    }
    let mut json = serde_json::Deserializer::from_str(raw);
    let copying = Copy { names, kept, depth };
    match raw.as_bytes().first() {
        Some(b'{') => json.deserialize_map(copying).map_err(|_| Unreadable),
        Some(b'[') => json.deserialize_seq(copying).map_err(|_| Unreadable),
        _ => {
            kept.extend_from_slice(raw.as_bytes());
            Ok(())
        }
    }
}

/// Whether a key within may be one of the names: it stands there, or an escape may hide it. Letters
/// and digits have no escape but `\u`.
fn may_name(raw: &str, names: &[Box<str>]) -> bool {
    let has = |needle: &[u8]| memchr::memmem::find(raw.as_bytes(), needle).is_some();
    let is_word =
        |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let escape: &[u8] = if names.iter().all(|name| is_word(name)) { b"\\u" } else { b"\\" };
    has(escape) || names.iter().any(|name| has(name.as_bytes()))
}

struct Copy<'a> {
    names: &'a [Box<str>],
    kept: &'a mut Vec<u8>,
    depth: usize,
}

impl<'de> Visitor<'de> for Copy<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        self.kept.push(b'{');
        let mut first = true;
        while let Some(key) = fields.next_key::<String>()? {
            let value: &RawValue = fields.next_value()?;
            if self.names.iter().any(|name| **name == key) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.kept.push(b',');
            }
            serde_json::to_writer(&mut *self.kept, &key).map_err(serde::de::Error::custom)?;
            self.kept.push(b':');
            copy(value.get(), self.names, self.kept, self.depth + 1)
                .map_err(serde::de::Error::custom)?;
        }
        self.kept.push(b'}');
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.kept.push(b'[');
        let mut first = true;
        while let Some(item) = items.next_element::<&RawValue>()? {
            if !std::mem::take(&mut first) {
                self.kept.push(b',');
            }
            copy(item.get(), self.names, self.kept, self.depth + 1)
                .map_err(serde::de::Error::custom)?;
        }
        self.kept.push(b']');
        Ok(())
    }
}
