//! Sockets, TLS and HTTP connections: accepting, reading strictly, answering, draining.
//!
//! Owns what happens before a request is one and after an answer is one: limits on handshakes,
//! connections and heads, framing in both directions. Leaves what a request means to `proxy` and
//! `token_api`. Must always hold: a request whose bytes could be read in two ways reaches nobody; it
//! becomes a stand-in that can only be refused, and nothing behind it is read. One of HTTP/2 is brought
//! into the shape of HTTP/1.1, and held to the same rules, before anybody judges it.

mod body;
mod chunked;
mod connection;
mod farewell;
mod frames;
mod head;
mod http2;
mod http2_head;
mod listener;
mod proxy_protocol;
mod response;
mod sending;
mod settings;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

pub use body::{BrokenBody, RequestBody};
pub use chunked::{ChunkedFraming, ChunkedRefusal};
pub use connection::{Incoming, Wanted, serve_connection};
pub use head::{Framing, HeadLimits, Malformed, RequestHead, read_head};
#[cfg(feature = "fuzzing")]
pub(crate) use head::{HeadEnd, end_of_head};
pub use http2::{Http2Core, Http2Settings, serve_http2};
pub use listener::{
    Accepted, ConnectionCount, accept, bind, connections_within, descriptors_max, listen,
};
pub use proxy_protocol::read_proxy_header;
pub use settings::ConnectionSettings;
pub use tls::{Handshakes, Protocol, Secured};
pub use wire::Buffers;
