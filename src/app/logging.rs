//! Where events go: one line each to standard output.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Log, LogFormat};

/// Writes this crate's events from now on. Those of the libraries stay out: at their finest levels
/// they write request heads.
pub(super) fn init(log: &Log) {
    let level = LevelFilter::from_level(log.level);
    let own = tracing_subscriber::filter::Targets::new().with_target("ckgate", level);
    let registry = tracing_subscriber::registry().with(own);
    // A subscriber that is there already, in tests, stays.
    let _ = match log.format {
        LogFormat::Json => {
            registry.with(tracing_subscriber::fmt::layer().json().flatten_event(true)).try_init()
        }
        LogFormat::Text => {
            registry.with(tracing_subscriber::fmt::layer().with_ansi(false)).try_init()
        }
    };
}
