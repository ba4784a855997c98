//! The admin listener: health, readiness, metrics. Never reachable through the public one.

use std::net::TcpListener as StdTcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;
use tokio::task::spawn_local;

use super::background::Signals;
use crate::answer;
use crate::proxy::Gate;
use crate::server::{self, Buffers, ConnectionCount, ConnectionSettings, HeadLimits, Incoming};

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
    pub(super) gate: Arc<Gate>,
    pub(super) signals: Signals,
}

pub(super) async fn serve(admin: Rc<Admin>, listener: StdTcpListener) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin listener cannot be used"),
    };
    let buffers: Rc<Buffers> = Rc::default();
    let own_metrics = Arc::default();
    let count = Arc::new(ConnectionCount::new(CONNECTIONS_MAX, own_metrics));
    loop {
        let (stream, _, accepted) = server::accept(&listener, &count).await;
        let (admin, buffers) = (Rc::clone(&admin), Rc::clone(&buffers));
        spawn_local(async move {
            let _accepted = accepted;
            let service = async |incoming| admin.answer(&incoming);
            let stopped = admin.signals.stopped.clone();
            let never = |_: &mut std::task::Context<'_>| Poll::Pending;
            server::serve_connection(stream, SETTINGS, buffers, service, stopped, never).await;
        });
    }
}

impl Admin {
    fn is_ready(&self) -> bool {
        !*self.signals.draining.borrow() && self.gate.records.freshness().is_fresh(Instant::now())
    }

    fn answer(&self, incoming: &Incoming) -> Response<Full<Bytes>> {
        let request = &incoming.request;
        let admits = matches!(*request.method(), Method::GET | Method::HEAD);
        let (status, text) = match request.uri().path() {
            _ if incoming.well_formed.is_err() => {
                (StatusCode::BAD_REQUEST, "the request is malformed\n".to_owned())
            }
            _ if !admits => {
                (StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n".to_owned())
            }
            "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
            "/readyz" if self.is_ready() => (StatusCode::OK, "ready\n".to_owned()),
            "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
            "/metrics" => return metrics(self.gate.metrics.encode(self.is_ready())),
            _ => (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
        };
        let mut response = answer::empty(status).map(|_| Full::from(text));
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        response
    }
}

fn metrics(text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    let format =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}
