//! What happened, and whether it was allowed to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::STALENESS_MAX;
use crate::token::TokenId;

/// How long a stream that was told to end may take to notice, here.
const STREAM_SLACK: Duration = Duration::from_millis(30);

/// A deletion that was acknowledged.
#[derive(Clone, Copy)]
struct Acknowledged {
    at: Instant,
    gate: usize,
}

/// Everything worth remembering of one run.
pub(super) struct Journal {
    start: Instant,
    deleted: RefCell<BTreeMap<TokenId, Acknowledged>>,
    violation: RefCell<Option<String>>,
    digest: RefCell<Digest>,
}

/// A few numbers, and one that differs whenever anything does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) admitted: u64,
    pub(super) refused: u64,
    pub(super) unavailable: u64,
    pub(super) deleted: u64,
    pub(super) streams_cut: u64,
    pub(super) fold: u64,
}

impl Digest {
    pub(super) fn add(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.unavailable += other.unavailable;
        self.deleted += other.deleted;
        self.streams_cut += other.streams_cut;
    }
}

impl Journal {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            deleted: RefCell::default(),
            violation: RefCell::default(),
            digest: RefCell::default(),
        }
    }

    pub(super) fn acknowledged(&self, token: TokenId, gate: usize, at: Instant) {
        self.deleted.borrow_mut().entry(token).or_insert(Acknowledged { at, gate });
        self.note(at, 1, |digest| digest.deleted += 1);
    }

    /// A request that began at `begun` was admitted at `at`.
    pub(super) fn admitted(&self, token: TokenId, gate: usize, begun: Instant, at: Instant) {
        self.note(at, 2, |digest| digest.admitted += 1);
        let Some(deleted) = self.deleted.borrow().get(&token).copied() else { return };
        if deleted.gate == gate && begun > deleted.at {
            self.violated(format!(
                "gate {gate} acknowledged the deletion of {token} at {:?} and admitted a request \
                 that began at {:?}",
                deleted.at - self.start,
                begun - self.start
            ));
        }
        if at > deleted.at + STALENESS_MAX {
            self.violated(format!(
                "the deletion of {token} was acknowledged by gate {} at {:?}, and gate {gate} \
                 admitted a request at {:?}",
                deleted.gate,
                deleted.at - self.start,
                at - self.start
            ));
        }
    }

    pub(super) fn refused(&self, at: Instant) {
        self.note(at, 3, |digest| digest.refused += 1);
    }

    pub(super) fn unavailable(&self, at: Instant) {
        self.note(at, 4, |digest| digest.unavailable += 1);
    }

    pub(super) fn stream_cut(&self, at: Instant) {
        self.note(at, 5, |digest| digest.streams_cut += 1);
    }

    /// A stream of the token was open until now.
    pub(super) fn streamed_until(&self, token: TokenId, gate: usize, at: Instant) {
        let Some(deleted) = self.deleted.borrow().get(&token).copied() else { return };
        if at > deleted.at + STALENESS_MAX + STREAM_SLACK {
            self.violated(format!(
                "the deletion of {token} was acknowledged by gate {} at {:?}, and gate {gate} had \
                 a stream open at {:?}",
                deleted.gate,
                deleted.at - self.start,
                at - self.start
            ));
        }
    }

    pub(super) fn is_deleted(&self, token: TokenId) -> bool {
        self.deleted.borrow().contains_key(&token)
    }

    pub(super) fn violated(&self, what: String) {
        self.violation.borrow_mut().get_or_insert(what);
    }

    /// Only the first violation is told: the others may follow from it.
    pub(super) fn verdict(&self) -> Result<Digest, String> {
        match &*self.violation.borrow() {
            Some(violation) => Err(violation.clone()),
            None => Ok(*self.digest.borrow()),
        }
    }

    fn note(&self, at: Instant, what: u64, count: impl FnOnce(&mut Digest)) {
        let mut digest = self.digest.borrow_mut();
        count(&mut digest);
        let at = u64::try_from((at - self.start).as_micros()).unwrap();
        digest.fold = (digest.fold ^ (at * 8 + what)).wrapping_mul(0x0100_0000_01b3);
    }
}
