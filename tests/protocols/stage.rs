//! A gate within TLS, an upstream, and a token.

use super::harness::{A, Gate, Pki, Recorder, mint};

pub(crate) struct Stage {
    pub(crate) recorder: Recorder,
    pub(crate) gate: Gate,
    pub(crate) pki: Pki,
    pub(crate) token: String,
}

impl Stage {
    pub(crate) fn set() -> Self {
        let (recorder, pki) = (Recorder::start(), Pki::new());
        let gate = Gate::start_tls(&recorder, &pki, &[]);
        let token = mint(&gate, A, &["read_messages", "write_messages"]);
        Self { recorder, gate, pki, token }
    }
}
