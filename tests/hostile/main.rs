//! Hostile traffic against the real program: nothing ambiguous gets in, nothing ambiguous goes out.
//!
//! One file a class of attacks, byte-exact. A test's doc comment names the rows of the catalogue
//! (`catalogue.txt`) that it covers; `catalogue.rs` keeps that honest.
#![cfg(test)]
#![expect(clippy::string_slice, reason = "what is cut is ASCII")]

#[expect(dead_code, unused_imports, reason = "shared with the other suites, which use the rest")]
#[path = "../harness/mod.rs"]
mod harness;

mod beyond;
mod catalogue;
mod cors;
mod floods;
mod framing;
mod headers;
mod host;
mod leakage;
mod outbound;
mod path;
mod process;
mod resources;
mod routes;
mod soak;
mod stage;
mod timing;
mod token_api;
mod tokens;
mod upgrade;
mod upstream;
