use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::header::HOST;
use http::{HeaderValue, Method, Request, Response};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::error::{Failure, UpstreamError};
use super::request_body::RequestBody;
use super::response_body::{ResponseBody, Returning};
use crate::config::{Upstream, is_metadata_address};
use crate::telemetry::Metrics;

/// Bodies above this may still be on their way when an early answer ends the exchange: their
/// connections are not used again. Below, the kernel takes them whole.
const REUSABLE_BODY_BYTES_MAX: u64 = 64 << 10;
/// Largest answer head that is accepted.
const ANSWER_HEAD_BYTES_MAX: usize = 64 << 10;
/// Most header lines of an answer.
const ANSWER_HEADERS_MAX: usize = 100;

/// A client for one core: its connections are made, used and kept there.
#[derive(Debug)]
pub struct Client {
    settings: Arc<Upstream>,
    authority: HeaderValue,
    /// The one used last is used next, so that the others reach their keep-alive limit.
    idle: RefCell<Vec<Idle>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<RequestBody>,
    since: Instant,
}

/// Why a try on one connection failed, and the request, if none of it was written.
struct TryError {
    error: UpstreamError,
    unsent: Option<Request<RequestBody>>,
}

impl Client {
    /// A client without connections. `None` when the configured authority cannot be a `Host`.
    #[must_use]
    pub fn new(settings: Arc<Upstream>, metrics: Arc<Metrics>) -> Option<Self> {
        let authority = HeaderValue::from_str(&settings.authority).ok()?;
        Some(Self { settings, authority, idle: RefCell::new(Vec::new()), metrics })
    }

    /// The authority of every request, as it stands in `Host`.
    #[must_use]
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Sends a request in origin-form and waits for the head of its answer. `Host` is set here, to
    /// the configured authority. Sends it a second time only when nothing of it was written, or
    /// when it was a `GET` or `HEAD` on a connection that had been idle.
    pub async fn send(
        self: &Rc<Self>,
        mut request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        request.headers_mut().insert(HOST, self.authority.clone());
        let safe =
            matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_nothing();
        while let Some(sender) = self.take_idle().await {
            self.metrics.upstream_reuses.inc();
            let replay = safe.then(|| copy_head(&request));
            match self.try_on(sender, request).await {
                Ok(response) => return Ok(response),
                Err(TryError { unsent: Some(unsent), .. }) => request = unsent,
                Err(TryError { error, unsent: None }) => match (&error.failure, replay) {
                    (Failure::Broken(_), Some(replay)) => {
                        request = replay;
                        break;
                    }
                    _ => return Err(error),
                },
            }
        }
        let sender = self.connect().await.map_err(UpstreamError::unsent)?;
        self.try_on(sender, request).await.map_err(|failed| failed.error)
    }

    async fn try_on(
        self: &Rc<Self>,
        mut sender: SendRequest<RequestBody>,
        request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, TryError> {
        let request_handed_over = request.body().handed_over();
        let size = http_body::Body::size_hint(request.body()).exact();
        let reusable = size.is_some_and(|size| size <= REUSABLE_BODY_BYTES_MAX);
        let answering = sender.try_send_request(request);
        let answer = tokio::time::timeout(self.settings.first_byte_timeout, answering).await;
        let response = match answer {
            Ok(Ok(response)) => response,
            Ok(Err(mut refused)) => {
                let unsent = refused.take_message();
                let failure = Failure::Broken(refused.into_error());
                let may_have_been_sent = unsent.is_none();
                return Err(TryError {
                    error: UpstreamError { failure, may_have_been_sent },
                    unsent,
                });
            }
            Err(_) => {
                let error = UpstreamError::perhaps_sent(Failure::FirstByteTimeout);
                return Err(TryError { error, unsent: None });
            }
        };
        // An answer that came before the body had been sent leaves the connection in doubt.
        let regular = reusable && request_handed_over.get() && response.status().as_u16() >= 200;
        let returning =
            regular.then(|| Returning { client: Rc::clone(self), sender, request_handed_over });
        let idle_timeout = self.settings.idle_timeout;
        Ok(response.map(|incoming| ResponseBody::new(incoming, returning, idle_timeout)))
    }

    /// A connection that has served before, is still open and takes a request now.
    async fn take_idle(&self) -> Option<SendRequest<RequestBody>> {
        loop {
            let Idle { mut sender, since } = self.idle.borrow_mut().pop()?;
            if since.elapsed() >= self.settings.keep_alive {
                // Everything below is older still.
                self.idle.borrow_mut().clear();
                return None;
            }
            // One turn of the connection's own task tells whether the upstream has closed it.
            let mut turns = 2;
            let ready = poll_fn(|cx| match sender.poll_ready(cx) {
                Poll::Ready(ready) => Poll::Ready(ready.is_ok()),
                Poll::Pending if turns == 0 => Poll::Ready(false),
                Poll::Pending => {
                    turns -= 1;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            });
            if ready.await {
                return Some(sender);
            }
        }
    }

    /// Keeps a connection whose exchange was complete and regular.
    pub(super) fn put_back(&self, sender: SendRequest<RequestBody>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.settings.idle_connections_max && !sender.is_closed() {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    async fn connect(&self) -> Result<SendRequest<RequestBody>, Failure> {
        let stream = tokio::time::timeout(self.settings.connect_timeout, self.dial())
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(Failure::Connect)?;
        let (sender, connection) = http1::Builder::new()
            .max_headers(ANSWER_HEADERS_MAX)
            .max_header_size(ANSWER_HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::Broken)?;
        self.metrics.upstream_connects.inc();
        // Ends when the sender and the body are gone, or the upstream closes: no one waits for it.
        tokio::task::spawn_local(connection);
        Ok(sender)
    }

    /// Connects to the first address that answers. A name that leads to a machine's metadata
    /// service is refused, as the configuration refuses the address itself.
    async fn dial(&self) -> io::Result<TcpStream> {
        let name = (self.settings.host.as_str(), self.settings.port);
        let mut failure = io::Error::other("the upstream's name has no usable address");
        for address in tokio::net::lookup_host(name).await? {
            if is_metadata_address(address.ip()) {
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return stream.set_nodelay(true).map(|()| stream),
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

    /// How often [`Client::prune`] should be called.
    pub const PRUNE_INTERVAL: Duration = Duration::from_secs(1);
}

fn copy_head(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::nothing());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
