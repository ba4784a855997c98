//! The shared store: PostgreSQL, used by many gates at once.
//!
//! Owns the connections, a thread that drives them, the schema and the session that waits for
//! notifications. Leaves to callers what an answer means. Must always hold: a change is answered
//! only after the server has committed it durably, every wait has a deadline, a session that failed
//! in an unclear way is never used again, and nothing is encrypted halfway.

mod connect;
mod fault;
mod feed;
mod import;
mod listen;
mod questions;
mod row;
mod schema;
mod session;
mod statements;

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use deadpool::managed::Pool;
use deadpool::{Runtime as PoolRuntime, managed};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle as JoinAnswer;

use self::connect::Connector;
pub use self::connect::Tls;
use self::fault::Fault;
use self::listen::Wakeups;
use self::session::{Link, Manager};
use super::{
    DeleteOutcome, Deletion, Feed, FeedCursor, ListPage, ListQuery, StoreError, TokenStore, Usage,
};
use crate::tls::TlsError;
use crate::token::{Record, TokenId};

/// Where the shared store is, and the limits it keeps to.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// Hosts, database, user and password. The first host that takes writes is used.
    pub server: tokio_postgres::Config,
    /// Where to listen for notifications, if not there: past a pooler that cannot pass them on.
    pub listen_server: Option<tokio_postgres::Config>,
    /// How it is encrypted.
    pub tls: Tls,
    /// Whether deletions notify, and this gate listens. Without, the feed is polled only.
    pub notify: bool,
    /// Most connections for questions; one more listens.
    pub connections_max: NonZeroUsize,
    /// How long each host may take until a session is there.
    pub connect_timeout: Duration,
    /// How long a question may wait for a free connection.
    pub pool_timeout: Duration,
    /// How long an answer may take.
    pub query_timeout: Duration,
}

/// Why the shared store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// TLS is not possible as configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No session can be had.
    #[error("PostgreSQL cannot be reached")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Its tables were written by a newer version.
    #[error(
        "the store has schema {found}, and this ckgate knows schemas up to {known}: use the version that wrote it, or a newer one"
    )]
    Newer {
        /// Its schema.
        found: i32,
        /// The newest schema known here.
        known: i32,
    },
    /// Its tables cannot be brought to this version's schema; they are as they were before.
    #[error(
        "the tables cannot be made or migrated: let `ckgate store prepare` do it with a role that may"
    )]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operating system gives no thread.
    #[error("the store's thread cannot be started")]
    Thread(#[source] io::Error),
}

/// The shared store. Dropping it closes its connections.
///
/// Its questions can be asked from any tokio runtime.
pub struct PostgresStore {
    shared: Arc<Shared>,
    runtime: Handle,
    _thread: Thread,
}

/// What every question needs.
struct Shared {
    pool: Pool<Manager>,
    query_timeout: Duration,
    notify: bool,
    wakeups: Arc<Wakeups>,
}

/// A question under way on the store's thread.
struct Answer<T>(JoinAnswer<Result<T, Fault>>);

/// The thread that drives the connections; it ends when this is dropped.
struct Thread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PostgresStore {
    /// Connects, making or migrating the tables if need be. Blocks until that is done, for as long
    /// as the settings' deadlines admit.
    pub fn open(settings: &PostgresSettings) -> Result<Self, PostgresError> {
        let (thread, runtime) = Thread::start()?;
        let connector = Connector::new(&settings.server, &settings.tls, settings.connect_timeout)?;
        let listener = match &settings.listen_server {
            Some(server) => Connector::new(server, &settings.tls, settings.connect_timeout)?,
            None => connector.clone(),
        };
        let (done, outcome) = sync_channel(1);
        let migrating = connector.clone();
        runtime.spawn(async move { done.send(schema::migrate(&migrating).await) });
        outcome.recv().map_err(|_| PostgresError::connect(Fault::Stopped))??;

        let create_timeout = connector.time_for_all_hosts() + settings.query_timeout;
        let pool = Pool::builder(Manager { connector })
            .max_size(settings.connections_max.get())
            .wait_timeout(Some(settings.pool_timeout))
            .create_timeout(Some(create_timeout))
            .recycle_timeout(Some(settings.query_timeout))
            // The one lent last is the one most likely to be alive.
            .queue_mode(managed::QueueMode::Lifo)
            .runtime(PoolRuntime::Tokio1)
            .build()
            .map_err(|error| PostgresError::Connect(Box::new(error)))?;
        let wakeups = Arc::<Wakeups>::default();
        if settings.notify {
            let told = Arc::clone(&wakeups);
            runtime.spawn(listen::listen(listener, settings.query_timeout, told));
        }
        let shared = Shared {
            pool,
            query_timeout: settings.query_timeout,
            notify: settings.notify,
            wakeups,
        };
        Ok(Self { shared: Arc::new(shared), runtime, _thread: thread })
    }

