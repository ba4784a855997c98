use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::telemetry::Metrics;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long to wait when no descriptor is left for a new connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(20);
/// How often that is said.
const EXHAUSTED_WARNING_INTERVAL: Duration = Duration::from_secs(5);

/// Descriptors for listeners, the store, the admin listener, runtimes, names being looked up.
const OWN_DESCRIPTORS: usize = 128;

/// How many client connections are open, on all cores together.
#[derive(Debug)]
pub struct ConnectionCount {
    open: AtomicUsize,
    max: AtomicUsize,
    metrics: Arc<Metrics>,
    warned: Mutex<Option<Instant>>,
}

/// A connection that counts for as long as it lives.
#[derive(Debug)]
pub struct Accepted {
    count: Arc<ConnectionCount>,
}

impl ConnectionCount {
    /// Nothing open; `max` connections may be.
    #[must_use]
    pub fn new(max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            metrics,
            warned: Mutex::new(None),
        }
    }

    /// Admits so many from now on.
    pub fn limit(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Says that connections cannot be accepted, unless it was said a moment ago.
    fn warn_of(&self, error: &io::Error) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() >= EXHAUSTED_WARNING_INTERVAL) {
            *warned = Some(Instant::now());
            tracing::warn!(error = %error, "cannot accept connections");
        }
    }

    fn admit(self: &Arc<Self>) -> Option<Accepted> {
        if self.open.fetch_add(1, Ordering::Relaxed) < self.max.load(Ordering::Relaxed) {
            self.metrics.connections.inc();
            return Some(Accepted { count: Arc::clone(self) });
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections_shed.inc();
        None
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.count.open.fetch_sub(1, Ordering::Relaxed);
        self.count.metrics.connections.dec();
    }
}

/// How many client connections there are descriptors for, when the process may have so many: each
/// may need another one upstream, and some are the gate's own.
#[must_use]
pub fn connections_within(descriptors_max: usize) -> usize {
    (descriptors_max.saturating_sub(OWN_DESCRIPTORS) / 2).max(1)
}

/// How many descriptors this process may have, where the system says so.
#[must_use]
pub fn descriptors_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Binds a listening socket. Every core accepts from a clone of it: closing one of several sockets
/// that share a port would drop the connections waiting in its queue.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Begins to listen on a bound socket, whose connections hold no small piece back: they inherit that from it,
/// so that none has to be asked for it.
pub fn listen(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    SockRef::from(&socket).set_tcp_nodelay(true)?;
    TcpListener::from_std(socket)
}

/// The next connection within the limit. Connections beyond it are closed at once; when the process
/// has no descriptor left, it waits instead of spinning.
pub async fn accept(
    listener: &TcpListener,
    count: &Arc<ConnectionCount>,
) -> (TcpStream, SocketAddr, Accepted) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Some(accepted) = count.admit() {
                    return (stream, address, accepted);
                }
            }
            Err(error) => {
                if !is_about_one_connection(&error) {
                    count.warn_of(&error);
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
