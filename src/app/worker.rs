//! One core: accepts connections, serves them to their end, and keeps its own upstream pool.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;

use super::assemble::Assembled;
use super::running::{LAST_WORDS, StartError, spawn_thread};
use crate::cache::Cut;
use crate::decision_api::{self, DecisionApi};
use crate::proxy::{self, Attention, Connection, Core, OwnRequest, TOKEN_API_PATH};
use crate::server::{self, Accepted, Buffers, Wanted};
use crate::token_api;
use crate::upstream::Client;

/// What a worker is started with.
pub(super) struct Seed {
    pub(super) number: usize,
    pub(super) assembled: Arc<Assembled>,
    pub(super) public: std::net::TcpListener,
    pub(super) control: Option<std::net::TcpListener>,
    pub(super) decision: Option<std::net::TcpListener>,
    pub(super) decision_grpc: Option<std::net::TcpListener>,
    pub(super) draining: watch::Receiver<bool>,
    pub(super) drain_timeout: Duration,
}

/// Whether the token API answers on a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenApiHere {
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
struct Worker {
    assembled: Arc<Assembled>,
    core: Rc<Core>,
    decision: Rc<DecisionApi>,
    buffers: Rc<Buffers>,
    draining: watch::Receiver<bool>,
    open: Cell<usize>,
    closed: Notify,
}

pub(super) fn start(seed: Seed) -> Result<JoinHandle<()>, StartError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| StartError::Randomness)?;
    let request_ids = u64::from_ne_bytes(random);
    spawn_thread(format!("ckgate-{}", seed.number), move |runtime| {
        let Seed { assembled, draining, drain_timeout, .. } = seed;
        let gate = Arc::clone(&assembled.gate);
        let client = Client::new(Arc::clone(&assembled.upstream), Arc::clone(&gate.metrics));
        // The configuration has checked the authority.
        let Some(client) = client else { return };
        let core = Rc::new(Core::new(gate, Rc::new(client), request_ids));
        let decision = Rc::new(DecisionApi {
            core: Rc::clone(&core),
            peers: assembled.peers.clone(),
            head: assembled.connection.head,
        });
        let worker = Rc::new(Worker {
            core,
            decision,
            buffers: Rc::default(),
            draining,
            open: Cell::new(0),
            closed: Notify::new(),
            assembled,
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
        runtime.block_on(worker.run(listeners, drain_timeout));
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
            self.core.gate.streams.cut_all(Cut::Shutdown);
            let _ = tokio::time::timeout(LAST_WORDS, self.emptied()).await;
        }
        pruning.abort();
        self.core.tell_usage();
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
            self.core.upstream.prune();
            self.core.tell_usage();
        }
    }

    async fn accept(self: Rc<Self>, listener: std::net::TcpListener, answers: Answers) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "a listener cannot be used"),
        };
        loop {
            let (stream, address, accepted) =
                server::accept(&listener, &self.assembled.connections).await;
            self.open.set(self.open.get() + 1);
            spawn_local(Rc::clone(&self).serve(stream, address, accepted, answers));
        }
    }

    async fn serve(
        self: Rc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        accepted: Accepted,
        answers: Answers,
    ) {
        let draining = self.draining.clone();
        let decision = Rc::clone(&self.decision);
        let settings = self.assembled.connection;
        let buffers = Rc::clone(&self.buffers);
        match answers {
            Answers::DataPath(token_api) => self.serve_callers(stream, address, token_api).await,
            Answers::Decision => {
                decision_api::serve_http(decision, stream, address, (settings, buffers), draining)
                    .await;
            }
            Answers::DecisionGrpc => {
                decision_api::serve_grpc(decision, stream, address, draining).await;
            }
        }
        drop(accepted);
        self.open.set(self.open.get() - 1);
        self.closed.notify_one();
    }

    async fn serve_callers(&self, stream: TcpStream, address: SocketAddr, token_api: TokenApiHere) {
        let connection = Rc::new(Connection::new(address.ip()));
        let service = async |incoming| {
            let own = async |request: OwnRequest<'_>| self.answer_own(request, token_api).await;
            proxy::handle(&self.core, &connection, incoming, own).await
        };
        let watchdog = |cx: &mut Context<'_>| -> Poll<Wanted> {
            connection.poll_attention(cx).map(|attention| match attention {
                Attention::Look => Wanted::Attention,
                Attention::End => Wanted::End,
            })
        };
        let settings = self.assembled.connection;
        let draining = self.draining.clone();
        let buffers = Rc::clone(&self.buffers);
        server::serve_connection(stream, settings, buffers, service, draining, watchdog).await;
    }

    async fn answer_own(
        &self,
        request: OwnRequest<'_>,
        token_api: TokenApiHere,
    ) -> Option<(&'static str, http::Response<bytes::Bytes>)> {
        if token_api == TokenApiHere::IsElsewhere {
            return None;
        }
        let OwnRequest { account, head, body, request_id, now } = request;
        let path_below = head.uri.path().strip_prefix(TOKEN_API_PATH)?;
        let asked = token_api::Asked { account, head, path_below, body, request_id, now };
        Some(self.assembled.token_api.answer(asked).await)
    }
}
