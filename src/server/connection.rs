use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;

use super::body::RequestBody;

/// Limits of one HTTP/1.1 connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// How long a connection may be idle between two requests.
    pub keep_alive_timeout: Duration,
    /// Header lines of one head.
    pub headers_max: usize,
    /// Bytes of one head.
    pub head_bytes_max: usize,
}

/// What a connection's watchdog wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The answer under way has something new to say: look at it again.
    Attention,
    /// The connection must end at once.
    End,
}

/// Serves one connection to its end: until the client or an answer closes it, the gate drains and
/// the answer under way is done, or `watchdog` wants it ended.
pub async fn serve_connection<I, S, B>(
    io: I,
    settings: ConnectionSettings,
    service: S,
    mut draining: watch::Receiver<bool>,
    mut watchdog: impl FnMut(&mut Context<'_>) -> Poll<Wanted>,
) where
    I: Read + Write + Unpin,
    S: AsyncFn(Request<RequestBody>) -> Response<B>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = &service;
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let answering = service(request.map(RequestBody::from));
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.keep_alive_timeout)
        .max_headers(settings.headers_max)
        .max_header_size(settings.head_bytes_max)
        .half_close(false)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut drain = pin!(async move {
        // An error means that whoever could ask is gone: as good as being asked.
        let _ = draining.wait_for(|draining| *draining).await;
    });
    let mut graceful = false;
    poll_fn(|cx| {
        if !graceful && drain.as_mut().poll(cx).is_ready() {
            graceful = true;
            connection.as_mut().graceful_shutdown();
        }
        loop {
            // How a connection ended is told by the requests on it.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match watchdog(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Wanted::Attention) => {}
                Poll::Ready(Wanted::End) => return Poll::Ready(()),
            }
        }
    })
    .await;
}
