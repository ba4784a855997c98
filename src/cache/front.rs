use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{CoreUsage, Limits, Rates, TokenRate};
use crate::token::{Record, TokenDigits};

/// Slots of one core's front cache. A power of two.
const SLOTS: usize = 4096;

/// One core's own small cache of verified tokens, in front of the shared one: no lock, no counter
/// nothing to decode and no tag to compute. Keyed by a token's whole text, tag included, compared in
/// constant time: only a token that has been verified here is found here.
#[derive(Debug, Default)]
pub struct Front {
    slots: Vec<Option<Slot>>,
    generation: u64,
}

/// How certain it is that a record exists.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Until when it may be believed, if nothing more is heard.
    pub until: Instant,
    /// The generation of the cache, before the look-up and after it.
    pub generation: u64,
}

/// A token that has been verified: its record, and how fast it may ask.
#[derive(Debug)]
pub struct Known {
    /// The record.
    pub record: Record,
    /// How much may be asked with it, wherever that is said.
    pub limits: Limits,
    /// Shared by all cores.
    pub rate: TokenRate,
    /// How certain it is.
    pub found: Found,
    /// What this core has counted of it.
    pub usage: CoreUsage,
}

impl Known {
    /// What is known of a record that a look-up found.
    #[must_use]
    pub fn new(record: Record, rates: &Rates, found: Found) -> Self {
        Self {
            limits: rates.limits_of(&record),
            rate: rates.of(&record),
            record,
            found,
            usage: CoreUsage::default(),
        }
    }
}

#[derive(Debug)]
struct Slot {
    token: TokenDigits,
    known: Rc<Known>,
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

    /// What is known of `token`, unless it is unknown, too old, or `is_deleted`. That is asked only
    /// when `epoch` has moved since it was last asked for this token.
    pub fn find(
        &mut self,
        token: &TokenDigits,
        now: Instant,
        epoch: u64,
        is_deleted: impl FnOnce(&Record) -> bool,
    ) -> Option<Rc<Known>> {
        let place = self.slots.get_mut(place_of(token))?;
        let slot = place.as_mut()?;
        if !slot.token.equals(token) {
            return None;
        }
        if slot.epoch != epoch {
            if is_deleted(&slot.known.record) {
                *place = None;
                return None;
            }
            slot.epoch = epoch;
        }
        if now >= slot.until {
            *place = None;
            return None;
        }
        Some(Rc::clone(&slot.known))
    }

    /// Keeps a verified token, in place of whatever had its slot. `epoch` must have been
    /// read before the record was found not to be deleted.
    pub fn insert(&mut self, token: TokenDigits, known: Rc<Known>, epoch: u64, now: Instant) {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        if let Some(place) = self.slots.get_mut(place_of(&token)) {
            *place = Some(Slot { token, known, epoch, until: now + Self::LIFETIME });
        }
    }
}

/// A slot by the random end of the id: only genuine ids get in, so nobody can aim at a slot.
fn place_of(token: &TokenDigits) -> usize {
    // The high bits are the well-mixed ones.
    usize::try_from(token.random_end() >> 16).unwrap_or(0) % SLOTS
}
