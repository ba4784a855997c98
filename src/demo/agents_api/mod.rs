//! A stand-in agents API: two agents that echo, over the core routes of Letta's HTTP interface.
//!
//! Owns the wire shapes that the SDKs parse and enough of the real server's habits to show what a
//! gate is for: agent states that carry secrets, streams, and a password. Leaves out every model.
//! Must always hold: everything it keeps or waits for has a limit, and a caller that goes away ends
//! its own stream.

mod agents;
mod routes;
mod script;
mod shapes;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::token::Secret;
pub(super) use agents::AGENT_IDS;
use agents::Agents;

/// Connections served at once; those beyond wait in the system's queue.
const CONNECTIONS_MAX: usize = 256;
/// How long a request head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A running stand-in; dropping it ends it with all its connections.
#[derive(Debug)]
pub(super) struct AgentsApi {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AgentsApi {
    /// Listens on a free port of the loopback interface, on a thread of its own, and answers only
    /// callers that bring `password`.
    pub(super) fn start(password: Secret) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let agents = Arc::new(Agents::new(password));
        let thread =
            thread::Builder::new().name("demo-agents-api".to_owned()).spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        // An answer and a dropped sender both mean: stop.
                        _ = stopped => {}
                        () = accept(listener, agents) => {}
                    }
                });
            })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AgentsApi {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has printed why.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, agents: Arc<Agents>) {
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&agents)));
                }
                // Out of descriptors, most likely: give the others time to end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

async fn serve(stream: TcpStream, agents: Arc<Agents>) {
    // Small events must leave at once.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| routes::answer(request, Arc::clone(&agents)));
    // Whatever ends a connection of the demo needs no report.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
