//! The decision API: the gate's judgement for proxies that forward by themselves.
//!
//! Owns what each kind of proxy asks in and wants to be answered in: nginx `auth_request`, Traefik
//! `ForwardAuth`, Caddy `forward_auth`, `HAProxy`, Envoy `ext_authz` over HTTP and gRPC. Leaves the
//! judgement to `proxy`. Must always hold: only listed peers are answered, what a peer tells passes
//! the same strict reading as a caller's own bytes, and what cannot be judged without being
//! forwarded is refused.

mod envoy;
mod face;
mod grpc;
mod http;
mod question;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use ::http::HeaderName;

use crate::proxy::{AskingProxy, Connection, Core, Judgement, StreamsHere, judge};
use crate::server::HeadLimits;
use face::ENVOY_TIME;
use question::Question;

pub use self::grpc::serve as serve_grpc;
pub use self::http::serve as serve_http;

/// The decision API of one core.
pub struct DecisionApi {
    /// What judges.
    pub core: Rc<Core>,
    /// The addresses that may ask.
    pub peers: BTreeSet<IpAddr>,
    /// How large the head of a request may be that is asked about.
    pub head: HeadLimits,
    /// What becomes of operations whose answer may be a stream.
    pub streams: StreamsHere,
}

impl DecisionApi {
    /// Whether this address may ask. One that is written as IPv4 in IPv6 is the IPv4 one.
    #[must_use]
    pub fn admits(&self, peer: IpAddr) -> bool {
        self.peers.contains(&peer.to_canonical())
    }

    async fn judge(
        &self,
        connection: &Rc<Connection>,
        question: &Question,
        asking: AskingProxy,
    ) -> Judgement {
        let Question { head, well_formed, body, set_aside } = question;
        let judged = judge(&self.core, connection, *well_formed, head, body.clone(), asking).await;
        match judged {
            Judgement::Permit(mut permitted) => {
                // The time is one of Envoy's own headers: what it is set to must not be taken out.
                let is_set = |name: &&HeaderName| **name == ENVOY_TIME && permitted.time.is_some();
                let taken_out = set_aside.iter().filter(|name| !is_set(name));
                permitted.drop.extend(taken_out.cloned());
                Judgement::Permit(permitted)
            }
            answer @ Judgement::Answer(_) => answer,
        }
    }
}