    /// Makes or migrates the tables, and does nothing else.
    pub fn prepare(settings: &PostgresSettings) -> Result<(), PostgresError> {
        Self::open(&PostgresSettings { notify: false, ..settings.clone() }).map(drop)
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Carries a question out on the store's own thread: a session lives where it was made. What
    /// the caller holds meanwhile is small.
    fn ask<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Answer<T> {
        Answer(self.runtime.spawn(question))
    }
}

impl<T> Answer<T> {
    async fn given(self) -> Result<T, StoreError> {
        Ok(self.0.await.unwrap_or(Err(Fault::Stopped))?)
    }
}

impl Shared {
    async fn link(&self) -> Result<Link, Fault> {
        let session = self.pool.get().await?;
        Ok(Link { session, patience: self.query_timeout })
    }
}

impl PostgresError {
    fn connect(fault: Fault) -> Self {
        Self::Connect(Box::new(fault))
    }
}

impl TokenStore for PostgresStore {
    async fn create(&self, record: Record) -> Result<(), StoreError> {
        self.ask(questions::create(Arc::clone(&self.shared), record)).given().await
    }

    async fn get(&self, id: TokenId) -> Result<Option<Record>, StoreError> {
        self.ask(questions::get(Arc::clone(&self.shared), id)).given().await
    }

    async fn list(&self, query: ListQuery) -> Result<ListPage, StoreError> {
        self.ask(questions::list(Arc::clone(&self.shared), query)).given().await
    }

    async fn delete(&self, deletion: Deletion) -> Result<DeleteOutcome, StoreError> {
        self.ask(questions::delete(Arc::clone(&self.shared), deletion)).given().await
    }

    async fn sweep(&self, expired_before: Timestamp, limit: u32) -> Result<u32, StoreError> {
        self.ask(questions::sweep(Arc::clone(&self.shared), expired_before, limit)).given().await
    }

    async fn deletions(&self, since: Option<FeedCursor>) -> Result<Feed, StoreError> {
        self.ask(questions::deletions(Arc::clone(&self.shared), since)).given().await
    }

    async fn host_is_bound(&self, hosts: [String; 3], now: Timestamp) -> Result<bool, StoreError> {
        self.ask(questions::host_is_bound(Arc::clone(&self.shared), hosts, now)).given().await
    }

    async fn add_usage(&self, usage: Vec<Usage>) -> Result<(), StoreError> {
        self.ask(questions::add_usage(Arc::clone(&self.shared), usage)).given().await
    }

    async fn usage(&self, ids: Vec<TokenId>) -> Result<Vec<Usage>, StoreError> {
        self.ask(questions::usage(Arc::clone(&self.shared), ids)).given().await
    }

    async fn gates(&self, gate: [u8; 16]) -> Result<u32, StoreError> {
        self.ask(questions::gates(Arc::clone(&self.shared), gate)).given().await
    }

    async fn wakeup(&self) {
        self.shared.wakeups.arrived.notified().await;
    }

    fn is_listening(&self) -> Option<bool> {
        self.shared.notify.then(|| self.shared.wakeups.listening.load(Ordering::Relaxed))
    }
}

impl Thread {
    fn start() -> Result<(Self, Handle), PostgresError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(PostgresError::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("store-postgres".to_owned())
            .spawn(move || {
                // Ends with an error when the sender is dropped, which is just as good.
                drop(runtime.block_on(stopped));
            })
            .map_err(PostgresError::Thread)?;
        Ok((Self { stop: Some(stop), thread: Some(thread) }, handle))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to wait for.
            drop(thread.join());
        }
    }
}
