//! The admin listener: health, readiness, metrics, the description of our APIs, the console. Never
//! reachable through the public one.

use std::net::TcpListener as StdTcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::assemble::Assembled;
use super::background::Signals;
use super::openapi;
use crate::answer;
use crate::clock::monotonic;
use crate::console::{Console, ConsoleBody, Present};
use crate::message::Reply;
use crate::proxy::Gate;
use crate::server::{self, Buffers, ConnectionCount, ConnectionSettings, HeadLimits, Incoming};
use crate::store::TokenStore as _;
use crate::telemetry::StateNow;

/// Connections open at once.
const CONNECTIONS_MAX: usize = 64;
const SETTINGS: ConnectionSettings = ConnectionSettings {
    head: HeadLimits { head_bytes_max: 16 << 10, headers_max: 64, target_bytes_max: 8 << 10 },
    header_timeout: Duration::from_secs(10),
    keep_alive_timeout: Duration::from_secs(75),
    write_stall_timeout: Duration::from_secs(30),
};

/// What the admin listener tells about.
pub(super) struct Admin {
    gate: Arc<Gate>,
    assembled: watch::Receiver<Arc<Assembled>>,
    signals: Signals,
    console: Rc<Console>,
}

pub(super) async fn serve(admin: Rc<Admin>, listener: StdTcpListener) {
    let listener = match server::listen(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin listener cannot be used"),
    };
    let buffers: Rc<Buffers> = Rc::default();
    let own_metrics = Arc::default();
    let count = Arc::new(ConnectionCount::new(CONNECTIONS_MAX, own_metrics));
    let mut handed_over = admin.signals.handed_over.clone();
    loop {
        let (stream, _, accepted) = tokio::select! {
            accepted = server::accept(&listener, &count) => accepted,
            // From now on the next gate is asked how it is.
            Ok(_) = handed_over.wait_for(|handed_over| *handed_over) => return,
        };
        let (admin, buffers) = (Rc::clone(&admin), Rc::clone(&buffers));
        spawn_local(async move {
            let _accepted = accepted;
            admin.serve(stream, buffers).await;
        });
    }
}

impl Admin {
    pub(super) fn new(assembled: watch::Receiver<Arc<Assembled>>, signals: Signals) -> Self {
        let gate = Arc::clone(&assembled.borrow().gate);
        let now = assembled.clone();
        let present = move || {
            let Assembled { gate, token_api, admin_credential, .. } = &*Arc::clone(&now.borrow());
            let (credential, activity) = admin_credential.clone().zip(gate.activity.clone())?;
            let (gate, token_api) = (Arc::clone(gate), Arc::clone(token_api));
            Some(Present { gate, token_api, activity, credential })
        };
        let console = Rc::new(Console::new(present, signals.draining.clone()));
        Self { gate, assembled, signals, console }
    }

    async fn serve(&self, stream: TcpStream, buffers: Rc<Buffers>) {
        let assembled = Arc::clone(&self.assembled.borrow());
        let Some(identities) = &assembled.admin_identities else {
            return self.serve_http(stream, buffers).await;
        };
        if let Some(secured) = assembled.admin_handshakes.shake(stream, identities).await {
            self.serve_http(secured.stream, buffers).await;
        }
    }

    async fn serve_http(&self, stream: impl AsyncRead + AsyncWrite + Unpin, buffers: Rc<Buffers>) {
        let service = async |incoming: &mut Incoming| Reply::from(self.answer(incoming).await);
        let draining = self.signals.draining.clone();
        let never = |_: &mut std::task::Context<'_>| Poll::Pending;
        server::serve_connection(stream, SETTINGS, buffers, service, draining, never).await;
    }

    /// Whoever asks a gate that has handed over, a moment before this listener is given up, asks about the next.
    fn is_ready(&self) -> bool {
        let takes_requests = !*self.signals.draining.borrow() || *self.signals.handed_over.borrow();
        takes_requests && self.gate.records.freshness().is_fresh(monotonic())
    }

    fn state(&self) -> StateNow {
        let records = &self.gate.records;
        StateNow {
            ready: self.is_ready(),
            feed_age: records.freshness().age(monotonic()),
            feed_listening: records.store().is_listening(),
        }
    }

    async fn answer(&self, incoming: &mut Incoming) -> Response<ConsoleBody> {
        let body = incoming.take_body();
        let request = incoming.well_formed.ok().and_then(|()| incoming.head.to_request(body));
        let Some(request) = request else {
            let mut malformed =
                plain(StatusCode::BAD_REQUEST, "the request is malformed\n".to_owned());
            malformed.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return malformed.map(ConsoleBody::whole);
        };
        let (head, body) = request.into_parts();
        match self.console.answer(&head, body).await {
            Some(answer) => answer,
            None => self.tell(&head).map(ConsoleBody::whole),
        }
    }

    fn tell(&self, head: &Parts) -> Response<Bytes> {
        let admits = matches!(head.method, Method::GET | Method::HEAD);
        let (status, text) = match head.uri.path() {
            _ if !admits => {
                (StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned())
            }
            "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" if self.is_ready() => (StatusCode::OK, "ready\n".to_owned()),
            "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
            "/metrics" => return metrics(self.gate.metrics.encode(&self.state())),
            "/openapi.json" => return openapi::answer(),
            _ => (
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz, /metrics and /openapi.json\n".to_owned(),
            ),
        };
        plain(status, text)
    }
}

fn plain(status: StatusCode, text: String) -> Response<Bytes> {
    let mut response = answer::empty(status).map(|_| Bytes::from(text));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

fn metrics(text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    let format =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}
