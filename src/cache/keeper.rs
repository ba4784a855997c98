use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{Cut, OpenStreams, Records, Unavailable};
use crate::clock::monotonic;
use crate::store::TokenStore;
use crate::token::{Record, TokenId};

/// Most tokens that are asked for at once.
const ASKED_MAX: usize = 64;

/// Sees to it that no stream runs on longer than `max_staleness` after somebody last knew that its
/// token exists. While the feed is followed there is nothing to do; when it is not, the store is
/// asked for each token that has streams open, and what cannot be confirmed in time is cut.
pub struct StreamKeeper<S> {
    records: Arc<Records<S>>,
    streams: Arc<OpenStreams>,
    /// What is known of each token with open streams, while the feed is not.
    held: HashMap<TokenId, Held>,
    asking: JoinSet<Asked>,
}

#[derive(Clone, Copy)]
struct Held {
    /// The moment at which its streams are cut, unless something is heard before.
    until: Instant,
    asked: bool,
}

/// A question about a token, when it was asked, and the answer.
type Asked = (TokenId, Instant, Result<Option<Arc<Record>>, Unavailable>);

impl<S: TokenStore> StreamKeeper<S> {
    /// How often to look.
    pub const INTERVAL: Duration = Duration::from_millis(100);

    /// A keeper of these streams.
    #[must_use]
    pub fn new(records: Arc<Records<S>>, streams: Arc<OpenStreams>) -> Self {
        Self { records, streams, held: HashMap::new(), asking: JoinSet::new() }
    }

    /// Takes note of what has been answered, cuts the streams of which nothing has been heard in
    /// time, and asks for those whose time is running out. Waits for nothing.
    pub fn look(&mut self) {
        let fresh_until = self.records.freshness().until();
        let now = monotonic();
        let staleness_max = self.records.freshness().staleness_max();
        // Time to ask, and to ask again.
        let lead = staleness_max / 2;
        self.take_answers();
        if now + lead < fresh_until {
            self.held.clear();
            return;
        }
        let tokens = self.streams.tokens();
        self.held.retain(|held, _| tokens.binary_search_by_key(held, |(token, _)| *token).is_ok());
        for (token, until) in tokens {
            let held = self.held.entry(token).or_insert(Held { until, asked: false });
            held.until = held.until.max(until);
            let until = held.until.max(fresh_until);
            // The next look would be too late.
            if now + 2 * Self::INTERVAL >= until {
                self.streams.cut(token, Cut::StoreUnavailable);
            } else if now + lead >= until && !held.asked && self.asking.len() < ASKED_MAX {
                held.asked = true;
                let records = Arc::clone(&self.records);
                self.asking.spawn(async move {
                    let asked_at = monotonic();
                    (token, asked_at, records.find_in_store(token).await)
                });
            }
        }
    }

    fn take_answers(&mut self) {
        while let Some(answered) = self.asking.try_join_next() {
            let Ok((token, asked_at, answer)) = answered else { continue };
            match answer {
                Ok(None) => self.streams.cut(token, Cut::TokenRevoked),
                Ok(Some(_)) => {
                    let until = asked_at + self.records.freshness().staleness_max();
                    self.held.insert(token, Held { until, asked: false });
                }
                // To be asked again, as long as there is time.
                Err(_) => {
                    self.held.entry(token).and_modify(|held| held.asked = false);
                }
            }
        }
    }
}
