//! Sockets and HTTP connections: accepting, reading strictly, answering, draining.
//!
//! Owns what happens before a request is one and after an answer is one: limits on connections and
//! heads, framing in both directions. Leaves what a request means to `proxy` and `token_api`. Must
//! always hold: a request whose bytes could be read in two ways reaches nobody; it becomes a
//! stand-in that can only be refused, and nothing behind it is read.

mod body;
mod chunked;
mod connection;
mod head;
mod listener;
mod response;
mod settings;
mod wire;

#[cfg(test)]
mod tests;

pub use body::{BrokenBody, RequestBody};
pub use chunked::{ChunkedFraming, ChunkedRefusal};
pub use connection::{Incoming, Wanted, serve_connection};
pub use head::{Framing, HeadLimits, Malformed, RequestHead, read_head};
#[cfg(feature = "fuzzing")]
pub(crate) use head::{HeadEnd, end_of_head};
pub use listener::{Accepted, ConnectionCount, accept, bind, connections_within, descriptors_max};
pub use settings::ConnectionSettings;
pub use wire::Buffers;
