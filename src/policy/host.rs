//! Hosts and origins: the one a token is bound to, and those a request shows.
//!
//! The bound one is normalised once, when the token is made, with the parser browsers use (WHATWG
//! URL). A request's are only checked for form and folded to lower case: browsers send serialised
//! values, and a spelling that is not the serialised one is a mismatch, never a guess.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use url::Host;

use super::host_name::HostName;
use crate::scan;

/// Longest host name (RFC 1035 §3.1), and so the longest that is looked at.
const HOST_LENGTH_MAX: usize = 253;
/// Longest hostname field looked at when a token is made.
pub const HOSTNAME_LENGTH_MAX: usize = 512;

/// The scheme of a web origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// The host a token is bound to, normalised: a web origin, or a bare host with or without port. Cheap
/// to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoundHost {
    /// The normalised form; the host stands in it behind the scheme.
    serialised: Arc<str>,
    host_length: u16,
    /// `None` for an origin: its default port; for a bare host: any port.
    port: Option<u16>,
    scheme: Option<Scheme>,
}

/// Why a hostname cannot be bound; the message is for the developer who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostname {
    /// Nothing there.
    #[error(
        "must not be empty: use an origin such as `https://chat.example.com`, or a host such as `chat.example.com`"
    )]
    Empty,
    /// Longer than [`HOSTNAME_LENGTH_MAX`] bytes.
    #[error("is longer than 512 bytes")]
    TooLong,
    /// A scheme that is not of the web.
    #[error("must have the scheme http or https, or none")]
    Scheme,
    /// `user@`.
    #[error("must not contain user information")]
    UserInfo,
    /// A path other than `/`.
    #[error("must not contain a path: give the origin alone, such as `https://chat.example.com`")]
    Path,
    /// A query.
    #[error("must not contain a query")]
    Query,
    /// A fragment.
    #[error("must not contain a fragment")]
    Fragment,
    /// `*`.
    #[error("must not contain a wildcard: bind each token to one host")]
    Wildcard,
    /// White space or a control character.
    #[error("must not contain white space or control characters")]
    Blank,
    /// A port that is not 1 to 65535.
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    /// Not a host by the rules of URLs.
    #[error("is not a valid host")]
    Host,
}

impl Scheme {
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// The scheme and what stands between it and the host.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
        }
    }
}

impl BoundHost {
    /// Normalises what a caller of the token API sent: lower case, IDNA A-labels, no trailing dot,
    /// default port dropped, addresses in canonical form.
    pub fn parse(hostname: &str) -> Result<Self, InvalidHostname> {
        if hostname.is_empty() {
            return Err(InvalidHostname::Empty);
        }
        if hostname.len() > HOSTNAME_LENGTH_MAX {
            return Err(InvalidHostname::TooLong);
        }
        if hostname.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidHostname::Blank);
        }
        let (scheme, rest) = match hostname.split_once("://") {
            None => (None, hostname),
            Some((word, rest)) if word.eq_ignore_ascii_case("https") => (Some(Scheme::Https), rest),
            Some((word, rest)) if word.eq_ignore_ascii_case("http") => (Some(Scheme::Http), rest),
            Some(_) => return Err(InvalidHostname::Scheme),
        };
        let authority = authority_alone(rest)?;
        let (host, port) = split_port(authority)?;
        let host = normalise(host)?;
        let port = port.filter(|p| scheme.is_none_or(|s| s.default_port() != *p));
        Ok(Self::assemble(scheme, &host, port))
    }

    fn assemble(scheme: Option<Scheme>, host: &str, port: Option<u16>) -> Self {
        let serialised = serialise(scheme, host, port).into();
        // A longer one is no host, and matches nothing.
        let host_length = u16::try_from(host.len()).unwrap_or(0);
        Self { serialised, host_length, port, scheme }
    }

    fn host(&self) -> &str {
        let start = self.scheme.map_or(0, |scheme| scheme.prefix().len());
        let host = self.serialised.get(start..start + usize::from(self.host_length));
        host.unwrap_or_default()
    }

    /// The normalised form: `https://chat.example.com`, `chat.example.com`, `chat.example.com:3000`.
    /// Parsing it again gives the same value.
    #[must_use]
    pub fn serialised(&self) -> &str {
        &self.serialised
    }

    /// Whether a request with this `Origin` comes from the bound host. A bare host matches both
    /// schemes, and every port when it names none.
    #[must_use]
    pub fn matches_origin(&self, origin: &WebOrigin<'_>) -> bool {
        let port = match (self.scheme, self.port) {
            (Some(scheme), port) => {
                scheme == origin.scheme && port.unwrap_or(scheme.default_port()) == origin.port
            }
            (None, Some(port)) => port == origin.port,
            (None, None) => true,
        };
        port && is_same_host(origin.host, self.host())
    }

    /// Whether a request for this `Host` is for the bound host itself: the page's own gate. The
    /// scheme is not in `Host`, so an origin's default port matches a `Host` that names none.
    #[must_use]
    pub fn matches_host(&self, host: &Authority<'_>) -> bool {
        let port = match (self.scheme, self.port, host.port) {
            (Some(_), None, None) | (None, None, _) => true,
            (Some(scheme), None, Some(port)) => port == scheme.default_port(),
            (_, Some(named), Some(port)) => named == port,
            (_, Some(_), None) => false,
        };
        port && is_same_host(host.name(), self.host())
    }
}

