use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::telemetry::Metrics;
use crate::tls::{HTTP_2, Identities, Identity};

/// How much handshakes may ask of a gate, on all cores together.
#[derive(Debug)]
pub struct Handshakes {
    places: Semaphore,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

/// A client's connection after its handshake.
#[derive(Debug)]
pub struct Secured {
    /// What was agreed to be spoken on it.
    pub protocol: Protocol,
    /// Which certificate the client was shown.
    pub identity: Arc<Identity>,
    /// The connection.
    pub stream: TlsStream<TcpStream>,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1; also for clients that agree to nothing.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Handshakes {
    /// At most `max` at once, none longer than `timeout`.
    #[must_use]
    pub fn new(max: usize, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self { places: Semaphore::new(max.min(Semaphore::MAX_PERMITS)), timeout, metrics }
    }

    /// The handshake with one client. `None` when it failed, or took too long, or when there are
    /// too many: then the connection is closed.
    pub async fn shake(&self, stream: TcpStream, identities: &Identities) -> Option<Secured> {
        let Ok(_place) = self.places.try_acquire() else {
            self.metrics.tls_handshake("shed");
            return None;
        };
        let shaken = tokio::time::timeout(self.timeout, shake(stream, identities)).await;
        let outcome = match &shaken {
            Ok(Ok(_)) => "done",
            Ok(Err(_)) => "failed",
            Err(_) => "timeout",
        };
        self.metrics.tls_handshake(outcome);
        shaken.ok()?.ok()
    }
}

async fn shake(stream: TcpStream, identities: &Identities) -> std::io::Result<Secured> {
    let greeted = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let identity = Arc::clone(identities.select(greeted.client_hello().server_name()));
    let stream = greeted.into_stream(identity.config()).await?;
    let agreed = stream.get_ref().1.alpn_protocol();
    let protocol = if agreed == Some(HTTP_2) { Protocol::Http2 } else { Protocol::Http1 };
    Ok(Secured { protocol, identity, stream })
}
