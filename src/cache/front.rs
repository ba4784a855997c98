use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::token::{Record, TokenBytes};

/// Slots of one core's front cache. A power of two.
const SLOTS: usize = 4096;

/// One core's own small cache of verified tokens, in front of the shared one: no lock, no counter
/// and no tag to compute. Keyed by all of a token's bytes, tag included, compared in constant time:
/// only a token that has been verified here is found here.
#[derive(Debug, Default)]
pub struct Front {
    slots: Vec<Option<Slot>>,
    generation: u64,
}

#[derive(Debug)]
struct Slot {
    token: TokenBytes,
    record: Rc<Record>,
    /// The epoch of the deleted ids at which this record was last seen not to be among them.
    epoch: u64,
    until: Instant,
}

impl Front {
    /// How long a record is found here before the shared cache is asked again.
    pub const LIFETIME: Duration = Duration::from_secs(5);

    /// Forgets everything when the generation of the shared cache has moved.
    pub fn keep_generation(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.slots.clear();
        }
    }

    /// The record of `token`, unless it is unknown, too old, or `is_deleted`. That is asked only
    /// when `epoch` has moved since it was last asked for this token.
    pub fn find(
        &mut self,
        token: &TokenBytes,
        now: Instant,
        epoch: u64,
        is_deleted: impl FnOnce(&Record) -> bool,
    ) -> Option<Rc<Record>> {
        let place = self.slots.get_mut(place_of(token))?;
        let slot = place.as_mut()?;
        if !slot.token.equals(token) {
            return None;
        }
        if slot.epoch != epoch {
            if is_deleted(&slot.record) {
                *place = None;
                return None;
            }
            slot.epoch = epoch;
        }
        if now >= slot.until {
            *place = None;
            return None;
        }
        Some(Rc::clone(&slot.record))
    }

    /// Keeps a verified token's record, in place of whatever had its slot. `epoch` must have been
    /// read before the record was found not to be deleted.
    pub fn insert(&mut self, token: TokenBytes, record: Rc<Record>, epoch: u64, now: Instant) {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        if let Some(place) = self.slots.get_mut(place_of(&token)) {
            *place = Some(Slot { token, record, epoch, until: now + Self::LIFETIME });
        }
    }
}

/// A slot by the random end of the id: only genuine ids get in, so nobody can aim at a slot.
fn place_of(token: &TokenBytes) -> usize {
    usize::from(token.random_end()) % SLOTS
}
