//! Many gates, one truth: a real PostgreSQL, started and broken by the tests themselves.
//!
//! Run by `tests/postgres/run`, which installs what is needed. Must always hold: every cluster ends
//! with the process, listens on loopback only, and lives in a folder of its own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says why"
)]

#[expect(dead_code, unused_imports, reason = "shared with the other suites, which use the rest")]
#[path = "../harness/mod.rs"]
mod harness;

mod cluster;
mod faults;
mod fleet;
mod keys;
mod limits;
mod migrate;
mod polling;
mod promise;
mod relay;
mod roles;
mod tls;
mod upstream;

mod policy {
    pub(crate) use ckgate::policy::*;
}

mod token {
    pub(crate) use ckgate::token::*;
}

/// The contract of every store, held against this engine.
mod store {
    pub(crate) use ckgate::store::*;

    mod contract;
    mod engine;
    mod late;
    mod plans;
    #[path = "../../../src/store/tests/mod.rs"]
    mod tests;
}
