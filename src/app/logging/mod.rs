//! Where events go: one line each to standard output, written by a thread of its own.
//!
//! A line is put together on the core that has something to say and appended to a buffer; the
//! writer takes the buffer every few milliseconds. A reader that does not keep up costs lines, never
//! requests: beyond the limit lines are dropped and counted.

mod line;

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use crate::audit::{self, Finished, RequestLog};
use crate::clock::{Clock, SystemClock};
use crate::config::{Log, LogFormat};

use self::line::Line;

/// Bytes that wait to be written; lines beyond are dropped.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// How long the writer lets lines gather.
const GATHERING: Duration = Duration::from_millis(5);
/// A core's line buffer above this is given back.
const LINE_BYTES_KEPT: usize = 4 << 10;

/// Writes this crate's events. Those of the libraries stay out: at their finest levels they write
/// request heads.
#[derive(Clone)]
struct Lines {
    level: Level,
    format: LogFormat,
    clock: Arc<SystemClock>,
    waiting: Arc<Waiting>,
}

/// Lines on their way to the writer.
#[derive(Default)]
struct Waiting {
    lines: Mutex<Buffer>,
    more: Condvar,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    dropped: u64,
    /// Whether the writer is between taking a buffer and having written it.
    writing: bool,
}

/// Ends the log: dropping it waits until every line so far has been written.
pub(super) struct LogGuard {
    waiting: Arc<Waiting>,
}

/// Writes this crate's events from now on, until the process ends.
pub(super) fn init(log: &Log) -> LogGuard {
    let waiting = Arc::new(Waiting::default());
    let lines = Lines {
        level: log.level,
        format: log.format,
        clock: Arc::default(),
        waiting: Arc::clone(&waiting),
    };
    let writer = Arc::clone(&waiting);
    let spawned =
        std::thread::Builder::new().name("ckgate-log".to_owned()).spawn(move || writer.write_on());
    // Without a writer there is nobody to log to; a subscriber that is there already, in tests,
    // stays.
    if spawned.is_ok() {
        audit::log_requests_to(Box::new(lines.clone()));
        let events = tracing_subscriber::registry().with(lines);
        let _ = tracing::subscriber::set_global_default(events);
    }
    LogGuard { waiting }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut buffer = self.lock();
        if buffer.bytes.len() + line.len() > WAITING_BYTES_MAX {
            buffer.dropped += 1;
            return;
        }
        let was_empty = buffer.bytes.is_empty();
        buffer.bytes.extend_from_slice(line);
        drop(buffer);
        if was_empty {
            self.more.notify_all();
        }
    }

    /// The writer: takes what has gathered and writes it, for ever.
    fn write_on(&self) {
        let mut taken = Vec::new();
        loop {
            let mut buffer = self.lock();
            while buffer.bytes.is_empty() {
                buffer = self.more.wait(buffer).unwrap_or_else(PoisonError::into_inner);
            }
            drop(buffer);
            std::thread::sleep(GATHERING);
            let mut buffer = self.lock();
            std::mem::swap(&mut buffer.bytes, &mut taken);
            let dropped = std::mem::take(&mut buffer.dropped);
            buffer.writing = true;
            drop(buffer);
            if dropped > 0 {
                let told =
                    format!("{{\"level\":\"WARN\",\"message\":\"{dropped} lines dropped\"}}\n");
                taken.extend_from_slice(told.as_bytes());
            }
            // A reader that has gone away is no reason to stop serving.
            let _ = std::io::stdout().lock().write_all(&taken);
            taken.clear();
            self.lock().writing = false;
            self.more.notify_all();
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let mut buffer = self.waiting.lock();
        while !buffer.bytes.is_empty() || buffer.writing {
            let waited = self.waiting.more.wait_timeout(buffer, Duration::from_secs(1));
            let (next, late) = waited.unwrap_or_else(PoisonError::into_inner);
            if late.timed_out() {
                return;
            }
            buffer = next;
        }
    }
}

thread_local! {
    static LINE: RefCell<Line> = RefCell::default();
}

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.level && metadata.target().starts_with("ckgate")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now: Timestamp = self.clock.now();
        self.write(|line| line.write(now, event, self.format));
    }
}

impl RequestLog for Lines {
    fn write(&self, event: &Finished<'_>) {
        if Level::INFO <= self.level {
            self.write(|line| line.write_request(self.clock.now(), event, self.format));
        }
    }
}

impl Lines {
    /// Puts a line together in the core's buffer, and hands it to the writer.
    fn write(&self, put_together: impl FnOnce(&mut Line)) {
        LINE.with(|line| {
            // An event within an event, from a field's own printing, would find the line taken.
            let Ok(mut line) = line.try_borrow_mut() else { return };
            put_together(&mut line);
            self.waiting.push(line.bytes());
            line.clear(LINE_BYTES_KEPT);
        });
    }
}
