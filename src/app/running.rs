use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::assemble::assemble;
use super::{background, logging, worker};
use crate::config::Config;
use crate::policy::RouteProblem;
use crate::server;
use crate::store::{OpenError, PostgresError};

/// Why the gate did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The route file cannot be read.
    #[error("the route file cannot be read")]
    RouteFile(#[source] io::Error),
    /// The route table has problems; all of them.
    #[error("the route table is not usable:\n{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Routes(Vec<RouteProblem>),
    /// A credential cannot be sent.
    #[error("{0}")]
    Credential(String),
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Store(#[source] OpenError),
    /// The shared store cannot be opened.
    #[error("the shared store cannot be opened")]
    SharedStore(#[source] PostgresError),
    /// A listener cannot be bound.
    #[error("`{address}` cannot be listened on")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A thread or a runtime cannot be had.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    /// Randomness cannot be had.
    #[error("the system gives no randomness")]
    Randomness,
}

/// A gate that runs, on threads of its own. Dropping it without [`Running::stop`] leaves it running.
#[derive(Debug)]
pub struct Running {
    public: SocketAddr,
    admin: SocketAddr,
    control: Option<SocketAddr>,
    decision: Option<SocketAddr>,
    decision_grpc: Option<SocketAddr>,
    draining: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    background: JoinHandle<()>,
}

/// The sockets of a gate, bound before anything else is started.
struct Listeners {
    public: TcpListener,
    admin: TcpListener,
    control: Option<TcpListener>,
    decision: Option<TcpListener>,
    decision_grpc: Option<TcpListener>,
}

/// Starts a gate. When this returns, its listeners take connections.
pub fn start(config: Config) -> Result<Running, StartError> {
    let listeners = Listeners::bind(&config)?;
    let workers = config.server.workers;
    let drain_timeout = config.server.drain_timeout;
    let Listeners { public, admin, control, decision, decision_grpc } = listeners;
    let address = |listener: &TcpListener| listener.local_addr().map_err(StartError::Thread);
    let (public_address, admin_address) = (address(&public)?, address(&admin)?);
    let address_if_set =
        |listener: &Option<TcpListener>| listener.as_ref().map(address).transpose();
    let control_address = address_if_set(&control)?;
    let decision_address = address_if_set(&decision)?;
    let decision_grpc_address = address_if_set(&decision_grpc)?;

    let assembled = Arc::new(assemble(config)?);
    let (draining, drain_seen) = watch::channel(false);
    let (stopped, stop_seen) = watch::channel(false);
    let signals = background::Signals { draining: drain_seen.clone(), stopped: stop_seen };
    let background = background::start(Arc::clone(&assembled), admin, signals)?;
    let mut handles = Vec::with_capacity(workers);
    for number in 0..workers {
        let clone = |listener: &TcpListener| listener.try_clone().map_err(StartError::Thread);
        handles.push(worker::start(worker::Seed {
            number,
            assembled: Arc::clone(&assembled),
            public: clone(&public)?,
            control: control.as_ref().map(clone).transpose()?,
            decision: decision.as_ref().map(clone).transpose()?,
            decision_grpc: decision_grpc.as_ref().map(clone).transpose()?,
            draining: drain_seen.clone(),
            drain_timeout,
        })?);
    }
    Ok(Running {
        public: public_address,
        admin: admin_address,
        control: control_address,
        decision: decision_address,
        decision_grpc: decision_grpc_address,
        draining,
        stopped,
        workers: handles,
        background,
    })
}

/// Runs a gate until the process is told to end (SIGTERM, SIGINT), then drains it.
pub fn serve(config: Config) -> Result<(), StartError> {
    let _log = logging::init(&config.log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let (mut terminate, mut interrupt) = {
        let _context = runtime.enter();
        let listen = |kind| signal(kind).map_err(StartError::Thread);
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?)
    };
    let running = start(config)?;
    tracing::info!(
        listen.public = %running.public,
        listen.admin = %running.admin,
        listen.control = running.control.map(tracing::field::display),
        listen.decision = running.decision.map(tracing::field::display),
        listen.decision_grpc = running.decision_grpc.map(tracing::field::display),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    tracing::info!("draining");
    running.stop();
    tracing::info!("stopped");
    Ok(())
}

impl Running {
    /// Where the data path answers.
    #[must_use]
    pub fn public_address(&self) -> SocketAddr {
        self.public
    }

    /// Where health and metrics answer.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Where the token API answers, if it has a listener of its own.
    #[must_use]
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// Drains and stops the gate: it is no longer ready, takes no connection, lets requests and
    /// streams under way end, cuts what is left at the deadline, and returns when all is done.
    pub fn stop(self) {
        let _ = self.draining.send(true);
        for worker in self.workers {
            // A worker that panicked has nothing left to drain.
            let _ = worker.join();
        }
        let _ = self.stopped.send(true);
        let _ = self.background.join();
    }
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self, StartError> {
        let bind = |address| {
            server::bind(address).map_err(|source| StartError::Listen { address, source })
        };
        Ok(Self {
            public: bind(config.listen.public)?,
            admin: bind(config.listen.admin)?,
            control: config.listen.control.map(bind).transpose()?,
            decision: config.listen.decision.map(bind).transpose()?,
            decision_grpc: config.listen.decision_grpc.map(bind).transpose()?,
        })
    }
}

/// A runtime on a thread of its own.
pub(super) fn spawn_thread(
    name: String,
    run: impl FnOnce(tokio::runtime::LocalRuntime) + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    std::thread::Builder::new()
        .name(name)
        .spawn(move || {
            let options = tokio::runtime::LocalOptions::default();
            match tokio::runtime::Builder::new_current_thread().enable_all().build_local(options) {
                Ok(runtime) => run(runtime),
                Err(error) => tracing::error!(%error, "a runtime cannot be had"),
            }
        })
        .map_err(StartError::Thread)
}

/// How long streams that were cut at the drain deadline have to say so.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);
