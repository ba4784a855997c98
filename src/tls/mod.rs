//! Certificates and keys: what the gate shows of itself, and what it accepts as proof of another.
//!
//! Owns the files' reading and the TLS library's settings: versions 1.2 and 1.3, no early data, no
//! way to leave a certificate unverified. Leaves sockets to `server`, `upstream` and `store`. Must always
//! hold: a certificate and a key that do not belong together are refused when they are read.

mod files;
mod identity;
mod peer;

#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

pub use files::{PairFiles, TlsError};
pub use identity::{HTTP_2, HTTP_11, Identities, Identity};
pub use peer::{PeerTls, client_config};

/// One set of algorithms for all connections.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

/// Seeds the TLS library's random generator on this thread, which takes it a while: better now than
/// in the first handshake.
pub fn warm_up() {
    // If the system has no randomness, the handshake will say so.
    let _ = provider().secure_random.fill(&mut [0; 16]);
}
