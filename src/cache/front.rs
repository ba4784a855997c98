use std::cell::Cell;
use std::iter;
use std::rc::Rc;
use std::slice;
use std::time::{Duration, Instant};

use prefetch_index::prefetch_index;

use super::{CoreUsage, Limits, Rates, TokenRate};
use crate::token::{Record, TokenDigits};

/// Tokens that share a place.
const WAYS: usize = 5;
/// Most sets of one core, of 128 bytes each: some four million tokens.
const SETS_MAX: u64 = 3 << 18;
/// Sets that are allocated together, when the first of them is needed.
const SEGMENT: usize = 256;

/// Segments that are looked through at once: some milliseconds where all are full.
const PRUNED_MAX: usize = 16;
/// How many times [`Front::prune`] is called until all segments have been looked through, if that is few
/// enough at once.
const PRUNES: usize = 60;

/// One core's own cache of verified tokens, in front of the shared one: no lock, no counter,
/// nothing to decode and no tag to compute. Keyed by a token's whole text, tag included, compared in
/// constant time: only a token that has been verified here is found here.
#[derive(Debug)]
pub struct Front {
    /// Each empty until a token is kept in it.
    segments: Vec<Vec<Set>>,
    /// The segment that is looked through next.
    pruned: usize,
    lifetime: Duration,
}

/// Tokens that share a place, the newest first. Among a million tokens each look is at memory that nothing has
/// touched lately: its first line of 64 bytes says which it is and where, by marks, and its second where else
/// there is something to look at, so that all of it can be asked for at once.
#[derive(Debug, Default)]
#[repr(C, align(128))]
struct Set {
    marks: [u32; WAYS],
    known: [Option<Rc<Known>>; WAYS],
    /// Those of the known.
    rates: [TokenRate; WAYS],
}

/// How certain it is that a record exists.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// When the look-up began.
    pub since: Instant,
    /// Until when it may be believed, if nothing more is heard.
    pub until: Instant,
    /// The generation of the cache, before the look-up and after it.
    pub generation: u64,
}

/// A token that has been verified: its record, and how fast it may ask. In the order in which a request
/// reads it, in one piece: among many tokens nothing has touched this memory lately, and each further place
/// is waited for.
#[derive(Debug)]
#[repr(C)]
pub struct Known {
    /// Shared by all cores.
    pub rate: TokenRate,
    /// The epoch of the deleted ids at which this record was last seen not to be among them.
    epoch: Cell<u64>,
    /// How certain it is.
    pub found: Found,
    token: TokenDigits,
    /// The record: a copy of the shared cache's.
    pub record: Record,
    /// How much may be asked with it, wherever that is said.
    pub limits: Limits,
    /// What this core has counted of it.
    pub usage: CoreUsage,
}

/// The moment at which a token was looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// When.
    pub(super) now: Instant,
    /// Whether what is remembered may be believed: the feed of deletions has been read lately.
    pub(super) fresh: bool,
    /// The epoch of the deleted ids, read before the record was found not to be among them.
    pub(super) epoch: u64,
    /// The generation of the shared cache.
    pub(super) generation: u64,
}

impl Known {
    /// What is known of a verified token whose record a look-up found, begun at `moment`.
    pub(super) fn new(
        token: TokenDigits,
        record: &Record,
        rates: &Rates,
        moment: Moment,
        until: Instant,
    ) -> Self {
        Self {
            token,
            epoch: Cell::new(moment.epoch),
            limits: rates.limits_of(record),
            rate: rates.of(record),
            record: record.clone(),
            found: Found { since: moment.now, until, generation: moment.generation },
            usage: CoreUsage::default(),
        }
    }

    /// Has all of it that a request reads brought from memory at once, not each line when it is come to.
    fn prefetch(&self) {
        prefetch_index(slice::from_ref(&self.rate), 0);
        prefetch_index(slice::from_ref(&self.token), 0);
        prefetch_index(slice::from_ref(&self.record), 0);
        prefetch_index(slice::from_ref(&self.record.grant.host), 0);
        prefetch_index(slice::from_ref(&self.record.grant.entries), 0);
        prefetch_index(slice::from_ref(&self.limits), 0);
        prefetch_index(slice::from_ref(&self.usage), 0);
    }

    fn is_too_old(&self, now: Instant, lifetime: Duration) -> bool {
        now >= self.found.since + lifetime
    }
}

impl Front {
    /// The longest that a record is found here before the shared cache is asked again.
    pub const LIFETIME_MAX: Duration = Duration::from_mins(1);
    /// A core's places, however few its part of the shared cache's entries is.
    pub(super) const PLACES_MIN: u64 = 4096;

    /// How long a record is found here that may be in the shared cache for `lifetime_max`.
    #[must_use]
    pub fn lifetime(lifetime_max: Duration) -> Duration {
        lifetime_max.min(Self::LIFETIME_MAX)
    }

    /// A front of about so many places, for a shared cache whose records live for `lifetime_max`.
    #[must_use]
    pub fn new(places: u64, lifetime_max: Duration) -> Self {
        let sets = (places / 3).clamp(1, SETS_MAX);
        let segments = usize::try_from(sets).unwrap_or(1).div_ceil(SEGMENT);
        Self {
            segments: iter::repeat_with(Vec::new).take(segments).collect(),
            pruned: 0,
            lifetime: Self::lifetime(lifetime_max),
        }
    }

