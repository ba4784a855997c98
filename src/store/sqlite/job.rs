//! What callers hand to the store's threads.

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::fault::Fault;
use crate::store::{
    DeleteOutcome, Deletion, Feed, FeedCursor, ListPage, ListQuery, StoreError, Usage,
};
use crate::token::{Record, TokenId};

/// A question whose caller waits.
pub(super) struct Pending<Q, A> {
    pub(super) question: Q,
    /// Found, but not yet to be told: a write's answer waits for its commit.
    pub(super) answer: Option<A>,
    reply: oneshot::Sender<Result<A, StoreError>>,
}

/// Something that only the writer may do.
pub(super) enum Write {
    Create(Pending<Record, ()>),
    Delete(Pending<Deletion, DeleteOutcome>),
    Sweep(Pending<SweepStep, u32>),
    AddUsage(Pending<Vec<Usage>, ()>),
}

/// Something that any reader can do.
pub(super) enum Read {
    Get(Pending<TokenId, Option<Record>>),
    List(Pending<ListQuery, ListPage>),
    Deletions(Pending<Option<FeedCursor>, Feed>),
    HostIsBound(Pending<BoundQuery, bool>),
    Usage(Pending<Vec<TokenId>, Vec<Usage>>),
}

/// One step of [`crate::store::TokenStore::sweep`].
pub(super) struct SweepStep {
    pub(super) expired_before: Timestamp,
    pub(super) limit: u32,
}

/// The question of [`crate::store::TokenStore::host_is_bound`].
pub(super) struct BoundQuery {
    pub(super) hosts: [String; 3],
    pub(super) now: Timestamp,
}

impl<Q, A> Pending<Q, A> {
    pub(super) fn new(question: Q, reply: oneshot::Sender<Result<A, StoreError>>) -> Self {
        Self { question, answer: None, reply }
    }

    /// Answers with what `look` finds, unless nobody waits any more.
    pub(super) fn answer(self, look: impl FnOnce(Q) -> Result<A, StoreError>) {
        if !self.reply.is_closed() {
            // The caller may have gone in the meantime: nobody to tell.
            drop(self.reply.send(look(self.question)));
        }
    }

    /// Tells the caller the answer that was found, or why it does not count.
    pub(super) fn settle(self, verdict: Result<(), StoreError>) {
        let answer = verdict.and_then(|()| self.answer.ok_or(Fault::Stopped.into()));
        drop(self.reply.send(answer));
    }
}
