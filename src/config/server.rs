use std::thread;
use std::time::Duration;

use tracing::Level;

use super::reader::Section;
use super::{hours, seconds};

/// How the process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Threads that serve requests. Default: one for each core.
    pub workers: usize,
    /// How long open requests may go on after a signal to stop. Default 30 s.
    pub drain_timeout: Duration,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How events are written. Default JSON.
    pub format: LogFormat,
    /// The least severe level that is written. Default info.
    pub level: Level,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Server {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers: section.integer("workers", cores, 1..=1024),
            drain_timeout: section.duration("drain_timeout", seconds(30), seconds(0)..=hours(1)),
        }
    }
}

impl Log {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
        let levels = [
            ("error", Level::ERROR),
            ("warn", Level::WARN),
            ("info", Level::INFO),
            ("debug", Level::DEBUG),
            ("trace", Level::TRACE),
        ];
        Self {
            format: section.word("format", LogFormat::Json, &formats),
            level: section.word("level", Level::INFO, &levels),
        }
    }
}
