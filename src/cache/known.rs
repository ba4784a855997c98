use std::cell::RefCell;
use std::rc::Rc;

use jiff::Timestamp;

use super::front::Moment;
use super::records::LOOKUPS_MAX;
use super::{Front, Known, Rates, Records, Unavailable};
use crate::clock::monotonic;
use crate::store::TokenStore;
use crate::telemetry::{CacheResult, Metrics};
use crate::token::{KeyRing, Record, TextRefusal, TokenDigits};

/// Where one core learns what is known of a token, in the order in which it looks.
pub struct Sources<'g, S> {
    /// The core's own cache.
    pub front: &'g RefCell<Front>,
    /// What tells genuine tokens from others.
    pub keys: &'g KeyRing,
    /// The shared cache, and the store behind it.
    pub records: &'g Records<S>,
    /// How fast each token may ask.
    pub rates: &'g Rates,
    /// What is counted.
    pub metrics: &'g Metrics,
}

/// Why a token stands for nobody now.
#[derive(Debug)]
pub enum NotKnown {
    /// Its text says so.
    Text(TextRefusal),
    /// There is no such token: deleted, or never made.
    Gone,
    /// That cannot be known.
    Unavailable(Unavailable),
}

impl<S: TokenStore> Sources<'_, S> {
    /// What is known of a token: from this core's front cache, or by verifying the
    /// tag and asking on.
    pub async fn find(&self, token: &TokenDigits, now: Timestamp) -> Result<Rc<Known>, NotKnown> {
        let is_deleted = |record: &Record| self.records.deleted().contains(record.id);
        let mut verified = None;
        for _ in 0..LOOKUPS_MAX {
            let found = self.front.borrow_mut().find(token, || self.moment(), is_deleted);
            if let Some(known) = found {
                self.metrics.cache_lookup(CacheResult::Front);
                return Ok(known);
            }
            let id = if let Some(id) = verified {
                id
            } else {
                let bytes = token.decode().ok_or(NotKnown::Text(TextRefusal::Malformed))?;
                self.keys.verify(&bytes, now).map_err(NotKnown::Text)?.id
            };
            verified = Some(id);
            let moment = self.moment();
            let found = self.records.find(id, moment.now).await;
            let record = found.map_err(NotKnown::Unavailable)?.ok_or(NotKnown::Gone)?;
            // A deletion may have been lost in a gap meanwhile, and nobody will tell of it again.
            if self.records.generation() != moment.generation {
                continue;
            }
            let until = self.records.believed_until(moment.now);
            let known = Rc::new(Known::new(*token, &record, self.rates, moment, until));
            if moment.fresh {
                self.front.borrow_mut().insert(Rc::clone(&known));
            }
            return Ok(known);
        }
        Err(NotKnown::Unavailable(Unavailable::unsettled()))
    }

    /// Now, for a look at what is known. To be taken before a record is looked up in what others write to: a
    /// deletion in between makes the epoch move, and a gap in the feed the generation. Whether the feed has
    /// been read comes first: what that read told is in these then.
    fn moment(&self) -> Moment {
        let now = monotonic();
        let fresh = self.records.freshness().is_fresh(now);
        let (epoch, generation) = (self.records.deleted().epoch(), self.records.generation());
        Moment { now, fresh, epoch, generation }
    }
}
