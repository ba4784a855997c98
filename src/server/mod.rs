//! Sockets and HTTP connections: accepting, reading strictly, draining.
//!
//! Owns what happens before a request is one: limits on connections and heads, and the strictness
//! hyper does not have. Leaves what a request means to `proxy` and `token_api`. Must always hold:
//! hyper sees only heads and framing that [`Guard`] has found unambiguous.

mod body;
mod chunked;
mod connection;
mod guard;
mod head;
mod listener;

#[cfg(test)]
mod tests;

pub use body::{BrokenBody, RequestBody};
pub use chunked::{ChunkedFraming, ChunkedRefusal};
pub use connection::{ConnectionSettings, Wanted, serve_connection};
pub use guard::{Guard, GuardSettings, Heads};
pub use head::{Framing, HeadLimits, Malformed, check_head};
#[cfg(feature = "fuzzing")]
pub(crate) use head::{HeadEnd, end_of_head};
pub use listener::{Accepted, ConnectionCount, accept, bind, connections_within, descriptors_max};