impl fmt::Display for BoundHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.serialised())
    }
}

/// Whether a host as it was received is this normalised one: letter case aside, which is usually the same.
fn is_same_host(received: &[u8], host: &str) -> bool {
    received == host.as_bytes() || received.eq_ignore_ascii_case(host.as_bytes())
}

fn serialise(scheme: Option<Scheme>, host: &str, port: Option<u16>) -> String {
    let mut serialised = String::with_capacity(host.len() + 14);
    if let Some(scheme) = scheme {
        serialised.push_str(scheme.prefix());
    }
    serialised.push_str(host);
    if let Some(port) = port {
        serialised.push(':');
        serialised.push_str(itoa::Buffer::new().format(port));
    }
    serialised
}

/// Everything up to the end of the authority; refuses what may not follow it.
fn authority_alone(rest: &str) -> Result<&str, InvalidHostname> {
    let refusal = |c| match c {
        '@' => Some(InvalidHostname::UserInfo),
        '?' => Some(InvalidHostname::Query),
        '#' => Some(InvalidHostname::Fragment),
        '*' => Some(InvalidHostname::Wildcard),
        '/' | '\\' => Some(InvalidHostname::Path),
        '%' => Some(InvalidHostname::Host),
        _ => None,
    };
    // One trailing slash is how people paste an origin.
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    match authority.chars().find_map(refusal) {
        Some(refused) => Err(refused),
        None if authority.is_empty() => Err(InvalidHostname::Empty),
        None => Ok(authority),
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), InvalidHostname> {
    let port_at = match authority.rfind(']') {
        Some(bracket) => {
            authority.get(bracket + 1..).unwrap_or("").find(':').map(|at| bracket + 1 + at)
        }
        None => authority.find(':'),
    };
    let Some((host, port)) = port_at.and_then(|at| authority.split_at_checked(at)) else {
        return Ok((authority, None));
    };
    let digits = port.strip_prefix(':').unwrap_or(port).as_bytes();
    let port = parse_port(digits).ok_or(InvalidHostname::Port)?;
    Ok((host, Some(port)))
}

/// A port as serialised: 1 to 65535, no sign, no leading zero.
fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.is_empty() || digits.len() > 5 || digits.first() == Some(&b'0') {
        return None;
    }
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
    });
    number.and_then(|number| u16::try_from(number).ok())
}

fn normalise(host: &str) -> Result<String, InvalidHostname> {
    let undotted = host.strip_suffix('.').unwrap_or(host);
    let parsed = Host::parse(undotted).map_err(|_| InvalidHostname::Host)?.to_string();
    let plausible = match parsed.strip_prefix('[') {
        Some(_) => true,
        None => parsed.len() <= HOST_LENGTH_MAX && is_host_name(&parsed),
    };
    if plausible { Ok(parsed) } else { Err(InvalidHostname::Host) }
}

/// Labels of letters, digits, `-` and `_`, separated by single dots.
fn is_host_name(name: &str) -> bool {
    HostName::read(name.as_bytes()).is_some_and(|read| read.length == name.len())
        && !name.ends_with('.')
}

