use std::time::Duration;

use super::head::HeadLimits;

/// Limits of one HTTP/1.1 connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// How large a head may be.
    pub head: HeadLimits,
    /// How long a head may take: the first from accepting, the others from their first byte.
    pub header_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub keep_alive_timeout: Duration,
    /// How long a client may take none of an answer that is ready for it.
    pub write_stall_timeout: Duration,
}
