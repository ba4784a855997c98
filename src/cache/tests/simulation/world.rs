//! The store and the network between it and the gates, both of which fail at every turn.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::Mutation;
use super::random::Random;
use crate::store::{
    DeleteOutcome, Deletion, Feed, FeedCursor, ListPage, ListQuery, StoreError, TokenStore, Usage,
};
use crate::token::{AccountName, Record, TokenId};

/// How long a gate waits for an answer.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// Entries of one page of the feed: few, so that there are many pages.
const PAGE: usize = 3;
/// Numbers of the feed that one history may use.
const HISTORY: u64 = 1_000_000;

/// What is true, whoever knows of it.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) mutation: Mutation,
    truth: Mutex<Truth>,
    links: Mutex<Vec<Arc<Link>>>,
}

#[derive(Default)]
struct Truth {
    records: BTreeMap<TokenId, Record>,
    owners: BTreeMap<TokenId, AccountName>,
    feed: Vec<(TokenId, Record)>,
    /// Moves when another server takes over.
    history: u64,
    down: bool,
    slow: bool,
}

/// One gate's way to the store.
pub(super) struct Link {
    world: Arc<World>,
    cut: AtomicBool,
    told: Notify,
}

impl World {
    pub(super) fn new(seed: u64, mutation: Mutation) -> Arc<Self> {
        let random = Random::new(seed);
        Arc::new(Self { random, mutation, truth: Mutex::default(), links: Mutex::default() })
    }

    pub(super) fn link(self: &Arc<Self>) -> Arc<Link> {
        let world = Arc::clone(self);
        let link = Arc::new(Link { world, cut: AtomicBool::new(false), told: Notify::new() });
        self.links.lock().unwrap().push(Arc::clone(&link));
        link
    }

    pub(super) fn stop(&self) {
        self.truth().down = true;
    }

    pub(super) fn start(&self) {
        self.truth().down = false;
    }

    pub(super) fn slow_down(&self, slow: bool) {
        self.truth().slow = slow;
    }

    /// Another server takes over, with everything that was acknowledged.
    pub(super) fn fail_over(&self) {
        let mut truth = self.truth();
        truth.history += 1;
        if self.mutation == Mutation::LosesTheLastDeletion
            && let Some((id, record)) = truth.feed.pop()
        {
            truth.records.insert(id, record);
        }
    }

    fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock().unwrap()
    }

    /// How long a message is on its way: mostly not, sometimes for ever.
    fn delay(&self) -> Duration {
        let slow = if self.truth().slow { 20 } else { 1 };
        let milliseconds = match self.random.below(100) {
            0..90 => self.random.below(4) * slow,
            90..98 => self.random.below(400) * slow,
            _ => self.random.below(4000),
        };
        Duration::from_millis(milliseconds)
    }

    fn tell_everybody(self: &Arc<Self>) {
        for link in self.links.lock().unwrap().iter().cloned() {
            if self.random.chance(80) {
                let delay = self.delay();
                tokio::spawn(async move {
                    sleep(delay).await;
                    if !link.is_cut() {
                        link.told.notify_one();
                    }
                });
            }
        }
    }
}

impl Link {
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(super) fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    /// Asks the store. The question may be lost, the answer may be lost, and either may arrive when
    /// nobody waits for it any more.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Arc<World>) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let late = || StoreError::Unavailable("the simulation says so".into());
        let (there, back) = (self.world.delay(), self.world.delay());
        if self.is_cut() {
            sleep(QUERY_TIMEOUT).await;
            return Err(late());
        }
        let world = Arc::clone(&self.world);
        let asked = tokio::spawn(async move {
            sleep(there).await;
            let down = world.truth().down;
            let answer = (!down).then(|| question(&world));
            sleep(back).await;
            answer
        });
        let answer = tokio::time::timeout(QUERY_TIMEOUT, asked).await;
        if self.is_cut() {
            return Err(late());
        }
        answer.ok().and_then(Result::ok).flatten().ok_or_else(late)
    }
}

impl Truth {
    fn end(&self) -> u64 {
        self.history * HISTORY + self.feed.len() as u64
    }

    fn feed_since(&self, since: u64, skips_gaps: bool) -> Feed {
        let next = FeedCursor::at(self.end());
        if since / HISTORY != self.history {
            if skips_gaps {
                return Feed::Deletions { ids: Vec::new(), next, has_next: false };
            }
            return Feed::Gap { next };
        }
        let from = usize::try_from(since % HISTORY).unwrap();
        let ids: Vec<TokenId> = self.feed.iter().skip(from).take(PAGE).map(|(id, _)| *id).collect();
        let read = from + ids.len();
        let next = FeedCursor::at(self.history * HISTORY + read as u64);
        Feed::Deletions { ids, next, has_next: read < self.feed.len() }
    }

    fn delete(&mut self, deletion: &Deletion) -> DeleteOutcome {
        match self.owners.get(&deletion.id) {
            None => DeleteOutcome::AlreadyGone,
            Some(owner) if *owner != deletion.account => DeleteOutcome::NotYours,
            Some(_) => match self.records.remove(&deletion.id) {
                None => DeleteOutcome::AlreadyGone,
                Some(record) => {
                    self.feed.push((deletion.id, record));
                    DeleteOutcome::Deleted
                }
            },
        }
    }
}

/// The place behind a cursor that [`FeedCursor::at`] made.
fn place(cursor: FeedCursor) -> u64 {
    cursor.to_string().rsplit('/').next().unwrap().parse().unwrap()
}

impl TokenStore for Link {
    async fn create(&self, record: Record) -> Result<(), StoreError> {
        self.ask(move |world| {
            let mut truth = world.truth();
            truth.owners.insert(record.id, record.account.clone());
            truth.records.insert(record.id, record);
        })
        .await
    }

    async fn get(&self, id: TokenId) -> Result<Option<Record>, StoreError> {
        self.ask(move |world| world.truth().records.get(&id).cloned()).await
    }

    async fn list(&self, _: ListQuery) -> Result<ListPage, StoreError> {
        Ok(ListPage { records: Vec::new(), has_next: false })
    }

    async fn delete(&self, deletion: Deletion) -> Result<DeleteOutcome, StoreError> {
        self.ask(move |world| {
            let outcome = world.truth().delete(&deletion);
            world.tell_everybody();
            outcome
        })
        .await
    }

    async fn sweep(&self, _: Timestamp, _: u32) -> Result<u32, StoreError> {
        Ok(0)
    }

    async fn deletions(&self, since: Option<FeedCursor>) -> Result<Feed, StoreError> {
        self.ask(move |world| {
            let truth = world.truth();
            let skips_gaps = world.mutation == Mutation::SkipsGaps;
            if let Some(since) = since {
                return truth.feed_since(place(since), skips_gaps);
            }
            let next = FeedCursor::at(truth.end());
            Feed::Deletions { ids: Vec::new(), next, has_next: false }
        })
        .await
    }

    async fn host_is_bound(&self, _: [String; 3], _: Timestamp) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn add_usage(&self, _: Vec<Usage>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn usage(&self, _: Vec<TokenId>) -> Result<Vec<Usage>, StoreError> {
        Ok(Vec::new())
    }

    async fn gates(&self, _: [u8; 16]) -> Result<u32, StoreError> {
        Ok(3)
    }

    async fn wakeup(&self) {
        self.told.notified().await;
    }

    fn is_listening(&self) -> Option<bool> {
        Some(!self.is_cut())
    }
}
