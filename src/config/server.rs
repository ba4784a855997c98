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
    /// In the place of it, for single modules of the program. From `log.layers`, default none.
    pub layers: Vec<(&'static str, Level)>,
}

/// The modules that `log.layers` may name.
const LAYERS: [&str; 8] =
    ["app", "cache", "decision_api", "proxy", "server", "store", "token_api", "upstream"];
const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

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
        Self {
            format: section.word("format", LogFormat::Json, &formats),
            level: section.word("level", Level::INFO, &LEVELS),
            layers: section.section("layers", |layers| {
                let named =
                    LAYERS.into_iter().filter(|layer| layers.has(layer)).collect::<Vec<_>>();
                for layer in LAYERS.into_iter().filter(|layer| !named.contains(layer)) {
                    layers.take(layer);
                }
                let level = |layer| (layer, layers.word(layer, Level::INFO, &LEVELS));
                named.into_iter().map(level).collect()
            }),
        }
    }
}
