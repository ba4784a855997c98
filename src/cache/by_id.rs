use std::hash::{BuildHasherDefault, Hasher};

use dashmap::DashMap;

use crate::token::TokenId;

/// What is known by token, for all cores.
pub(super) type ById<V> = DashMap<TokenId, V, BuildHasherDefault<IdHasher>>;

/// The end of an id is its hash: it is random, and only genuine ids come here, so nobody can aim at a place.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        // The length, which comes before the id, is overwritten by its end.
        self.0 = bytes.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
