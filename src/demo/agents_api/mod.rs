//! A stand-in agents API: two agents that echo, over the core routes of Letta's HTTP interface.
//!
//! Owns the wire shapes that the SDKs parse and enough of the real server's habits to show what a
//! gate is for: agent states that carry secrets, streams, and a password. Leaves out every model.
//! Must always hold: everything it keeps or waits for has a limit, and a caller that goes away ends
//! its own stream.

mod agents;
mod routes;
mod script;
mod shapes;
mod stream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::loopback_server::LoopbackServer;
use crate::token::Secret;
pub(super) use agents::AGENT_IDS;
use agents::Agents;

/// A running stand-in; dropping it ends it with all its connections.
#[derive(Debug)]
pub(super) struct AgentsApi(LoopbackServer);

impl AgentsApi {
    /// Listens on a free port of the loopback interface, on a thread of its own, and answers only
    /// callers that bring `password`.
    pub(super) fn start(password: Secret) -> io::Result<Self> {
        let agents = Arc::new(Agents::new(password));
        let free_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let answer = move |request| routes::answer(request, Arc::clone(&agents));
        LoopbackServer::start("demo-agents-api", free_port, answer).map(Self)
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.0.address()
    }
}
