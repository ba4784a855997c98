use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::assemble::{Assembled, Lasting, SharedLimits, assemble};
use super::handover::{self, Inherited, Invocation, Successor};
use super::reload::{self, Files, Load};
use super::traces::Spans;
use super::{background, logging, worker};
use crate::audit_log::{AuditLog, AuditLogError};
use crate::clock::{Turn, monotonic};
use crate::config::Config;
use crate::policy::RouteProblem;
use crate::server;
use crate::store::{OpenError, PostgresError};
use crate::telemetry::Metrics;
use crate::tls::TlsError;

/// How long a gate that listens is given to be ready before it counts as started. One that was to take over
/// from an earlier one ends instead.
const READY_WITHIN: Duration = Duration::from_secs(5);

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
    /// The audit log cannot be kept.
    #[error(transparent)]
    Audit(#[from] AuditLogError),
    /// Certificates or keys cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
pub struct Running {
    public: SocketAddr,
    admin: SocketAddr,
    control: Option<SocketAddr>,
    decision: Option<SocketAddr>,
    decision_grpc: Option<SocketAddr>,
    lasting: Lasting,
    assembled: watch::Sender<Arc<Assembled>>,
    /// The listening sockets, to be handed to the next gate.
    sockets: Vec<(&'static str, TcpListener)>,
    draining: watch::Sender<bool>,
    handed_over: watch::Sender<bool>,
    stopped: watch::Sender<bool>,
    workers: Vec<JoinHandle<()>>,
    background: JoinHandle<()>,
}

/// The sockets of a gate, bound before anything else is started, each with its name.
struct Listeners(Vec<(&'static str, TcpListener)>);

/// Starts a gate. When this returns, its listeners take connections.
pub fn start(config: Config) -> Result<Running, StartError> {
    start_on(config, Inherited::none())
}

/// The same, on sockets that are open already, as far as there are any.
fn start_on(config: Config, inherited: Inherited) -> Result<Running, StartError> {
    let listeners = Listeners::bind(&config, inherited)?;
    let workers = config.server.workers;
    let drain_timeout = config.server.drain_timeout;
    let (public_address, admin_address) =
        (listeners.address("public")?, listeners.address("admin")?);

    let lasting = Lasting::open(&config)?;
    lasting.limit(SharedLimits::of(&config));
    let (assembled, assembled_seen) = watch::channel(Arc::new(assemble(config, &lasting)?));
    let (draining, drain_seen) = watch::channel(false);
    let (handed_over, handed_over_seen) = watch::channel(false);
    let (stopped, stop_seen) = watch::channel(false);
    let signals = background::Signals {
        draining: drain_seen.clone(),
        handed_over: handed_over_seen,
        stopped: stop_seen,
    };
    let background =
        background::start(assembled_seen.clone(), listeners.clone_of("admin")?, signals)?;
    let mut handles = Vec::with_capacity(workers);
    for number in 0..workers {
        handles.push(worker::start(worker::Seed {
            number,
            assembled: assembled_seen.clone(),
            connections: Arc::clone(&lasting.connections),
            public: listeners.clone_of("public")?,
            control: listeners.clone_if_set("control")?,
            decision: listeners.clone_if_set("decision")?,
            decision_grpc: listeners.clone_if_set("decision_grpc")?,
            draining: drain_seen.clone(),
            drain_timeout,
        })?);
    }
    Ok(Running {
        public: public_address,
        admin: admin_address,
        control: listeners.address_if_set("control")?,
        decision: listeners.address_if_set("decision")?,
        decision_grpc: listeners.address_if_set("decision_grpc")?,
        sockets: listeners.0,
        lasting,
        assembled,
        draining,
        handed_over,
        stopped,
        workers: handles,
        background,
    })
}

/// Runs a gate until the process is told to end (SIGTERM, SIGINT), then drains it.
///
/// On SIGHUP, and when a file of the configuration changes, `load` is asked for it again.
/// On SIGUSR2 the program is started again with the same sockets, and takes over once it is ready.
pub fn serve(config: Config, load: Load, invocation: &Invocation) -> Result<(), StartError> {
    let inherited = Inherited::take(invocation);
    handover::raise_descriptor_limit();
    let audit = config.audit.file.as_deref().map(AuditLog::open).transpose()?;
    let log = logging::init(&config.log, audit, Spans::start(&config.traces)?);
    let mut files = Files::of(&config, load);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Thread)?;
    let (mut terminate, mut interrupt, mut hangup, mut hand_over) = {
        let _context = runtime.enter();
        let listen = |kind| signal(kind).map_err(StartError::Thread);
        (
            listen(SignalKind::terminate())?,
            listen(SignalKind::interrupt())?,
            listen(SignalKind::hangup())?,
            listen(SignalKind::user_defined2())?,
        )
    };
    let running = start_on(config, inherited)?;
    tracing::info!(
        listen.public = %running.public,
        listen.admin = %running.admin,
        listen.control = running.control.map(tracing::field::display),
        listen.decision = running.decision.map(tracing::field::display),
        listen.decision_grpc = running.decision_grpc.map(tracing::field::display),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    let mut successor = None;
    let is_service = runtime.block_on(async {
        let mut look = tokio::time::interval(reload::INTERVAL);
        let (mut ready, mut is_awaited) = (pin!(timeout(READY_WITHIN, running.ready())), true);
        loop {
            tokio::select! {
                ready = &mut ready, if is_awaited => {
                    if ready.is_err() && handover::has_predecessor(invocation) {
                        tracing::error!("not ready in time: the earlier gate goes on, and this one ends");
                        return false;
                    }
                    is_awaited = false;
                    // In this order: the earlier gate is not the service any more when it ends.
                    let own_id = NotifyState::MainPid(std::process::id());
                    handover::tell_systemd(&[own_id, NotifyState::Ready]);
                    handover::relieve(invocation);
                }
                _ = terminate.recv() => return !is_awaited,
                _ = interrupt.recv() => return !is_awaited,
                _ = hangup.recv() => files.reload(&running, &log),
                // Not before: relieved itself, it would never relieve the one before it.
                _ = hand_over.recv(), if !is_awaited => running.hand_over(invocation, &mut successor),
                _ = look.tick() => if files.have_changed() { files.reload(&running, &log) },
            }
        }
    });
    tracing::info!("draining");
    if successor.as_ref().is_some_and(Successor::runs) {
        let _ = running.handed_over.send(true);
    } else if is_service {
        handover::tell_systemd(&[NotifyState::Stopping]);
    }
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

    /// Starts the next gate on the same sockets, unless there is one already. If it cannot be started,
    /// this one goes on alone.
    fn hand_over(&self, invocation: &Invocation, successor: &mut Option<Successor>) {
        if successor.as_ref().is_some_and(Successor::runs) {
            return tracing::warn!("the next gate is starting already");
        }
        let sockets = self.sockets.iter().map(|(name, socket)| {
            let socket = socket.try_clone()?;
            Ok::<_, io::Error>((*name, OwnedFd::from(socket)))
        });
        let started = sockets.collect::<Result<Vec<_>, _>>().and_then(|sockets| {
            handover::start_successor(invocation, sockets, self.draining.subscribe())
        });
        match started {
            Ok(next) => {
                *successor = Some(next);
                tracing::info!("the next gate was started");
            }
            Err(error) => tracing::error!(%error, "the next gate cannot be started"),
        }
    }

    /// Returns when the gate knows of all deletions.
    async fn ready(&self) {
        while !self.lasting.records.freshness().is_fresh(monotonic()) {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the gate counts.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.lasting.metrics
    }

    /// Goes on with another configuration, in one step: each request is judged by the old one or by
    /// the new one. If the new one cannot be used, nothing changes.
    pub fn reload(&self, config: Config) -> Result<(), StartError> {
        let limits = SharedLimits::of(&config);
        let assembled = assemble(config, &self.lasting)?;
        self.lasting.limit(limits);
        let _ = self.assembled.send(Arc::new(assembled));
        Ok(())
    }

    /// Drains and stops the gate: it is no longer ready, unless the next one is in its place, takes no
    /// connection, lets requests and streams under way end, cuts what is left at the deadline, and
    /// returns when all is done.
    pub fn stop(self) {
        let _ = self.draining.send(true);
        drop(self.sockets);
        for worker in self.workers {
            // A worker that panicked has nothing left to drain.
            let _ = worker.join();
        }
        let _ = self.stopped.send(true);
        let _ = self.background.join();
    }
}

impl Listeners {
    fn bind(config: &Config, mut inherited: Inherited) -> Result<Self, StartError> {
        let listen = &config.listen;
        let wanted = [
            ("public", Some(listen.public)),
            ("admin", Some(listen.admin)),
            ("control", listen.control),
            ("decision", listen.decision),
            ("decision_grpc", listen.decision_grpc),
        ];
        let wanted: Vec<_> =
            wanted.into_iter().filter_map(|(name, address)| Some((name, address?))).collect();
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        let mut sockets = Vec::with_capacity(wanted.len());
        for (name, address) in wanted {
            let socket = match inherited.socket((name, address), &names) {
                Ok(None) => server::bind(address),
                open => {
                    open.and_then(|socket| socket.ok_or_else(|| io::ErrorKind::NotFound.into()))
                }
            };
            let socket = socket.map_err(|source| StartError::Listen { address, source })?;
            sockets.push((name, socket));
        }
        Ok(Self(sockets))
    }

    fn find(&self, name: &str) -> Option<&TcpListener> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, socket)| socket)
    }

    fn clone_if_set(&self, name: &str) -> Result<Option<TcpListener>, StartError> {
        self.find(name).map(TcpListener::try_clone).transpose().map_err(StartError::Thread)
    }

    fn clone_of(&self, name: &str) -> Result<TcpListener, StartError> {
        let missing = || StartError::Thread(io::ErrorKind::NotFound.into());
        self.clone_if_set(name)?.ok_or_else(missing)
    }

    fn address_if_set(&self, name: &str) -> Result<Option<SocketAddr>, StartError> {
        self.find(name).map(TcpListener::local_addr).transpose().map_err(StartError::Thread)
    }

    fn address(&self, name: &str) -> Result<SocketAddr, StartError> {
        let missing = || StartError::Thread(io::ErrorKind::NotFound.into());
        self.address_if_set(name)?.ok_or_else(missing)
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
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all();
            runtime.event_interval(Turn::TASKS_MAX).on_thread_unpark(Turn::has_waited);
            runtime.on_thread_park(logging::hand_over);
            let _together = logging::Together::begin();
            match runtime.build_local(tokio::runtime::LocalOptions::default()) {
                Ok(runtime) => run(runtime),
                Err(error) => tracing::error!(%error, "a runtime cannot be had"),
            }
        })
        .map_err(StartError::Thread)
}

/// How long streams that were cut at the drain deadline have to say so.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);