/// The value of an `Origin` header: a serialised web origin (RFC 6454 §6.2), letter case aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebOrigin<'r> {
    /// As it was received.
    value: &'r [u8],
    scheme: Scheme,
    /// In ASCII.
    host: &'r [u8],
    port: u16,
    /// Whether a port is named that browsers leave out.
    names_default_port: bool,
}

impl<'r> WebOrigin<'r> {
    /// Parses a header value. `null`, lists, paths and anything else that is not one origin: `None`.
    #[must_use]
    pub fn parse(value: &'r [u8]) -> Option<Self> {
        let (scheme, rest) = [Scheme::Https, Scheme::Http].into_iter().find_map(|scheme| {
            let (prefix, rest) = value.split_at_checked(scheme.prefix().len())?;
            prefix.eq_ignore_ascii_case(scheme.prefix().as_bytes()).then_some((scheme, rest))
        })?;
        let authority = Authority::parse(rest)?;
        if authority.host.ends_with(b".") {
            return None;
        }
        let names_default_port = authority.port == Some(scheme.default_port());
        let port = authority.port.unwrap_or(scheme.default_port());
        Some(Self { value, scheme, host: authority.host, port, names_default_port })
    }

    /// The origin as browsers write it, in lower case: one text for each origin, and usually what was
    /// received.
    #[must_use]
    pub fn serialised(&self) -> Cow<'r, str> {
        let is_lower = scan::is_within(self.value, [(0, b'@'), (b'[', 0x7f)]);
        if !self.names_default_port && is_lower {
            return Cow::Borrowed(text(self.value));
        }
        let port = Some(self.port).filter(|port| self.scheme.default_port() != *port);
        let mut serialised = serialise(Some(self.scheme), text(self.host), port);
        serialised.make_ascii_lowercase();
        Cow::Owned(serialised)
    }

    /// The serialised forms of every bound host that would match: for asking the store whether any
    /// live token is bound to this origin.
    #[must_use]
    pub fn matching_bound_hosts(&self) -> [String; 3] {
        let host = text(self.host).to_ascii_lowercase();
        [self.serialised().into_owned(), serialise(None, &host, Some(self.port)), host]
    }
}

/// The value of a `Host` header: a host and perhaps a port (RFC 9110 §7.2), checked for form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'r> {
    /// In ASCII.
    host: &'r [u8],
    port: Option<u16>,
}

impl<'r> Authority<'r> {
    /// Parses a header value. User information, an empty host, a port outside 1 to 65535, a broken
    /// address or A-label, and any character that a host cannot have: `None`.
    #[must_use]
    pub fn parse(value: &'r [u8]) -> Option<Self> {
        if value.first() == Some(&b'[') {
            return Self::of_address(std::str::from_utf8(value).ok()?);
        }
        let formed = HostName::read(value)?;
        let (host, rest) = value.split_at_checked(formed.length)?;
        let port = match rest {
            [] => None,
            [_, digits @ ..] => Some(parse_port(digits)?),
        };
        let name = host.strip_suffix(b".").unwrap_or(host);
        let sound = name.len() <= HOST_LENGTH_MAX
            && !(formed.has_two_hyphens && has_broken_a_label(text(name)));
        sound.then_some(Self { host, port })
    }

    /// An IPv6 address in brackets, and perhaps a port.
    fn of_address(value: &'r str) -> Option<Self> {
        let (address, rest) = value.get(1..)?.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        let host = value.as_bytes().get(..address.len() + 2)?;
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits.as_bytes())?),
            None if rest.is_empty() => None,
            None => return None,
        };
        Some(Self { host, port })
    }

    /// The host without its trailing dot, in ASCII, letter case as received.
    #[must_use]
    pub fn name(&self) -> &'r [u8] {
        self.host.strip_suffix(b".").unwrap_or(self.host)
    }

    /// The port, if one is named.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

/// A host that was received, which is in ASCII, as text.
fn text(host: &[u8]) -> &str {
    std::str::from_utf8(host).unwrap_or_default()
}

fn has_broken_a_label(name: &str) -> bool {
    let is_a_label = |label: &str| label.get(..4).is_some_and(|l| l.eq_ignore_ascii_case("xn--"));
    name.split('.').any(is_a_label) && Host::parse(name).is_err()
}

impl fmt::Display for WebOrigin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.scheme.prefix(), text(self.host))?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text(self.host))?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}
