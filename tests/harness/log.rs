//! The lines a program has written so far.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::Value;

use super::DEADLINE;

/// Clones share the lines.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    open_pipes: usize,
}

impl Log {
    /// Collects everything that comes out of `pipe`.
    pub(crate) fn follow(&self, pipe: impl Read + Send + 'static) {
        self.0.0.lock().unwrap().open_pipes += 1;
        let log = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                log.change(|lines| lines.lines.push(line));
            }
            log.change(|lines| lines.open_pipes -= 1);
        });
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.0.lock().unwrap().lines.clone()
    }

    /// Waits for the first line for which `wanted` has an answer; `None` when all pipes have ended
    /// without it.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, claim: &str, wanted: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (lines, changed) = &*self.0;
        let found = |lines: &Lines| lines.lines.iter().find_map(|line| wanted(line));
        let (lines, timeout) = changed
            .wait_timeout_while(lines.lock().unwrap(), DEADLINE, |lines| {
                lines.open_pipes > 0 && found(lines).is_none()
            })
            .unwrap();
        assert!(!timeout.timed_out(), "no line says {claim}:\n{}", lines.lines.join("\n"));
        found(&lines)
    }

    /// Waits until everything has been read that was ever written; the program has ended by then.
    pub(crate) fn wait_for_end(&self) {
        let (lines, changed) = &*self.0;
        let guard = lines.lock().unwrap();
        let (lines, timeout) =
            changed.wait_timeout_while(guard, DEADLINE, |lines| lines.open_pipes > 0).unwrap();
        drop(lines);
        assert!(!timeout.timed_out(), "the program's output does not end");
    }

    fn change(&self, change: impl FnOnce(&mut Lines)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }
}

/// A field of a JSON event, at its top or among its fields.
pub(crate) fn field(line: &str, name: &str) -> Option<Value> {
    let event: Value = serde_json::from_str(line).ok()?;
    event.get(name).or_else(|| event.get("fields")?.get(name)).cloned()
}
