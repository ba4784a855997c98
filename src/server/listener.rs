use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::telemetry::Metrics;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long to wait when no descriptor is left for a new connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(20);

/// How many client connections are open, on all cores together.
#[derive(Debug)]
pub struct ConnectionCount {
    open: AtomicUsize,
    max: usize,
    metrics: Arc<Metrics>,
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
        Self { open: AtomicUsize::new(0), max, metrics }
    }

    fn admit(self: &Arc<Self>) -> Option<Accepted> {
        if self.open.fetch_add(1, Ordering::Relaxed) < self.max {
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

/// The next connection within the limit. Connections beyond it are closed at once; when the process
/// has no descriptor left, it waits instead of spinning.
pub async fn accept(
    listener: &TcpListener,
    count: &Arc<ConnectionCount>,
) -> (TcpStream, SocketAddr, Accepted) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Some(accepted) = count.admit()
                    && stream.set_nodelay(true).is_ok()
                {
                    return (stream, address, accepted);
                }
            }
            Err(error) => {
                if !is_about_one_connection(&error) {
                    tracing::warn!(error = %error, "cannot accept connections");
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
