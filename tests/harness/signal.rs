//! A flag that one side raises and the other waits for.

use std::sync::{Arc, Condvar, Mutex};

use super::DEADLINE;

/// Clones share the flag.
#[derive(Clone, Default)]
pub(crate) struct Signal(Arc<(Mutex<bool>, Condvar)>);

impl Signal {
    /// Not raised yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Lets everybody go on who waits or will wait.
    pub(crate) fn raise(&self) {
        let (raised, changed) = &*self.0;
        *raised.lock().unwrap() = true;
        changed.notify_all();
    }

    /// Waits until it is raised. Whether it was, before the deadline.
    pub(crate) fn wait(&self) -> bool {
        let (raised, changed) = &*self.0;
        let guard = raised.lock().unwrap();
        let (guard, _) = changed.wait_timeout_while(guard, DEADLINE, |raised| !*raised).unwrap();
        *guard
    }
}
