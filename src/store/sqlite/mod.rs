//! The embedded store: one `SQLite` file, one thread that writes, a few that read.
//!
//! Owns the file, its schema and the threads. Leaves to callers what an answer means. Must always
//! hold: a write is answered only after the transaction that holds it has been synced to disk, every
//! queue is bounded, and the file asked is still the one that was opened.

mod export;
mod fault;
mod job;
mod open;
mod read;
mod row;
#[cfg(test)]
mod tests;
mod usage;
mod write;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

pub use self::export::SqliteExport;
use self::fault::Fault;
use self::job::{BoundQuery, Pending, Read, SweepStep, Write};
pub use self::open::OpenError;
use super::{
    DeleteOutcome, Deletion, Feed, FeedCursor, ListPage, ListQuery, StoreError, TokenStore, Usage,
};
use crate::token::{Record, TokenId};

/// Where the store's file is, and the limits it keeps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteSettings {
    /// The file; made with mode 0600 if it is not there. Its folder must exist.
    pub path: PathBuf,
    /// Threads that answer reads, each with a connection of its own.
    pub readers: NonZeroUsize,
    /// Writes that may wait; one more is refused as overload.
    pub write_queue_max: NonZeroUsize,
    /// Reads that may wait, for all readers together; one more is refused as overload.
    pub read_queue_max: NonZeroUsize,
    /// Most writes in one transaction, which costs one sync to disk.
    pub batch_max: NonZeroUsize,
    /// The write-ahead log is folded into the file when it has grown to this many 4 KiB pages.
    /// More makes creates cheaper and their slowest ones slower.
    pub checkpoint_pages: u32,
    /// Page cache of each connection.
    pub cache_kib: u32,
    /// Largest size of the file in 4 KiB pages; writes fail when it is full.
    pub pages_max: u32,
    /// How long a write waits for another process that is writing to the file.
    pub busy_wait: Duration,
    /// How long a caller waits for an answer before the store counts as unavailable.
    pub answer_wait: Duration,
}

/// The embedded store. Dropping it waits for the writes that were accepted, then closes the file.
///
/// Its futures need a tokio runtime with a timer.
pub struct SqliteStore {
    // Dropped in this order, so that the writer closes last and folds the log into the file.
    readers: Crew<Read>,
    writer: Crew<Write>,
    answer_wait: Duration,
}

/// Threads, and the queue that feeds them.
struct Crew<J> {
    queue: SyncSender<J>,
    _threads: Threads,
}

/// Waits for its threads when it is dropped; they end when their queue has no sender left.
struct Threads(Vec<JoinHandle<()>>);

impl SqliteSettings {
    /// The defaults, for the store at `path`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        const fn at_least_one(n: usize) -> NonZeroUsize {
            NonZeroUsize::MIN.saturating_add(n.saturating_sub(1))
        }
        Self {
            path: path.into(),
            readers: at_least_one(2),
            write_queue_max: at_least_one(4096),
            read_queue_max: at_least_one(4096),
            batch_max: at_least_one(1024),
            checkpoint_pages: 4000,
            cache_kib: 64 * 1024,
            pages_max: u32::MAX - 1,
            busy_wait: Duration::from_secs(2),
            answer_wait: Duration::from_secs(5),
        }
    }
}

impl SqliteStore {
    /// Opens the store, making or migrating its file if need be. Blocks: for milliseconds on a store
    /// of any size, for as long as a migration takes on an older one.
    pub fn open(settings: &SqliteSettings) -> Result<Self, OpenError> {
        let opened = open::open(settings)?;
        let (queue, jobs) = sync_channel(settings.write_queue_max.get());
        let writer = write::Writer {
            connection: opened.writer,
            file: Arc::clone(&opened.file),
            batch_max: settings.batch_max.get(),
            busy_wait: settings.busy_wait,
        };
        let thread = spawn("store-writer", move || writer.run(&jobs))?;
        let writer = Crew { queue, _threads: Threads(vec![thread]) };

        let (queue, jobs) = sync_channel(settings.read_queue_max.get());
        let jobs = Arc::new(Mutex::new(jobs));
        let mut threads = Threads(Vec::with_capacity(settings.readers.get()));
        for connection in opened.readers {
            let reader = read::Reader { connection, file: Arc::clone(&opened.file) };
            let jobs: Arc<Mutex<Receiver<Read>>> = Arc::clone(&jobs);
            threads.0.push(spawn("store-reader", move || reader.run(&jobs))?);
        }
        let readers = Crew { queue, _threads: threads };
        Ok(Self { readers, writer, answer_wait: settings.answer_wait })
    }

    async fn write<Q, A>(
        &self,
        act: fn(Pending<Q, A>) -> Write,
        question: Q,
    ) -> Result<A, StoreError> {
        self.ask(&self.writer.queue, act, question).await
    }

    async fn read<Q, A>(
        &self,
        act: fn(Pending<Q, A>) -> Read,
        question: Q,
    ) -> Result<A, StoreError> {
        self.ask(&self.readers.queue, act, question).await
    }

    async fn ask<J, Q, A>(
        &self,
        queue: &SyncSender<J>,
        act: fn(Pending<Q, A>) -> J,
        question: Q,
    ) -> Result<A, StoreError> {
        let (reply, answer) = oneshot::channel();
        queue.try_send(act(Pending::new(question, reply))).map_err(|refused| match refused {
            TrySendError::Full(_) => StoreError::Overloaded,
            TrySendError::Disconnected(_) => Fault::Stopped.into(),
        })?;
        match tokio::time::timeout(self.answer_wait, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Fault::Stopped.into()),
            Err(_) => Err(Fault::Late.into()),
        }
    }
}

impl TokenStore for SqliteStore {
    async fn create(&self, record: Record) -> Result<(), StoreError> {
        self.write(Write::Create, record).await
    }

    async fn get(&self, id: TokenId) -> Result<Option<Record>, StoreError> {
        self.read(Read::Get, id).await
    }

    async fn list(&self, query: ListQuery) -> Result<ListPage, StoreError> {
        self.read(Read::List, query).await
    }

    async fn delete(&self, deletion: Deletion) -> Result<DeleteOutcome, StoreError> {
        self.write(Write::Delete, deletion).await
    }

    async fn sweep(&self, expired_before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.write(Write::Sweep, SweepStep { expired_before, limit }).await
    }

    async fn deletions(&self, since: Option<FeedCursor>) -> Result<Feed, StoreError> {
        self.read(Read::Deletions, since).await
    }

    async fn host_is_bound(&self, hosts: [String; 3], now: Timestamp) -> Result<bool, StoreError> {
        self.read(Read::HostIsBound, BoundQuery { hosts, now }).await
    }

    async fn add_usage(&self, usage: Vec<Usage>) -> Result<(), StoreError> {
        self.write(Write::AddUsage, usage).await
    }

    async fn usage(&self, ids: Vec<TokenId>) -> Result<Vec<Usage>, StoreError> {
        self.read(Read::Usage, ids).await
    }

    /// The file is one machine's: whoever else has it open is not counted.
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

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // A thread that panicked has nothing left to wait for.
            drop(thread.join());
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(OpenError::Thread)
}
