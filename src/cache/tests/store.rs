//! A store in memory, whose answers the tests hold back, refuse and count.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::store::{
    DeleteOutcome, Deletion, Feed, FeedCursor, ListPage, ListQuery, StoreError, TokenStore, Usage,
};
use crate::token::{Record, TokenId};

#[derive(Debug)]
pub(super) struct FakeStore {
    records: Mutex<HashMap<TokenId, Record>>,
    feed: Mutex<VecDeque<Feed>>,
    hosts: Mutex<Vec<String>>,
    failing: AtomicBool,
    lookups: AtomicU64,
    /// A look-up takes one permit after it has read its answer; there are enough, until held back.
    answers: Semaphore,
}

impl Default for FakeStore {
    fn default() -> Self {
        Self {
            records: Mutex::default(),
            feed: Mutex::default(),
            hosts: Mutex::default(),
            failing: AtomicBool::new(false),
            lookups: AtomicU64::new(0),
            answers: Semaphore::new(1_000_000),
        }
    }
}

impl FakeStore {
    pub(super) fn put(&self, record: Record) {
        self.records.lock().unwrap().insert(record.id, record);
    }

    pub(super) fn bind(&self, host: &str) {
        self.hosts.lock().unwrap().push(host.to_owned());
    }

    pub(super) fn remove(&self, id: TokenId) {
        self.records.lock().unwrap().remove(&id);
    }

    /// What the feed says next; when nothing is left, that nothing was deleted.
    pub(super) fn announce(&self, feed: Feed) {
        self.feed.lock().unwrap().push_back(feed);
    }

    pub(super) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// How many times a record or a host was looked up.
    pub(super) fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::SeqCst)
    }

    /// From now on look-ups read, and then wait with their answer for [`FakeStore::answer`].
    pub(super) fn hold_back(&self) {
        self.answers.forget_permits(usize::MAX >> 4);
    }

    pub(super) fn answer(&self, lookups: usize) {
        self.answers.add_permits(lookups);
    }

    /// Waits until `lookups` have been made.
    pub(super) async fn asked(&self, lookups: u64) {
        while self.lookups() < lookups {
            tokio::task::yield_now().await;
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.failing.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the test says so".into()));
        }
        Ok(())
    }

    async fn hold(&self) {
        self.answers.acquire().await.unwrap().forget();
    }
}

impl TokenStore for FakeStore {
    async fn create(&self, record: Record) -> Result<(), StoreError> {
        self.put(record);
        self.check()
    }

    async fn get(&self, id: TokenId) -> Result<Option<Record>, StoreError> {
        let found = self.records.lock().unwrap().get(&id).cloned();
        let checked = self.check();
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.hold().await;
        checked.map(|()| found)
    }

    async fn list(&self, _: ListQuery) -> Result<ListPage, StoreError> {
        Ok(ListPage { records: Vec::new(), has_next: false })
    }

    async fn delete(&self, deletion: Deletion) -> Result<DeleteOutcome, StoreError> {
        self.check()?;
        let mut records = self.records.lock().unwrap();
        let owner = records.get(&deletion.id).map(|record| record.account.clone());
        Ok(match owner {
            None => DeleteOutcome::AlreadyGone,
            Some(owner) if owner != deletion.account => DeleteOutcome::NotYours,
            Some(_) => {
                records.remove(&deletion.id);
                DeleteOutcome::Deleted
            }
        })
    }

    async fn sweep(&self, _: Timestamp, _: u32) -> Result<u32, StoreError> {
        Ok(0)
    }

    async fn deletions(&self, since: Option<FeedCursor>) -> Result<Feed, StoreError> {
        self.check()?;
        let next = since.unwrap_or(FeedCursor::at(0));
        let nothing = Feed::Deletions { ids: Vec::new(), next, has_next: false };
        Ok(self.feed.lock().unwrap().pop_front().unwrap_or(nothing))
    }

    async fn host_is_bound(&self, hosts: [String; 3], _: Timestamp) -> Result<bool, StoreError> {
        let bound = hosts.iter().any(|host| self.hosts.lock().unwrap().contains(host));
        let checked = self.check();
        self.lookups.fetch_add(1, Ordering::SeqCst);
        self.hold().await;
        checked.map(|()| bound)
    }

    async fn add_usage(&self, _: Vec<Usage>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn usage(&self, _: Vec<TokenId>) -> Result<Vec<Usage>, StoreError> {
        Ok(Vec::new())
    }

    async fn gates(&self, _: [u8; 16]) -> Result<u32, StoreError> {
        Ok(1)
    }

    async fn wakeup(&self) {
        std::future::pending::<()>().await;
    }

    fn is_listening(&self) -> Option<bool> {
        None
    }
}
