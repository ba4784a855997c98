//! What runs beside the cores: following the feed, sweeping the store, the admin listener.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::admin;
use super::assemble::Assembled;
use super::running::{StartError, spawn_thread};
use crate::cache::{Follower, StreamKeeper};
use crate::config::SharedBy;
use crate::proxy::Gate;
use crate::store::{Store, TokenStore as _};

/// How often expired records are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Pause between two steps of a sweep that has more to do.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);
/// Rows of one step.
const SWEEP_STEP: u32 = 1000;
/// How often a gate says that it runs. One that has been silent for 10 s is no longer counted.
const SHARE_INTERVAL: Duration = Duration::from_secs(2);
/// How often what was counted of tokens is written.
const USAGE_INTERVAL: Duration = Duration::from_secs(5);
/// Pairs of token and permission written at once.
const USAGE_STEP: usize = 1000;
/// How long an expired record is left alone, for clocks that disagree.
const SWEEP_MARGIN: SignedDuration = SignedDuration::from_mins(1);

/// When to stop.
#[derive(Clone)]
pub(super) struct Signals {
    /// The gate takes no new requests.
    pub(super) draining: watch::Receiver<bool>,
    /// Another gate has its sockets.
    pub(super) handed_over: watch::Receiver<bool>,
    /// Every request has ended.
    pub(super) stopped: watch::Receiver<bool>,
}

pub(super) fn start(
    assembled: watch::Receiver<Arc<Assembled>>,
    admin: TcpListener,
    signals: Signals,
) -> Result<JoinHandle<()>, StartError> {
    spawn_thread("ckgate-background".to_owned(), move |runtime| {
        runtime.block_on(async move {
            let mut stopped = signals.stopped.clone();
            let gate = Arc::clone(&assembled.borrow().gate);
            spawn_local(follow(Arc::clone(&gate)));
            spawn_local(keep_streams(Arc::clone(&gate)));
            spawn_local(keep_usage(Arc::clone(&gate)));
            if assembled.borrow().shared_by == SharedBy::Cluster {
                spawn_local(share(Arc::clone(&gate)));
            }
            let counted = Arc::clone(&gate);
            spawn_local(sweep(Arc::clone(&gate)));
            spawn_local(admin::serve(Rc::new(admin::Admin::new(assembled, signals)), admin));
            let _ = stopped.wait_for(|stopped| *stopped).await;
            write_usage(&counted).await;
        });
    })
}

/// Follows the feed of deletions for as long as the gate runs.
async fn follow(gate: Arc<Gate>) {
    let mut follower = Follower::new(Arc::clone(&gate.records), Arc::clone(&gate.streams));
    let mut failing = false;
    loop {
        match follower.catch_up().await {
            Ok(()) if failing => {
                failing = false;
                tracing::info!("the feed of deletions is followed again");
            }
            Ok(()) => {}
            Err(error) => {
                gate.metrics.feed_failures.inc();
                if !failing {
                    failing = true;
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, source, "the feed of deletions cannot be read");
                }
            }
        }
        follower.wait().await;
    }
}

/// Sees to it that no stream outlives what is known of its token.
async fn keep_streams(gate: Arc<Gate>) {
    let mut keeper = StreamKeeper::new(Arc::clone(&gate.records), Arc::clone(&gate.streams));
    let mut interval = tokio::time::interval(StreamKeeper::<Store>::INTERVAL);
    loop {
        interval.tick().await;
        keeper.look();
    }
}

/// Tells the other gates on the store that this one runs, and shares the limits with them.
async fn share(gate: Arc<Gate>) {
    let mut id = [0; 16];
    if getrandom::fill(&mut id).is_err() {
        return tracing::error!("the system gives no randomness: limits hold for this gate alone");
    }
    let mut interval = tokio::time::interval(SHARE_INTERVAL);
    loop {
        interval.tick().await;
        match gate.records.store().gates(id).await {
            Ok(gates) => gate.rates.share_among(gates),
            // As many as there were: nobody can be asked.
            Err(_) => {
                gate.metrics.store_failures.inc();
            }
        }
    }
}

/// Writes what was counted of tokens every few seconds.
async fn keep_usage(gate: Arc<Gate>) {
    loop {
        tokio::time::sleep(USAGE_INTERVAL).await;
        write_usage(&gate).await;
    }
}

async fn write_usage(gate: &Gate) {
    loop {
        let usage = gate.usage.take(USAGE_STEP);
        if usage.is_empty() {
            return;
        }
        if gate.records.store().add_usage(usage.clone()).await.is_err() {
            gate.metrics.store_failures.inc();
            // Next time.
            return gate.usage.add(usage);
        }
    }
}

/// Removes expired records, in small steps.
async fn sweep(gate: Arc<Gate>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        loop {
            let expired_before = gate.clock.now().saturating_sub(SWEEP_MARGIN).unwrap_or_default();
            match gate.records.store().sweep(expired_before, SWEEP_STEP).await {
                Ok(0) => break,
                Ok(swept) => {
                    gate.metrics.store_swept.inc_by(u64::from(swept));
                }
                Err(error) => {
                    gate.metrics.store_failures.inc();
                    tracing::warn!(%error, "the store cannot be swept");
                    break;
                }
            }
            tokio::time::sleep(SWEEP_PAUSE).await;
        }
    }
}
