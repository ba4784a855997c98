use std::net::{IpAddr, Ipv4Addr};

use url::{Host, Url};

use super::problem::quoted;

/// What an `http://` or `https://` URL of a host and a port comes down to.
pub(crate) struct HttpTarget {
    /// Whether it is `https`.
    pub(crate) is_tls: bool,
    /// `host:port` as it is sent in `Host`; the scheme's own port is left out.
    pub(crate) authority: String,
    /// The host to connect to, without brackets.
    pub(crate) host: String,
    /// The port to connect to.
    pub(crate) port: u16,
    /// The host, if it is an address and no name.
    pub(crate) address: Option<IpAddr>,
}

impl HttpTarget {
    /// Parses a URL. Its error ends the sentence "the URL …" and never shows a password.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (is_tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err("must start with `http://` or `https://`".to_owned()),
        };
        if rest.contains('@') {
            // Not shown: what stands before the @ may be a password.
            return Err("must not hold a user or password".to_owned());
        }
        let malformed =
            || format!("must be a URL such as `http://127.0.0.1:8283`, not {}", quoted(text));
        let unfit = |b: u8| b.is_ascii_whitespace() || b.is_ascii_control() || b == b'\\';
        // The parser would mend these silently.
        if rest.starts_with('/') || rest.bytes().any(unfit) {
            return Err(malformed());
        }
        let url = Url::parse(text).map_err(|_| malformed())?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            let text = quoted(text);
            return Err(format!("must be a host and port without path or query, not {text}"));
        }
        let host = url.host().ok_or_else(malformed)?;
        let address = match host {
            Host::Domain(_) => None,
            Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
            Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        Ok(Self {
            is_tls,
            authority,
            host: address.map_or_else(|| host.to_string(), |address| address.to_string()),
            port: url.port_or_known_default().ok_or_else(malformed)?,
            address,
        })
    }

    /// This address and port.
    pub(crate) fn at(address: Ipv4Addr, port: u16) -> Self {
        Self {
            is_tls: false,
            authority: format!("{address}:{port}"),
            host: address.to_string(),
            port,
            address: Some(address.into()),
        }
    }
}
