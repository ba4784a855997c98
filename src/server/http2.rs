//! HTTP/2 connections (RFC 9113): one task a request, each with a watchdog of its own.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::body::RequestBody;
use super::connection::{Incoming, Wanted};
use super::frames::{FrameSettings, FrameWatch};
use super::head::HeadLimits;
use super::http2_head::canonical;
use super::settings::ConnectionSettings;
use super::wire::Buffers;
use crate::message::Reply;
use crate::telemetry::Metrics;

/// Bytes of one body that may be on their way to the gate before it has read any.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same for all bodies of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of one answer that wait for the client.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// Bytes of an answer that are handed over at once.
const PIECE_BYTES_MAX: usize = 16 << 10;
/// Requests that were taken back before they were looked at, and errors of the client's that were
/// answered with a reset: more than these end the connection.
const RESETS_MAX: usize = 64;
/// How long a client that was told to go may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Limits of one HTTP/2 connection.
#[derive(Clone, Copy, Debug)]
pub struct Http2Settings {
    /// Those of any connection; a head is measured as RFC 9113 §6.5.2 says.
    pub connection: ConnectionSettings,
    /// Requests under way at once.
    pub streams_max: u32,
}

/// What a connection needs of its core.
pub struct Http2Core {
    /// The core's buffers.
    pub buffers: Rc<Buffers>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Turns true when the gate drains.
    pub draining: watch::Receiver<bool>,
}

