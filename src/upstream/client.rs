use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use super::answer_body::AnswerBody;
use super::error::{Failure, UpstreamError};
use super::exchange::{Answered, Connection, Exchange, Failed};
use super::request::{Framing, OutgoingRequest};
use super::wire::{Wire, connect};
use crate::clock::{Turn, step_time};
use crate::config::{Upstream, is_metadata_address};
use crate::message::Reply;
use crate::telemetry::Metrics;
use crate::tls::PeerTls;

/// A client for one core: its connections are made, used and kept there.
#[derive(Debug)]
pub struct Client {
    settings: Arc<Upstream>,
    tls: Option<PeerTls>,
    authority: HeaderValue,
    /// In the order in which they were put back. Of those that have rested the one used last is used
    /// next, so that the others reach their keep-alive limit.
    idle: RefCell<Vec<Idle>>,
    /// Where answers are read to: nothing stays in it between two reads.
    scratch: RefCell<Vec<u8>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Connection>,
    since: Instant,
    /// The turn in which it was put back.
    turn: Turn,
}

impl Client {
    /// How often [`Client::prune`] should be called.
    pub const PRUNE_INTERVAL: Duration = Duration::from_secs(1);

    /// A client without connections; `tls` is for an upstream that speaks it. `None` when the
    /// configured authority cannot be a `Host`.
    #[must_use]
    pub fn new(
        settings: Arc<Upstream>,
        tls: Option<PeerTls>,
        metrics: Arc<Metrics>,
    ) -> Option<Self> {
        let authority = HeaderValue::from_str(&settings.authority).ok()?;
        Some(Self {
            settings,
            tls,
            authority,
            idle: RefCell::default(),
            scratch: RefCell::default(),
            metrics,
        })
    }

    /// The authority of every request, as it stands in `Host`.
    #[must_use]
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Scheme and authority of every request.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.settings.authority)
    }

    /// Sends a request and waits for the head of its answer, of which the fields that are `wanted` are
    /// kept: it is asked with the name in lower case. Sends it a second time only when no byte of the first was taken, or when it was a
    /// `GET` or `HEAD` on a connection that the upstream had meanwhile closed.
    pub async fn send(
        self: &Rc<Self>,
        mut request: OutgoingRequest,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Reply<AnswerBody>, UpstreamError> {
        let framing = request.finish();
        let now = step_time();
        if let Some(mut connection) = self.take_idle(now) {
            self.metrics.upstream_reuses.inc();
            match self.exchange(&mut connection, &mut request, framing, &wanted).await {
                Ok(answered) => return Ok(self.answer(connection, answered)),
                Err(Failed { failure: Failure::Broken(_), wrote_any })
                    if request.is_safe || !wrote_any => {}
                Err(Failed { failure, wrote_any }) => {
                    return Err(UpstreamError { failure, may_have_been_sent: wrote_any });
                }
            }
        }
        let unsent = |failure| UpstreamError { failure, may_have_been_sent: false };
        // On the heap: few requests wait for it, but each would have room for it.
        let mut connection = Box::pin(self.connect()).await.map_err(unsent)?;
        match self.exchange(&mut connection, &mut request, framing, &wanted).await {
            Ok(answered) => Ok(self.answer(connection, answered)),
            Err(Failed { failure, wrote_any }) => {
                Err(UpstreamError { failure, may_have_been_sent: wrote_any })
            }
        }
    }

    async fn exchange(
        &self,
        connection: &mut Connection,
        request: &mut OutgoingRequest,
        framing: Framing,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Answered, Failed> {
        let mut exchange = Exchange::on(connection, &self.settings);
        let answered = async {
            let request_complete = exchange.send(request, framing).await?;
            let (head, rest) = exchange.receive(request.is_head, &self.scratch, wanted).await?;
            Ok(Answered { head, rest, request_complete })
        };
        let answered = answered.await;
        answered.map_err(|failure| Failed { failure, wrote_any: exchange.wrote_any() })
    }

    fn answer(
        self: &Rc<Self>,
        connection: Box<Connection>,
        answered: Answered,
    ) -> Reply<AnswerBody> {
        let Answered { head, rest, request_complete } = answered;
        let regular = head.keeps_alive && request_complete;
        let body = AnswerBody::new((connection, Rc::clone(self)), rest, head.framing, regular);
        Reply { status: head.status, fields: head.fields, body }
    }

    /// The core's buffer for reading.
    pub(super) fn scratch(&self) -> &RefCell<Vec<u8>> {
        &self.scratch
    }

    /// How long an answer's body may bring nothing.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.settings.idle_timeout
    }

    /// A connection that has served before and is still open and silent; first one that has rested: the
    /// runtime has asked for news since it was put back, and would have heard of more than its answer.
    fn take_idle(&self, now: Instant) -> Option<Box<Connection>> {
        let mut all = self.idle.borrow_mut();
        loop {
            let rested = all.iter().rposition(|idle| idle.turn.is_over());
            let at = rested.or_else(|| all.len().checked_sub(1))?;
            if now >= all.get(at)?.since + self.settings.keep_alive {
                // Everything before it is older still.
                all.drain(..=at);
                continue;
            }
            let mut connection = all.remove(at).connection;
            if connection.stream.is_silent(rested.is_some()) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange was complete and regular.
    pub(super) fn put_back(&self, connection: Box<Connection>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.settings.idle_connections_max {
            idle.push(Idle { connection, since: step_time(), turn: Turn::now() });
        }
    }

    async fn connect(&self) -> Result<Box<Connection>, Failure> {
        let stream = tokio::time::timeout(self.settings.connect_timeout, self.dial())
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(Failure::Connect)?;
        self.metrics.upstream_connects.inc();
        Ok(Box::new(Connection::new(stream)))
    }

    /// Connects to the first address that answers. A name that leads to a machine's metadata
    /// service is refused, as the configuration refuses the address itself.
    async fn dial(&self) -> io::Result<Wire> {
        let name = (self.settings.host.as_str(), self.settings.port);
        let mut failure = io::Error::other("the upstream's name has no usable address");
        for address in tokio::net::lookup_host(name).await? {
            if is_metadata_address(address.ip()) {
                continue;
            }
            match connect(address).await {
                Ok(stream) => return Wire::over(stream, self.tls.as_ref()).await,
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Drops idle connections that have reached their keep-alive limit.
    pub fn prune(&self) {
        let keep_alive = self.settings.keep_alive;
        self.idle.borrow_mut().retain(|idle| idle.since.elapsed() < keep_alive);
    }
}
