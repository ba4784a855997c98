//! What the system knows of a running gate: its time on the processor, its memory, its descriptors.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::harness::Gate;

/// A running gate, seen from outside.
#[derive(Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn of(gate: &Gate) -> Self {
        Self(gate.process_id())
    }

    /// Time spent on the processor so far, of all its threads.
    pub(crate) fn cpu_time(self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        let after_name = text.rsplit_once(") ").unwrap().1;
        let fields: Vec<u64> = after_name.split(' ').filter_map(|f| f.parse().ok()).collect();
        // Fields 14 and 15 of proc(5), in hundredths of a second; the state is no number.
        Duration::from_millis(10 * (fields[10] + fields[11]))
    }

    /// Resident memory, in KiB.
    pub(crate) fn memory(self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Descriptors open now.
    pub(crate) fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().count()
    }

    /// Threads it has now.
    pub(crate) fn threads(self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.0)).unwrap().count()
    }

    /// Lets it open no more than so many descriptors from now on.
    pub(crate) fn limit_descriptors(self, max: usize) {
        let limit = format!("--nofile={max}:{max}");
        let status = Command::new("prlimit").args(["--pid", &self.0.to_string(), &limit]).status();
        assert!(status.unwrap().success(), "prlimit failed");
    }
}