/// Serves one connection to its end. For each request `serve` gives the answer to come, and the
/// watchdog that may want it looked at again, or ended.
pub async fn serve_http2<S, F, B, W>(
    stream: S,
    settings: Http2Settings,
    core: Http2Core,
    serve: impl Fn(Incoming) -> (F, W),
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Reply<B>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    W: FnMut(&mut Context<'_>) -> Poll<Wanted> + 'static,
{
    let Http2Core { buffers, metrics, mut draining } = core;
    let Http2Settings { connection: settings, streams_max } = settings;
    let frame_settings = FrameSettings {
        header_timeout: settings.header_timeout,
        write_stall_timeout: settings.write_stall_timeout,
    };
    let io = FrameWatch::new(stream, frame_settings, buffers, metrics);
    let tasks = Tasks {
        next: Rc::default(),
        activity: Rc::default(),
        write_stall_timeout: settings.write_stall_timeout,
    };
    let activity = Rc::clone(&tasks.activity);
    let service = Streams { serve, limits: settings.head, tasks: tasks.clone() };
    let connection = http2::Builder::new(tasks)
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams_max)
        .max_header_list_size(u32::try_from(settings.head.head_bytes_max).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut farewell = pin!(async {
        let drained = draining.wait_for(|draining| *draining);
        let idle = activity.idle_for(settings.header_timeout, settings.keep_alive_timeout);
        tokio::select! {
            // A connection that was taken is served once.
            _ = drained => activity.had_any(settings.header_timeout).await,
            () = idle => {}
        }
    });
    let mut told_to_go = false;
    let mut patience = pin!(async {
        activity.idle_for(FAREWELL, FAREWELL).await;
    });
    poll_fn(|cx| {
        if !told_to_go && farewell.as_mut().poll(cx).is_ready() {
            told_to_go = true;
            connection.as_mut().graceful_shutdown();
        }
        // How a connection ended is told by the requests on it.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // A client that has no request and does not go is left.
        if told_to_go { patience.as_mut().poll(cx) } else { Poll::Pending }
    })
    .await;
}

/// How many requests of a connection are under way.
#[derive(Default)]
struct Activity {
    open: Cell<usize>,
    had_any: Cell<bool>,
    changed: Notify,
}

/// One request under way.
struct Open(Rc<Activity>);

impl Activity {
    fn begin(self: &Rc<Self>) -> Open {
        self.open.set(self.open.get() + 1);
        self.had_any.set(true);
        self.changed.notify_waiters();
        Open(Rc::clone(self))
    }

    /// Ends when there has been a request, at the latest after `limit`.
    async fn had_any(&self, limit: Duration) {
        let began = async {
            while !self.had_any.get() {
                self.changed.notified().await;
            }
        };
        let _ = tokio::time::timeout(limit, began).await;
    }

    /// Ends when no request has been under way for `later`, or for `at_first` before there was any.
    async fn idle_for(&self, at_first: Duration, later: Duration) {
        loop {
            let changed = self.changed.notified();
            if self.open.get() > 0 {
                changed.await;
                continue;
            }
            let limit = if self.had_any.get() { later } else { at_first };
            if tokio::time::timeout(limit, changed).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.changed.notify_waiters();
    }
}

/// What belongs to a request beside its answer: its watchdog, and the pace of its client.
type Next<W> = (W, Rc<Pace>);

/// Runs each request in a task of its own.
struct Tasks<W> {
    /// What belongs to the request that was just taken in: its task is started next.
    next: Rc<RefCell<Option<Next<W>>>>,
    activity: Rc<Activity>,
    write_stall_timeout: Duration,
}

impl<W> Clone for Tasks<W> {
    fn clone(&self) -> Self {
        Self {
            next: Rc::clone(&self.next),
            activity: Rc::clone(&self.activity),
            write_stall_timeout: self.write_stall_timeout,
        }
    }
}

/// Takes requests in.
struct Streams<S, W> {
    serve: S,
    limits: HeadLimits,
    tasks: Tasks<W>,
}

impl<S, F, B, W> Service<Request<body::Incoming>> for Streams<S, W>
where
    S: Fn(Incoming) -> (F, W),
    F: Future<Output = Reply<B>> + 'static,
    B: 'static,
{
    type Response = Response<Paced<B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Paced<B>>, Infallible>>>>;

    fn call(&self, request: Request<body::Incoming>) -> Self::Future {
        let (request, body) = request.into_parts();
        let (head, well_formed) = canonical(request, &body, self.limits);
        let body = RequestBody::from(body);
        let (answer, watchdog) = (self.serve)(Incoming { head, body, well_formed });
        let pace = Rc::<Pace>::default();
        *self.tasks.next.borrow_mut() = Some((watchdog, Rc::clone(&pace)));
        Box::pin(async move {
            let answer = answer.await;
            pace.handed_over.set(Some(Instant::now()));
            Ok(answer.map(|body| Paced { body, rest: Bytes::new(), pace }).into_response())
        })
    }
}

impl<W, T> Executor<T> for Tasks<W>
where
    W: FnMut(&mut Context<'_>) -> Poll<Wanted> + 'static,
    T: Future<Output = ()> + 'static,
{
    fn execute(&self, task: T) {
        // Without one, this is no request's task: no tunnel is ever opened, and there is no other.
        let Some((mut watchdog, pace)) = self.next.borrow_mut().take() else { return };
        let open = self.activity.begin();
        let stall_timeout = self.write_stall_timeout;
        spawn_local(async move {
            let _open = open;
            let mut task = pin!(task);
            poll_fn(|cx| {
                loop {
                    if task.as_mut().poll(cx).is_ready() || pace.poll_stalled(cx, stall_timeout) {
                        return Poll::Ready(());
                    }
                    match watchdog(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Wanted::Attention) => {}
                        // Without its task, the stream is reset.
                        Poll::Ready(Wanted::End) => return Poll::Ready(()),
                    }
                }
            })
            .await;
        });
    }
}

/// Since when the client has taken nothing of an answer.
#[derive(Default)]
struct Pace {
    handed_over: Cell<Option<Instant>>,
    deadline: RefCell<Option<Pin<Box<tokio::time::Sleep>>>>,
}

impl Pace {
    fn poll_stalled(&self, cx: &mut Context<'_>, timeout: Duration) -> bool {
        let Some(since) = self.handed_over.get() else { return false };
        let mut deadline = self.deadline.borrow_mut();
        let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
        let due = tokio::time::Instant::from_std(since) + timeout;
        if deadline.deadline() != due {
            deadline.as_mut().reset(due);
        }
        deadline.as_mut().poll(cx).is_ready()
    }
}

/// An answer's body. The protocol library asks for the next piece only when the client has room for
/// a byte, and keeps what it gets: so pieces are small, and being asked tells that the client takes
/// something.
struct Paced<B> {
    body: B,
    /// Of a piece that was too large to be handed over at once.
    rest: Bytes,
    pace: Rc<Pace>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.pace.handed_over.set(None);
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                // Without data it is trailers, which no answer has.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES_MAX);
        let piece = self.rest.split_to(length);
        self.pace.handed_over.set(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
