//! Where events go: one line each to standard output, written by a thread of its own.
//!
//! A line is put together on the core that has something to say, which hands over what it has whenever it
//! rests; the writer takes what has been handed over when it is worth a write, or after twenty milliseconds. A
//! reader that does not keep up costs lines, never requests: beyond the limit lines are dropped and counted.

mod line;

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::traces::Spans;
use crate::audit::{self, Finished, RequestLog};
use crate::audit_log::AuditLog;
use crate::clock::{Clock, SystemClock};
use crate::config::{Log, LogFormat};

use self::line::Line;

/// Bytes that wait to be written; lines beyond are dropped.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// How long the writer lets lines gather, at most.
const GATHERING: Duration = Duration::from_millis(20);
/// Bytes that are not left to gather more: they, and the buffer that is filled meanwhile, stay in a core's cache.
const GATHERED_BYTES: usize = 128 << 10;
/// A core that does not rest hands over its lines when they are this long.
const CORE_BYTES_MAX: usize = 16 << 10;

/// Writes this crate's events. Those of the libraries stay out: at their finest levels they write
/// request heads.
#[derive(Clone)]
struct Lines {
    levels: Arc<Levels>,
    format: LogFormat,
    clock: Arc<SystemClock>,
    waiting: Arc<Waiting>,
    audit: Option<AuditLog>,
    spans: Option<Spans>,
}

/// Up to which level events are written; changed while the gate runs.
///
/// Levels are numbers here, which grow with them.
#[derive(Default)]
struct Levels {
    /// Of modules that have none of their own.
    usual: AtomicUsize,
    /// The highest of all.
    most: AtomicUsize,
    /// By module, with the path that its events' targets begin with.
    layers: RwLock<Vec<(String, usize)>>,
}

impl Levels {
    fn set(&self, log: &Log) {
        let layers: Vec<_> = log
            .layers
            .iter()
            .map(|(layer, level)| (format!("ckgate::{layer}"), rank(*level)))
            .collect();
        let most = layers.iter().map(|(_, level)| *level).max().unwrap_or(0);
        *self.layers.write().unwrap_or_else(PoisonError::into_inner) = layers;
        self.usual.store(rank(log.level), Ordering::Relaxed);
        self.most.store(most.max(rank(log.level)), Ordering::Relaxed);
    }

    fn admit(&self, metadata: &Metadata<'_>) -> bool {
        let level = rank(*metadata.level());
        if level > self.most.load(Ordering::Relaxed) {
            return false;
        }
        let usual = self.usual.load(Ordering::Relaxed);
        if !metadata.target().contains("::") {
            return level <= usual;
        }
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let own = layers.iter().find(|(path, _)| metadata.target().starts_with(path));
        level <= own.map_or(usual, |(_, level)| *level)
    }
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
    /// Whether the writer looks by itself within [`GATHERING`], or when there is enough.
    is_watched: bool,
    /// Whether the writer is between taking a buffer and having written it.
    writing: bool,
}

/// Ends the log: dropping it waits until every line so far has been written.
pub(super) struct LogGuard {
    waiting: Arc<Waiting>,
    levels: Arc<Levels>,
    audit: Option<AuditLog>,
}

/// Writes this crate's events from now on, until the process ends.
///
/// The audit log and the traces are made out of the same events.
pub(super) fn init(log: &Log, audit: Option<AuditLog>, spans: Option<Spans>) -> LogGuard {
    let waiting = Arc::new(Waiting::default());
    let levels = Arc::new(Levels::default());
    levels.set(log);
    let lines = Lines {
        levels: Arc::clone(&levels),
        format: log.format,
        clock: Arc::default(),
        waiting: Arc::clone(&waiting),
        audit: audit.clone(),
        spans,
    };
    let (writer, format) = (Arc::clone(&waiting), log.format);
    let thread = std::thread::Builder::new().name("ckgate-log".to_owned());
    let spawned = thread.spawn(move || writer.write_on(format));
    // Without a writer there is nobody to log to; a subscriber that is there already, in tests,
    // stays.
    if spawned.is_ok() {
        audit::log_requests_to(Box::new(lines.clone()));
        let events = tracing_subscriber::registry().with(lines);
        let _ = tracing::subscriber::set_global_default(events);
    }
    LogGuard { waiting, levels, audit }
}

impl LogGuard {
    /// Writes events up to other levels from now on.
    pub(super) fn set_levels(&self, log: &Log) {
        self.levels.set(log);
    }
}

