//! One core: accepts connections, serves them to their end, and keeps its own upstream pool.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;

use super::assemble::Assembled;
use super::running::{LAST_WORDS, StartError, spawn_thread};
use super::serving::Serving;
use crate::cache::{Cut, Front};
use crate::clock::Steps;
use crate::decision_api;
use crate::server::{self, Accepted, Buffers, ConnectionCount};
use crate::tls;
use crate::upstream::Client;

/// What a worker is started with.
pub(super) struct Seed {
    pub(super) number: usize,
    pub(super) assembled: watch::Receiver<Arc<Assembled>>,
    pub(super) connections: Arc<ConnectionCount>,
    pub(super) public: std::net::TcpListener,
    pub(super) control: Option<std::net::TcpListener>,
    pub(super) decision: Option<std::net::TcpListener>,
    pub(super) decision_grpc: Option<std::net::TcpListener>,
    pub(super) draining: watch::Receiver<bool>,
    pub(super) drain_timeout: Duration,
}

/// Whether the token API answers on a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenApiHere {
    Answers,
    IsElsewhere,
}

/// What answers on a listener.
#[derive(Clone, Copy)]
enum Answers {
    DataPath(TokenApiHere),
    Decision,
    DecisionGrpc,
}

/// One core at work.
pub(super) struct Worker {
    /// What the next request is judged by, unless there is something newer.
    serving: RefCell<Rc<Serving>>,
    assembled: RefCell<watch::Receiver<Arc<Assembled>>>,
    /// The front caches of configurations that were, until they are freed.
    retired: RefCell<Vec<Front>>,
    pub(super) buffers: Rc<Buffers>,
    pub(super) draining: watch::Receiver<bool>,
    connections: Arc<ConnectionCount>,
    open: Cell<usize>,
    closed: Notify,
}

pub(super) fn start(seed: Seed) -> Result<JoinHandle<()>, StartError> {
    spawn_thread(format!("ckgate-{}", seed.number), move |runtime| {
        let Seed { mut assembled, connections, draining, drain_timeout, .. } = seed;
        let first = Arc::clone(&assembled.borrow_and_update());
        let news = assembled.clone();
        if first.identities.is_some() || first.upstream_tls.is_some() {
            tls::warm_up();
        }
        let Some(serving) = Serving::of(first) else { return };
        let worker = Rc::new(Worker {
            serving: RefCell::new(Rc::new(serving)),
            assembled: RefCell::new(assembled),
            retired: RefCell::default(),
            buffers: Rc::default(),
            draining,
            connections,
            open: Cell::new(0),
            closed: Notify::new(),
        });
        let on_public = match seed.control {
            Some(_) => TokenApiHere::IsElsewhere,
            None => TokenApiHere::Answers,
        };
        let listeners = [
            (Some(seed.public), Answers::DataPath(on_public)),
            (seed.control, Answers::DataPath(TokenApiHere::Answers)),
            (seed.decision, Answers::Decision),
            (seed.decision_grpc, Answers::DecisionGrpc),
        ];
        runtime.block_on(async {
            spawn_local(Rc::clone(&worker).follow(news));
            worker.run(listeners, drain_timeout).await;
        });
    })
}

impl Worker {
    async fn run(
        self: Rc<Self>,
        listeners: [(Option<std::net::TcpListener>, Answers); 4],
        drain_timeout: Duration,
    ) {
        let mut tasks = Vec::with_capacity(listeners.len());
        for (listener, answers) in listeners {
            let accept = |listener| spawn_local(Rc::clone(&self).accept(listener, answers));
            tasks.extend(listener.map(accept));
        }
        let pruning = spawn_local(Rc::clone(&self).prune());
        let mut draining = self.draining.clone();
        let _ = draining.wait_for(|draining| *draining).await;
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        if tokio::time::timeout(drain_timeout, self.emptied()).await.is_err() {
            self.serving().core.gate.streams.cut_all(Cut::Shutdown);
            let _ = tokio::time::timeout(LAST_WORDS, self.emptied()).await;
        }
        pruning.abort();
        self.serving().core.tell_usage();
    }

    async fn emptied(&self) {
        while self.open.get() > 0 {
            self.closed.notified().await;
        }
    }

    async fn prune(self: Rc<Self>) {
        let mut interval = tokio::time::interval(Client::PRUNE_INTERVAL);
        loop {
            interval.tick().await;
            let serving = self.serving();
            serving.core.upstream.prune();
            serving.core.prune_front();
            self.retired.borrow_mut().retain_mut(Front::shrink);
            serving.core.tell_usage();
        }
    }

    async fn accept(self: Rc<Self>, listener: std::net::TcpListener, answers: Answers) {
        let listener = match server::listen(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "a listener cannot be used"),
        };
        loop {
            let (stream, address, accepted) = server::accept(&listener, &self.connections).await;
            self.open.set(self.open.get() + 1);
            // Where it stays: it would be copied on its way to the runtime.
            let served = Box::pin(Rc::clone(&self).serve(stream, address, accepted, answers));
            spawn_local(Steps::of(served));
            step_aside().await;
        }
    }

    async fn serve(
        self: Rc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        accepted: Accepted,
        answers: Answers,
    ) {
        match answers {
            Answers::DataPath(token_api) => {
                self.serve_client(stream, address.ip(), token_api).await;
            }
            Answers::Decision | Answers::DecisionGrpc => {
                self.serve_decisions(stream, address, answers).await;
            }
        }
        drop(accepted);
        self.open.set(self.open.get() - 1);
        self.closed.notify_one();
    }

    async fn serve_decisions(
        self: &Rc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        answers: Answers,
    ) {
        let worker = Rc::clone(self);
        // Edges keep their connections for days: each question is answered by what holds now.
        let now = move || Rc::clone(&worker.serving().decision);
        let draining = self.draining.clone();
        if matches!(answers, Answers::DecisionGrpc) {
            decision_api::serve_grpc(now, stream, address, draining).await;
        } else {
            let settings = (self.serving().assembled.connection, Rc::clone(&self.buffers));
            decision_api::serve_http(now, stream, address, settings, draining).await;
        }
    }

    /// What requests are judged by from now on. Whoever serves one keeps it to the request's end. Each
    /// asks for it anew: when a configuration is said to hold, it holds on every core.
    pub(super) fn serving(&self) -> Rc<Serving> {
        if self.assembled.borrow().has_changed().unwrap_or(false) {
            self.take_up();
        }
        Rc::clone(&self.serving.borrow())
    }

    fn take_up(&self) {
        let next = Serving::of(Arc::clone(&self.assembled.borrow_mut().borrow_and_update()));
        if let Some(next) = next {
            let last = Rc::clone(&self.serving.borrow());
            last.core.tell_usage();
            self.retired.borrow_mut().push(last.core.retire_front());
            *self.serving.borrow_mut() = Rc::new(next);
        }
    }

    /// Lets go of an old configuration also where no request comes.
    async fn follow(self: Rc<Self>, mut news: watch::Receiver<Arc<Assembled>>) {
        while news.changed().await.is_ok() {
            drop(self.serving());
        }
    }
}

/// Lets the core's other tasks that have something to do take their step first. Unlike tokio's own way to
/// yield, without asking the system for news of all connections in between.
async fn step_aside() {
    let mut has_stepped = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
