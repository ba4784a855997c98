//! The shared store as the contract sees it.

use std::num::NonZeroUsize;
use std::str::FromStr as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use super::tests::Engine;
use super::{PostgresSettings, PostgresStore, Tls};
use crate::cluster::Cluster;
use crate::token::TokenId;

/// A database of its own in the server that the contract shares.
pub(super) struct Postgres {
    store: PostgresStore,
    pub(super) database: String,
}

/// The server of the contract. A thread that never ends has started it, so it lives to the end.
pub(super) fn server() -> &'static Cluster {
    static SERVER: OnceLock<Cluster> = OnceLock::new();
    SERVER.get_or_init(|| {
        let (started, cluster) = sync_channel(1);
        thread::spawn(move || {
            started.send(Cluster::start()).unwrap();
            loop {
                thread::park();
            }
        });
        cluster.recv().unwrap()
    })
}

/// Patient enough for a machine that is busy with other tests.
pub(super) fn settings(url: &str) -> PostgresSettings {
    let plain = url.split('?').next().unwrap();
    PostgresSettings {
        server: tokio_postgres::Config::from_str(plain).unwrap(),
        listen_server: None,
        tls: Tls::Off,
        notify: true,
        connections_max: NonZeroUsize::new(4).unwrap(),
        connect_timeout: Duration::from_secs(20),
        pool_timeout: Duration::from_mins(2),
        query_timeout: Duration::from_mins(2),
    }
}

impl Postgres {
    pub(super) fn settings(&self) -> PostgresSettings {
        settings(&server().url(&self.database))
    }
}

impl Engine for Postgres {
    type Store = PostgresStore;

    fn start() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let database = format!("contract_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        server().create_database(&database);
        let store = PostgresStore::open(&settings(&server().url(&database))).unwrap();
        Self { store, database }
    }

    fn store(&self) -> &PostgresStore {
        &self.store
    }

    fn another_gate(&self) -> PostgresStore {
        PostgresStore::open(&self.settings()).unwrap()
    }

    fn damage_policy(&self, id: TokenId) {
        let sql = format!("UPDATE tokens SET policy = '[{{]' WHERE id = '\\x{id}' RETURNING 1");
        assert_eq!(server().sql(&self.database, &sql), "1");
    }
}
