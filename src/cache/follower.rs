use std::sync::Arc;
use std::time::Duration;

use super::{Cut, OpenStreams, Records};
use crate::clock::monotonic;
use crate::store::{Feed, FeedCursor, StoreError, TokenStore};
use crate::token::TokenId;

/// Reads the feed of deletions and makes them felt on this gate: cached records go, open streams
/// are cut, and the gate's knowledge counts as fresh from the moment the read began.
pub struct Follower<S> {
    records: Arc<Records<S>>,
    streams: Arc<OpenStreams>,
    cursor: Option<FeedCursor>,
}

impl<S: TokenStore> Follower<S> {
    /// How often the feed is read when nothing wakes the follower.
    pub const INTERVAL: Duration = Duration::from_secs(1);

    /// Shortest time between two reads: many deletions at once are one read.
    pub const PAUSE: Duration = Duration::from_millis(20);

    /// Returns when the feed should be read again: it may have something new, or it is time.
    pub async fn wait(&self) {
        tokio::time::sleep(Self::PAUSE).await;
        let rest = Self::INTERVAL.saturating_sub(Self::PAUSE);
        // Whichever it was: it is read again.
        let _ = tokio::time::timeout(rest, self.records.store().wakeup()).await;
    }

    /// A follower that has read nothing yet.
    #[must_use]
    pub fn new(records: Arc<Records<S>>, streams: Arc<OpenStreams>) -> Self {
        Self { records, streams, cursor: None }
    }

    /// Reads the feed to its present end. The first read finds a place to begin at, as after a gap.
    pub async fn catch_up(&mut self) -> Result<(), StoreError> {
        let read_began = monotonic();
        loop {
            let since = self.cursor;
            let (ids, next, has_next) = match self.records.store().deletions(since).await? {
                Feed::Deletions { ids, next, has_next } if since.is_some() => (ids, next, has_next),
                // Whatever was deleted before this place, nobody will tell of it: what was looked
                // up until now may be gone.
                Feed::Deletions { next, .. } | Feed::Gap { next } => {
                    self.records.forget_all();
                    (self.gone_with_open_streams().await?, next, true)
                }
            };
            for id in ids {
                self.records.forget(id).await;
                self.streams.cut(id, Cut::TokenRevoked);
            }
            self.cursor = Some(next);
            if !has_next {
                break;
            }
        }
        self.records.freshness().confirm(read_began);
        self.records.deleted().prune(read_began);
        Ok(())
    }

    /// The tokens with open streams that the store no longer knows: their deletion may have been
    /// lost in a gap.
    async fn gone_with_open_streams(&self) -> Result<Vec<TokenId>, StoreError> {
        let mut gone = Vec::new();
        for (id, _) in self.streams.tokens() {
            if self.records.store().get(id).await?.is_none() {
                gone.push(id);
            }
        }
        Ok(gone)
    }
}
