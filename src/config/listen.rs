use std::net::{Ipv4Addr, SocketAddr};

use super::problem::{Place, quoted};
use super::reader::Section;

/// Where the gate answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The data path, and the token API unless `control` is set. Default `127.0.0.1:8284`.
    pub public: SocketAddr,
    /// Health, metrics and console; never reachable through `public`. Default `127.0.0.1:8285`.
    pub admin: SocketAddr,
    /// If set, the token API answers here only. Default: not set.
    pub control: Option<SocketAddr>,
    /// If set, the decision API answers here, over HTTP/1.1. Default: not set.
    pub decision: Option<SocketAddr>,
    /// If set, the decision API answers here, over gRPC. Default: not set.
    pub decision_grpc: Option<SocketAddr>,
}

impl Listen {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listen = Self {
            public: section.parsed("public", address).unwrap_or_else(|| loopback(8284)),
            admin: section.parsed("admin", address).unwrap_or_else(|| loopback(8285)),
            control: section.parsed("control", address),
            decision: section.parsed("decision", address),
            decision_grpc: section.parsed("decision_grpc", address),
        };
        let named = listen.named();
        for (at, (one, address)) in named.iter().enumerate() {
            for (other, _) in named.iter().skip(at + 1).filter(|(_, other)| other == address) {
                if address.port() != 0 {
                    let message =
                        format!("`listen.{one}` and `listen.{other}` are the same address");
                    section.context.problem(Place::Whole, message);
                }
            }
        }
        listen
    }

    /// The addresses that are set.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.named().into_iter().map(|(_, address)| address)
    }

    fn named(&self) -> Vec<(&'static str, SocketAddr)> {
        let set = [
            ("decision_grpc", self.decision_grpc),
            ("decision", self.decision),
            ("control", self.control),
            ("public", Some(self.public)),
            ("admin", Some(self.admin)),
        ];
        set.into_iter().filter_map(|(name, address)| Some((name, address?))).collect()
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let text = quoted(text);
        format!("must be an IP address and port such as `127.0.0.1:8284`, not {text}")
    })
}
