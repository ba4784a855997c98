use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::http_target::HttpTarget;
use super::listen::Listen;
use super::problem::{Place, quoted};
use super::reader::Section;
use super::secret;
use super::{Table, Value, hours, millis, seconds};
use crate::tls::PairFiles;
use crate::token::Secret;

/// The variable that holds the upstream's credential when the file does not name another.
const CREDENTIAL_VARIABLE: &str = "LETTA_SERVER_PASSWORD";

/// Where Letta listens unless told otherwise.
const URL_DEFAULT: &str = "http://127.0.0.1:8283";

/// The agents API behind the gate, and how long to wait for it.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// `host:port` exactly as it is sent in `Host`; the scheme's own port is left out. From `url`, default
    /// `http://127.0.0.1:8283`.
    pub authority: String,
    /// The host to connect to: a name or an address, without brackets.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// How it is spoken to within TLS. `None` for an `http` URL.
    pub tls: Option<UpstreamTls>,
    /// Sent as a bearer token in the place of the caller's. Default: the variable
    /// `LETTA_SERVER_PASSWORD` if it is set, else none is sent.
    pub credential: Option<Secret>,
    /// Longest time to connect. Default 2 s.
    pub connect_timeout: Duration,
    /// Longest time from the request to the head of the answer: models think. Default 300 s.
    pub first_byte_timeout: Duration,
    /// Longest pause between two chunks of an answer, or in taking a request. Default 120 s.
    pub idle_timeout: Duration,
    /// How long an unused connection is kept; below the 5 s after which the upstream closes it.
    /// Default 4 s.
    pub keep_alive: Duration,
    /// Unused connections kept for each worker: never more than were used at once a moment ago. Default
    /// 1,024.
    pub idle_connections_max: usize,
}

/// How an upstream is verified, and what it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The authorities that must have signed its certificate. From `ca`, default: those that the web
    /// trusts.
    pub authorities: Option<PathBuf>,
    /// What it is shown when it asks for a certificate. Default: nothing.
    pub own: Option<PairFiles>,
}

impl Upstream {
    pub(super) fn read(section: &mut Section<'_>, listen: &Listen) -> Self {
        let url = section.text("url").unwrap_or_else(|| (URL_DEFAULT.to_owned(), Place::Whole));
        let target = target(&url.0, listen).unwrap_or_else(|error| {
            section.context.problem(url.1, format!("`upstream.url` {error}"));
            HttpTarget::at(Ipv4Addr::LOCALHOST, 8283)
        });
        let tls = tls(section, target.is_tls);
        let HttpTarget { authority, host, port, .. } = target;
        Self {
            authority,
            host,
            port,
            tls,
            credential: credential(section, true),
            connect_timeout: section.duration(
                "connect_timeout",
                seconds(2),
                millis(10)..=seconds(60),
            ),
            first_byte_timeout: section.duration(
                "first_byte_timeout",
                seconds(300),
                seconds(1)..=hours(24),
            ),
            idle_timeout: section.duration("idle_timeout", seconds(120), seconds(1)..=hours(24)),
            keep_alive: section.duration("keep_alive", seconds(4), millis(0)..=millis(4999)),
            idle_connections_max: section.integer("idle_connections_max", 1024, 0..=10_000),
        }
    }
}

fn tls(section: &mut Section<'_>, is_tls: bool) -> Option<UpstreamTls> {
    let tls = UpstreamTls { authorities: section.file("ca"), own: section.pair() };
    if is_tls {
        return Some(tls);
    }
    if tls.authorities.is_some() || tls.own.is_some() {
        let message = "`upstream.ca`, `upstream.certificate` and `upstream.key` need an \
                       `upstream.url` that starts with `https://`";
        section.context.problem(Place::Whole, message);
    }
    None
}

/// Whether an address may never be an upstream: link-local ones and the fixed addresses at which
/// clouds serve their machines' credentials. To be asked again once a name has been resolved.
#[must_use]
pub fn is_metadata_address(address: IpAddr) -> bool {
    const CLOUD_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == CLOUD_V6,
    }
}

/// The secret under `credential`, fit for an `Authorization` header.
pub(super) fn credential(section: &mut Section<'_>, or_default: bool) -> Option<Secret> {
    let path = section.path("credential");
    let node = match section.take("credential") {
        Some(node) => node,
        None if or_default && section.context.environment.contains_key(CREDENTIAL_VARIABLE) => {
            let name = Value::Text(CREDENTIAL_VARIABLE.to_owned());
            let place = Place::Variable(CREDENTIAL_VARIABLE.to_owned());
            let table = Table::from([("env".to_owned(), name.at(place.clone()))]);
            Value::Table(table).at(place)
        }
        None => return None,
    };
    let place = node.place.clone();
    let secret = secret::read(section.context, &path, node)?;
    if secret.expose().bytes().all(|b| b.is_ascii_graphic()) {
        return Some(secret);
    }
    let message = format!("`{path}` has characters that a header cannot carry as they are");
    section.context.problem(place, message);
    None
}

/// Reads `url`, and refuses what would lead to a machine's metadata or back to this gate.
fn target(text: &str, listen: &Listen) -> Result<HttpTarget, String> {
    let target = HttpTarget::parse(text)?;
    if target.address.is_some_and(is_metadata_address) {
        let text = quoted(text);
        return Err(format!("must not be a link-local or metadata address, which {text} is"));
    }
    let is_own = |own: SocketAddr| {
        let reaches = |address: IpAddr| {
            address == own.ip() || own.ip().is_unspecified() && address.is_loopback()
        };
        target.port == own.port() && target.address.is_some_and(reaches)
    };
    if listen.addresses().any(is_own) {
        return Err(format!("is this gate itself: it listens at {}", quoted(text)));
    }
    Ok(target)
}
