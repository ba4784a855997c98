use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dashmap::mapref::multiple::RefMulti;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::by_id::ById;
use crate::token::TokenId;

/// Why an open stream is ended before its upstream ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its token was deleted.
    TokenRevoked,
    /// Its token expired, and the grace period is over.
    TokenExpired,
    /// It has lasted as long as a stream may.
    StreamTooLong,
    /// Whether its token still exists can no longer be known.
    StoreUnavailable,
    /// The gate is shutting down.
    Shutdown,
}

/// The token has as many streams as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token has {streams_max} streams open, as many as it may")]
pub struct TooManyStreams {
    /// How many it may have.
    pub streams_max: usize,
}

/// The streams that are open on this gate, by token, so that each can be told to end.
#[derive(Debug, Default)]
pub struct OpenStreams {
    by_token: ById<Places>,
    next_number: AtomicU64,
}

/// The streams of one token.
#[derive(Debug)]
struct Places {
    /// Until when it may be believed that the token exists, by whoever opened a stream last.
    until: Instant,
    open: SmallVec<[(u64, oneshot::Sender<Cut>); 1]>,
}

/// A stream to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewStream {
    /// Of this token.
    pub token: TokenId,
    /// Until when it may be believed that the token exists, if nothing more is heard.
    pub until: Instant,
    /// How many streams the token may have open on this gate.
    pub streams_max: usize,
}

/// A stream's place among the open ones; dropping it gives the place up.
#[derive(Debug)]
pub struct StreamLease {
    streams: Arc<OpenStreams>,
    token: TokenId,
    number: u64,
}

impl Cut {
    /// The code of the final event.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TokenRevoked => "token_revoked",
            Self::TokenExpired => "token_expired",
            Self::StreamTooLong => "stream_too_long",
            Self::StoreUnavailable => "store_unavailable",
            Self::Shutdown => "gate_shutdown",
        }
    }

    /// The message of the final event: what the developer can do.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::TokenRevoked => "the token was deleted: have your backend create a new one",
            Self::TokenExpired => "the token has expired: have your backend create a new one",
            Self::StreamTooLong => "the stream has lasted as long as a stream may: open a new one",
            Self::StoreUnavailable => "the token cannot be checked now: try again in a moment",
            Self::Shutdown => "the gate is shutting down: open a new stream",
        }
    }
}

impl OpenStreams {
    /// No streams.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a place for a stream. The receiver tells when it has to end. Whoever opens
    /// one must look at the deleted ids again afterwards: a deletion just before finds no place.
    pub fn open(
        self: &Arc<Self>,
        stream: NewStream,
    ) -> Result<(StreamLease, oneshot::Receiver<Cut>), TooManyStreams> {
        let (sender, receiver) = oneshot::channel();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let NewStream { token, until, streams_max } = stream;
        let mut places =
            self.by_token.entry(token).or_insert_with(|| Places { until, open: SmallVec::new() });
        if places.open.len() >= streams_max {
            return Err(TooManyStreams { streams_max });
        }
        places.until = places.until.max(until);
        places.open.push((number, sender));
        drop(places);
        Ok((StreamLease { streams: Arc::clone(self), token, number }, receiver))
    }

    /// Tells every stream of `token` to end.
    pub fn cut(&self, token: TokenId, cut: Cut) {
        let places = self.by_token.remove(&token).into_iter();
        for (_, sender) in places.flat_map(|(_, places)| places.open) {
            // A stream that has just ended no longer listens.
            let _ = sender.send(cut);
        }
    }

    /// Tells every stream to end.
    pub fn cut_all(&self, cut: Cut) {
        for (token, _) in self.tokens() {
            self.cut(token, cut);
        }
    }

    /// The tokens that have streams open, oldest first, and until when each may be believed to
    /// exist by what its streams were opened on.
    pub(super) fn tokens(&self) -> Vec<(TokenId, Instant)> {
        let entry = |entry: RefMulti<'_, TokenId, Places>| (*entry.key(), entry.until);
        let mut tokens: Vec<_> = self.by_token.iter().map(entry).collect();
        tokens.sort_unstable();
        tokens
    }

    /// The tokens that have streams open, and how many each has.
    #[must_use]
    pub fn open_now(&self) -> Vec<(TokenId, usize)> {
        self.by_token.iter().map(|entry| (*entry.key(), entry.value().open.len())).collect()
    }

    /// How many streams are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_token.iter().map(|entry| entry.value().open.len()).sum()
    }

    /// Whether no stream is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }
}

impl Drop for StreamLease {
    fn drop(&mut self) {
        let left = self.streams.by_token.get_mut(&self.token).map(|mut places| {
            places.open.retain(|(number, _)| *number != self.number);
            places.open.is_empty()
        });
        if left == Some(true) {
            self.streams.by_token.remove_if(&self.token, |_, places| places.open.is_empty());
        }
    }
}
