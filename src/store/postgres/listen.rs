//! Being told of deletions: a session of its own that waits for notifications, and is asked every
//! second whether it is still alive. A notification is only a wake-up; the feed is the truth.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::connect::Connector;
use super::fault::Fault;
use super::statements::LISTEN;

/// How often the session is asked whether its peer is there.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Pause before the next try to listen; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Where wake-ups arrive.
#[derive(Debug, Default)]
pub(super) struct Wakeups {
    pub(super) arrived: Notify,
    pub(super) listening: AtomicBool,
}

/// Listens for as long as the store lives, through however many sessions that takes.
pub(super) async fn listen(connector: Connector, patience: Duration, wakeups: Arc<Wakeups>) {
    let mut pause = RETRY_MIN;
    loop {
        let outcome = listen_once(&connector, patience, &wakeups).await;
        if wakeups.listening.swap(false, Ordering::Relaxed) {
            pause = RETRY_MIN;
            tracing::warn!(error = %outcome, "no longer told of deletions: the feed is polled");
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(RETRY_MAX);
    }
}

/// Listens over one session until it fails.
async fn listen_once(connector: &Connector, patience: Duration, wakeups: &Arc<Wakeups>) -> Fault {
    let (client, connection) = match connector.connect().await {
        Ok(connected) => connected,
        Err(fault) => return fault,
    };
    let told = Arc::clone(wakeups);
    let driving = tokio::spawn(connection.drive(move || told.arrived.notify_one()));
    let listening = async {
        bounded(patience, client.batch_execute(LISTEN)).await?;
        wakeups.listening.store(true, Ordering::Relaxed);
        // Whatever was deleted while nobody listened.
        wakeups.arrived.notify_one();
        loop {
            tokio::time::sleep(PROBE_INTERVAL).await;
            bounded(patience, client.batch_execute("")).await?;
        }
    };
    let outcome: Result<(), Fault> = listening.await;
    driving.abort();
    outcome.err().unwrap_or(Fault::Stopped)
}

async fn bounded(
    patience: Duration,
    asked: impl Future<Output = Result<(), tokio_postgres::Error>>,
) -> Result<(), Fault> {
    match tokio::time::timeout(patience, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Fault::Late),
    }
}
