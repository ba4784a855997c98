//! The keys of one JSON object, of which none may come twice.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserializer, Visitor};

/// A key, borrowed from the body where it has no escapes.
pub(super) struct Key<'de>(pub(super) Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// The keys of one object that were there: bits for the known ones, a list for others while they
/// are few, a set beyond, so that many stay linear.
#[derive(Default)]
pub(super) struct Keys<'de> {
    pub(super) known: u64,
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

const FEW: usize = 16;

impl<'de> Keys<'de> {
    pub(super) fn contains(&self, known: Option<usize>, key: &str) -> bool {
        match known.and_then(bit) {
            Some(bit) => self.known & bit != 0,
            None => {
                self.few.iter().any(|seen| seen == key)
                    || (!self.many.is_empty() && self.many.contains(key))
            }
        }
    }

    pub(super) fn insert(&mut self, known: Option<usize>, key: Cow<'de, str>) {
        match known.and_then(bit) {
            Some(bit) => self.known |= bit,
            None if self.few.len() < FEW => self.few.push(key),
            None => {
                self.many.insert(key);
            }
        }
    }
}

/// The bit of a known key, while there are enough.
pub(super) fn bit(at: usize) -> Option<u64> {
    1_u64.checked_shl(u32::try_from(at).ok()?)
}