    /// Has the place of a token brought from memory, which will be looked at soon.
    pub fn expect(&self, token: &TokenDigits) {
        let (segment, set, _) = self.place_of(token);
        if let Some(set) = self.segments.get(segment).and_then(|segment| segment.get(set)) {
            prefetch_index(slice::from_ref(&set.marks), 0);
            prefetch_index(slice::from_ref(&set.rates), 0);
        }
    }

    /// What is known of `token` at a `moment` that is fresh, unless it is unknown, too old, of another
    /// generation, or `is_deleted`. That is asked only when the epoch has moved since it was last asked for
    /// this token, and the moment, which costs a reading of the clock, of known ones only.
    pub(super) fn find(
        &mut self,
        token: &TokenDigits,
        moment: impl FnOnce() -> Moment,
        is_deleted: impl FnOnce(&Record) -> bool,
    ) -> Option<Rc<Known>> {
        let (segment, set, mark) = self.place_of(token);
        let kept = self.segments.get_mut(segment)?.get_mut(set)?.find(token, mark)?;
        let known = kept.as_ref()?;
        let moment = moment();
        if !moment.fresh {
            return None;
        }
        let is_current = known.found.generation == moment.generation
            && !known.is_too_old(moment.now, self.lifetime);
        if !is_current || (known.epoch.get() != moment.epoch && is_deleted(&known.record)) {
            *kept = None;
            return None;
        }
        known.epoch.set(moment.epoch);
        Some(Rc::clone(known))
    }

    /// Keeps a token, in place of what is known of it, or of whichever has been in its set for longest.
    pub(super) fn insert(&mut self, known: Rc<Known>) {
        let (segment, set, mark) = self.place_of(&known.token);
        let Some(segment) = self.segments.get_mut(segment) else { return };
        if segment.is_empty() {
            segment.resize_with(SEGMENT, Set::default);
        }
        if let Some(set) = segment.get_mut(set) {
            set.insert(known, mark);
        }
    }

    /// Lets go of what is too old to be found, of some of it at each call: called every second, of all of it
    /// within a minute or, where there is much, a few.
    pub fn prune(&mut self, now: Instant) {
        let lifetime = self.lifetime;
        for _ in 0..self.segments.len().div_ceil(PRUNES).min(PRUNED_MAX) {
            if let Some(segment) = self.segments.get_mut(self.pruned) {
                for set in segment.iter_mut() {
                    set.retain(|known| !known.is_too_old(now, lifetime));
                }
                if segment.iter().all(Set::is_empty) {
                    *segment = Vec::new();
                }
            }
            self.pruned = (self.pruned + 1) % self.segments.len();
        }
    }

    /// Lets go of some of all that is left, for good; false when nothing is. To free all of a large front at
    /// once would hold its core up.
    pub fn shrink(&mut self) -> bool {
        let left = self.segments.len().saturating_sub(PRUNED_MAX);
        self.segments.truncate(left);
        left > 0
    }

    /// Whether there is no memory for any token.
    #[cfg(test)]
    pub(super) fn is_unallocated(&self) -> bool {
        self.segments.iter().all(|segment| segment.capacity() == 0)
    }

    /// The segment, the set in it, and the mark of a token, by the random end of its id: only genuine ids get
    /// in, so nobody can aim at a place.
    fn place_of(&self, token: &TokenDigits) -> (usize, usize, u32) {
        let spread = token.spread().to_be_bytes();
        let [place, mark] = [spread.first_chunk(), spread.last_chunk()]
            .map(|half| half.copied().map_or(0, u32::from_be_bytes));
        // What the high bits say of how far along: cheaper than a division.
        let segment = (u64::from(place) * self.segments.len() as u64) >> 32;
        let set = usize::try_from(place).unwrap_or(0) % SEGMENT;
        (usize::try_from(segment).unwrap_or(0), set, mark)
    }
}

impl Set {
    /// Where in it a token is, whose memory is being brought then.
    fn position(&self, token: &TokenDigits, mark: u32) -> Option<usize> {
        let is_it = |((kept, known), rate): ((&u32, &Option<Rc<Known>>), &TokenRate)| {
            *kept == mark
                && known.as_ref().is_some_and(|known| {
                    rate.prefetch();
                    known.prefetch();
                    known.token.equals(token)
                })
        };
        self.marks.iter().zip(&self.known).zip(&self.rates).position(is_it)
    }

    fn find(&mut self, token: &TokenDigits, mark: u32) -> Option<&mut Option<Rc<Known>>> {
        let at = self.position(token, mark)?;
        self.known.get_mut(at)
    }

    fn insert(&mut self, known: Rc<Known>, mark: u32) {
        let is_there = self.position(&known.token, mark);
        let given_up =
            is_there.or_else(|| self.known.iter().position(Option::is_none)).unwrap_or(WAYS - 1);
        put_first(&mut self.marks, given_up, mark);
        put_first(&mut self.rates, given_up, known.rate.clone());
        put_first(&mut self.known, given_up, Some(known));
    }

    fn retain(&mut self, is_kept: impl Fn(&Known) -> bool) {
        for (known, rate) in self.known.iter_mut().zip(&mut self.rates) {
            if known.as_ref().is_none_or(|known| !is_kept(known)) {
                (*known, *rate) = Default::default();
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.known.iter().all(Option::is_none)
    }
}

/// Puts a value before the others, in place of the one at `given_up`.
fn put_first<T>(places: &mut [T], given_up: usize, value: T) {
    if let Some(newest) = places.get_mut(..=given_up) {
        newest.rotate_right(1);
        if let Some(first) = newest.first_mut() {
            *first = value;
        }
    }
}
