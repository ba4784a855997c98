//! ckgate: client-side access tokens for any self-hosted Letta agents API.
//!
//! A reverse proxy that issues `ck-let-` tokens bound to one end user's agents, permissions,
//! hostname and expiry, and decides on every request made with one. The map of the code is
//! `src/ARCHITECTURE.md`.

pub mod activity;
pub mod answer;
pub mod app;
pub mod audit;
pub mod audit_log;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod decision_api;
pub mod demo;
pub mod docs;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod json;
pub mod message;
pub mod policy;
pub mod proxy;
mod scan;
pub mod server;
mod socket;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod token_api;
pub mod upstream;
