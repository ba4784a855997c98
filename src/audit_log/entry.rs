//! One line of the log, and the chain from line to line.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use serde::Deserialize;

/// What the first entry of all is chained to.
const NOTHING_BEFORE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The place that the chain has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The number of the last entry; 0 when there is none.
    pub(super) number: u64,
    /// Its hash.
    pub(super) hash: String,
}

/// An entry that was read and whose hash is its own.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) head: Head,
    /// The hash of the entry before.
    pub(super) previous: String,
}

#[derive(Deserialize)]
struct Links {
    n: u64,
    prev: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { number: 0, hash: NOTHING_BEFORE.to_owned() }
    }
}

impl Head {
    /// The entry that follows, with a line feed: `fields` are a JSON object without its braces.
    /// Moves on to it.
    pub(super) fn append(&mut self, fields: &str, line: &mut String) {
        let start = line.len();
        let number = self.number + 1;
        // Writing to a string cannot fail.
        let _ = write!(line, r#"{{"n":{number},{fields},"prev":"{}""#, self.hash);
        let hash = hash(line.get(start..).unwrap_or_default());
        let _ = writeln!(line, r#","hash":"{hash}"}}"#);
        *self = Self { number, hash };
    }

    /// As it is kept beside the log.
    pub(super) fn to_text(&self) -> String {
        format!("{} {}\n", self.number, self.hash)
    }

    /// As it was kept beside the log.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        let (number, hash) = text.trim_end().split_once(' ')?;
        let number = number.parse().ok()?;
        is_hash(hash).then(|| Self { number, hash: hash.to_owned() })
    }
}

impl Entry {
    /// Reads a line without its line feed; `None` when it is no entry, or not as it was written.
    pub(super) fn read(line: &str) -> Option<Self> {
        let (said, end) = line.rsplit_once(r#","hash":""#)?;
        let hash = end.strip_suffix(r#""}"#).filter(|hash| is_hash(hash))?;
        if self::hash(said) != hash {
            return None;
        }
        let Links { n, prev } = serde_json::from_str(line).ok()?;
        Some(Self { head: Head { number: n, hash: hash.to_owned() }, previous: prev })
    }

    /// Whether this is the entry after `head`.
    pub(super) fn follows(&self, head: &Head) -> bool {
        self.head.number == head.number + 1 && self.previous == head.hash
    }
}

fn hash(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::with_capacity(64), |mut hash, byte| {
        let _ = write!(hash, "{byte:02x}");
        hash
    })
}

fn is_hash(text: &str) -> bool {
    text.len() == NOTHING_BEFORE.len()
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
