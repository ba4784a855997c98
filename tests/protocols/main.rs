//! TLS and HTTP/2 in front of the real program: the same verdicts as in the clear, and limits on what
//! a client can make of handshakes and frames.
#![cfg(test)]
#![expect(clippy::string_slice, reason = "what is cut is ASCII")]

#[expect(dead_code, unused_imports, reason = "shared with the other suites, which use the rest")]
#[path = "../harness/mod.rs"]
mod harness;
#[expect(dead_code, reason = "shared with the tables' own tests")]
#[path = "../support/judge.rs"]
mod judge;
#[path = "../support/requests.rs"]
mod requests;

mod certificates;
mod conformance;
mod frames;
mod heads;
mod parity;
mod stage;
mod streams;
mod upstream_tls;
