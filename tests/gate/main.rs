//! The real program, end to end: what callers see, and what the upstream receives.
//!
//! One file a subject; a test's name is a claim that could be false.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says why"
)]

#[expect(dead_code, unused_imports, reason = "shared with the other suites, which use the rest")]
#[path = "../harness/mod.rs"]
mod harness;

mod audit_log;
mod bodies;
mod client_address;
mod console;
mod cors;
mod decision_peers;
mod decision_streams;
mod decisions;
mod demo;
mod envoy;
mod expiry;
mod explained;
mod forwarding;
mod handover;
mod hostname;
mod limits;
mod load;
mod openapi;
mod operations;
mod owners;
mod redaction;
mod reload;
mod replies;
mod shadow;
mod store_faults;
mod streams;
mod token_create;
mod token_delete;
mod token_limits;
mod token_list;
mod token_usage;
mod traces;
mod upstream_faults;
mod verdicts;
