//! The chat of the demo: an application's page and the small backend behind it.
//!
//! Owns what a developer would copy: users log in, the backend makes each a token with the server
//! key, the page talks to the gate by itself. Leaves passwords out: this is a demo on loopback. Must
//! always hold: the server key stays here, a session's cookie is no one else's, and a request that
//! changes something comes from the page's own origin.

mod backend;
mod sessions;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::SignedDuration;

use super::api_client::ApiClient;
use super::loopback_server::LoopbackServer;
use crate::token::Secret;
use backend::Backend;

/// What the chat is started with.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) gate: SocketAddr,
    pub(super) server_key: Secret,
    /// Ann's and Ben's.
    pub(super) agents: [String; 2],
    pub(super) token_lifetime: SignedDuration,
}

/// A running chat; dropping it ends it.
#[derive(Debug)]
pub(super) struct ChatApp(LoopbackServer);

impl ChatApp {
    /// Serves the page and its backend on a thread of their own.
    pub(super) fn start(settings: Settings) -> io::Result<Self> {
        let Settings { listen, gate, server_key, agents, token_lifetime } = settings;
        let client = ApiClient::to_address(gate, server_key);
        let backend = Arc::new(Backend::new(client, gate, agents, token_lifetime));
        LoopbackServer::start("demo-chat", listen, move |request| {
            let backend = Arc::clone(&backend);
            async move { backend.answer(request).await }
        })
        .map(Self)
    }

    /// Where the page is, in the form that its origin has: a name, so that the same address by its
    /// number is another origin.
    pub(super) fn url(&self) -> String {
        backend::origin(self.0.address())
    }
}
