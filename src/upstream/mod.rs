//! The one client that speaks to the agents API.
//!
//! Owns connections to it, one pool a core, and every deadline on them. Leaves what to send to
//! `proxy`. Must always hold: a connection is used again only after an exchange that was complete
//! and regular on both sides, and nothing that may have reached the upstream is sent twice.

mod client;
mod error;
mod request_body;
mod response_body;

pub use client::Client;
pub use error::{Failure, UpstreamError};
pub use request_body::{BodyError, RequestBody};
pub use response_body::{IdleTimeout, ResponseBody};