/// A level as a number that grows with it.
const fn rank(level: Level) -> usize {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, lines: &[u8], count: u64) {
        let mut buffer = self.lock();
        if buffer.bytes.len() + lines.len() > WAITING_BYTES_MAX {
            buffer.dropped += count;
            return;
        }
        let before = buffer.bytes.len();
        buffer.bytes.extend_from_slice(lines);
        let (after, is_watched) = (buffer.bytes.len(), buffer.is_watched);
        drop(buffer);
        if (before == 0 && !is_watched) || (before < GATHERED_BYTES && after >= GATHERED_BYTES) {
            self.more.notify_all();
        }
    }

    /// The writer: takes what has gathered and writes it, for ever.
    fn write_on(&self, format: LogFormat) {
        let mut taken = Vec::new();
        loop {
            let mut buffer = self.lock();
            // After a while in which nobody has said anything, whoever does has to wake it.
            if !buffer.is_watched {
                let begun = self.more.wait_while(buffer, |buffer| buffer.bytes.is_empty());
                buffer = begun.unwrap_or_else(PoisonError::into_inner);
                buffer.is_watched = true;
            }
            let is_little = |buffer: &mut Buffer| buffer.bytes.len() < GATHERED_BYTES;
            let gathered = self.more.wait_timeout_while(buffer, GATHERING, is_little);
            let (mut buffer, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            if buffer.bytes.is_empty() {
                buffer.is_watched = false;
                continue;
            }
            std::mem::swap(&mut buffer.bytes, &mut taken);
            let dropped = std::mem::take(&mut buffer.dropped);
            buffer.writing = true;
            drop(buffer);
            if dropped > 0 {
                let said = format!("{dropped} lines dropped");
                let told = match format {
                    LogFormat::Json => format!("{{\"level\":\"WARN\",\"message\":\"{said}\"}}\n"),
                    LogFormat::Text => format!("WARN message=\"{said}\"\n"),
                };
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
        if let Some(audit) = &self.audit {
            audit.flush();
        }
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

/// The events of tokens.
const TOKEN: &str = "ckgate::token";

impl Lines {
    /// Whether the audit log may want an event, whatever is logged.
    fn is_wanted_otherwise(&self, metadata: &Metadata<'_>) -> bool {
        self.audit.is_some() && metadata.target() == TOKEN
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("ckgate")
}

/// What one thread has to say.
#[derive(Default)]
struct Said {
    lines: Line,
    count: u64,
    /// Where it goes.
    waiting: Option<Arc<Waiting>>,
    /// Whether the thread says when it rests.
    rests: bool,
}

impl Said {
    fn hand_over(&mut self) {
        if let Some(waiting) = self.waiting.as_ref().filter(|_| self.count > 0) {
            waiting.push(self.lines.bytes(), std::mem::take(&mut self.count));
            self.lines.clear(CORE_BYTES_MAX);
        }
    }
}

thread_local! {
    static SAID: RefCell<Said> = RefCell::default();
}

/// Of a thread that calls [`hand_over`] whenever it rests, and before it ends: until it drops, the
/// thread's lines are handed over together.
pub(super) struct Together(());

impl Together {
    pub(super) fn begin() -> Self {
        SAID.with_borrow_mut(|said| said.rests = true);
        Self(())
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        SAID.with_borrow_mut(|said| said.rests = false);
        hand_over();
    }
}

/// Hands over what this thread has said to the writer.
pub(super) fn hand_over() {
    SAID.with(|said| said.try_borrow_mut().map(|mut said| said.hand_over())).ok();
}

impl<S: Subscriber> Layer<S> for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Levels change: what is not written now may be later.
        if is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_ours(metadata) && (self.levels.admit(metadata) || self.is_wanted_otherwise(metadata))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let now: Timestamp = self.clock.now();
        if self.levels.admit(event.metadata()) {
            self.say(|line| line.write(now, event, self.format));
        }
        if let (Some(audit), TOKEN) = (&self.audit, event.metadata().target()) {
            Self::append(audit, |line| line.write(now, event, LogFormat::Json));
        }
    }
}

impl RequestLog for Lines {
    fn write(&self, event: &Finished<'_>) {
        let now = event.ended_at();
        if let Some(spans) = &self.spans {
            spans.take(event, now);
        }
        if rank(Level::INFO) <= self.levels.usual.load(Ordering::Relaxed) {
            self.say(|line| line.write_request(now, event, self.format));
        }
        if let Some(audit) = self.audit.as_ref().filter(|_| event.is_of_a_refusal()) {
            Self::append(audit, |line| line.write_request(now, event, LogFormat::Json));
        }
    }
}

impl Lines {
    /// Writes a line behind what this thread has said.
    fn say(&self, write: impl FnOnce(&mut Line)) {
        SAID.with(|said| {
            // An event within an event, from a field's own printing, would find the line taken.
            let Ok(mut said) = said.try_borrow_mut() else { return };
            write(&mut said.lines);
            said.count += 1;
            said.waiting.get_or_insert_with(|| Arc::clone(&self.waiting));
            if !said.rests || said.lines.bytes().len() >= CORE_BYTES_MAX {
                said.hand_over();
            }
        });
    }

    /// Writes a line to the audit log.
    fn append(audit: &AuditLog, write: impl FnOnce(&mut Line)) {
        SAID.with(|said| {
            let Ok(mut said) = said.try_borrow_mut() else { return };
            let begin = said.lines.bytes().len();
            write(&mut said.lines);
            let line = said.lines.bytes().get(begin..).unwrap_or_default();
            audit.append(std::str::from_utf8(line).unwrap_or_default());
            said.lines.truncate(begin);
        });
    }
}
