//! Taking up changed files while the gate runs: on SIGHUP, and by looking at them every second.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::fixed::Fixed;
use super::logging::LogGuard;
use super::running::Running;
use crate::config::{Config, Problems};

/// How often files are looked at. A changed one is read only when it has stayed the same for so long:
/// whoever writes it may not be done.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// Reads the configuration again, from wherever it came.
pub type Load = Box<dyn Fn() -> Result<Config, Problems> + Send>;

/// The files of a running gate's configuration.
pub(super) struct Files {
    load: Load,
    paths: Vec<PathBuf>,
    /// What the gate was started with, and keeps.
    fixed: Fixed,
    /// As they were when they were last read.
    read: Vec<Option<Version>>,
    /// As they were when they were last looked at.
    seen: Vec<Option<Version>>,
}

/// What tells one content of a file from another, without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Files {
    /// The files behind a configuration that `load` would give again.
    pub(super) fn of(config: &Config, load: Load) -> Self {
        let (paths, fixed) = (config.files.clone(), Fixed::of(config));
        let mut files = Self { load, paths, fixed, read: Vec::new(), seen: Vec::new() };
        files.read = files.versions();
        files.seen.clone_from(&files.read);
        files
    }

    /// Whether a file has changed, and has stayed so since it was last looked at.
    pub(super) fn have_changed(&mut self) -> bool {
        let now = self.versions();
        let settled = now == self.seen;
        self.seen = now;
        settled && self.seen != self.read
    }

    /// Reads everything again and lets the gate go on with it. What cannot be used changes nothing.
    pub(super) fn reload(&mut self, running: &Running, log: &LogGuard) {
        self.read = self.versions();
        self.seen.clone_from(&self.read);
        let metrics = running.metrics();
        let mut config = match (self.load)() {
            Ok(config) => config,
            Err(problems) => {
                metrics.reload_failures.inc();
                for problem in problems.lines() {
                    tracing::error!(problem, "the configuration cannot be used: the old one holds");
                }
                // What is mended next may be a secret that it names for the first time.
                return problems.secret_files().iter().for_each(|path| self.watch_also(path));
            }
        };
        let changed = self.fixed.changed_in(&config);
        self.fixed.keep_in(&mut config);
        let (levels, paths) = (config.log.clone(), config.files.clone());
        // Also if they cannot be used: what is mended next may be one of those named just now.
        self.watch(paths);
        match running.reload(config) {
            Ok(()) => {
                log.set_levels(&levels);
                for key in changed {
                    tracing::warn!(key, "a key that was changed holds from the next start on");
                }
                metrics.reloads.inc();
                tracing::info!("the configuration was read again and holds from now on");
            }
            Err(error) => {
                metrics.reload_failures.inc();
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the configuration cannot be used: the old one holds");
            }
        }
    }

    /// Looks at these from now on.
    fn watch(&mut self, paths: Vec<PathBuf>) {
        if self.paths != paths {
            self.paths = paths;
            self.read = self.versions();
            self.seen.clone_from(&self.read);
        }
    }

    /// Looks at this one as well from now on, as if nothing of it had been read: it may have been mended
    /// since, and once too often does no harm.
    fn watch_also(&mut self, path: &PathBuf) {
        if !self.paths.contains(path) {
            self.paths.push(path.clone());
            self.read.push(None);
            self.seen.push(None);
        }
    }

    fn versions(&self) -> Vec<Option<Version>> {
        let version = |path: &PathBuf| {
            let found = fs::metadata(path).ok()?;
            Some(Version {
                device: found.dev(),
                inode: found.ino(),
                bytes: found.len(),
                modified: found.modified().ok(),
            })
        };
        self.paths.iter().map(version).collect()
    }
}
