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
}

impl Listen {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listen = Self {
            public: section.parsed("public", address).unwrap_or_else(|| loopback(8284)),
            admin: section.parsed("admin", address).unwrap_or_else(|| loopback(8285)),
            control: section.parsed("control", address),
        };
        let taken = |one: SocketAddr, other: SocketAddr| one == other && one.port() != 0;
        let mut report = |one, other| {
            let message = format!("`listen.{one}` and `listen.{other}` are the same address");
            section.context.problem(Place::Whole, message);
        };
        if taken(listen.public, listen.admin) {
            report("public", "admin");
        }
        if listen.control.is_some_and(|control| taken(control, listen.public)) {
            report("control", "public");
        }
        if listen.control.is_some_and(|control| taken(control, listen.admin)) {
            report("control", "admin");
        }
        listen
    }

    /// The addresses that are set.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        [Some(self.public), Some(self.admin), self.control].into_iter().flatten()
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let text = quoted(text);
        format!("must be an IP address and port such as `127.0.0.1:8284`, not {text}")
    })
}
