//! The request that is asked about, read as strictly as if its bytes had come from the caller.

use ::http::{HeaderName, Method, Version};
use bytes::Bytes;

use crate::message::Head;
use crate::proxy::GivenBody;
use crate::server::{HeadLimits, Malformed, read_head};

/// A request that is asked about.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) head: Head,
    /// What the strict reading of the head said. If it refused, `head` stands for nothing.
    pub(super) well_formed: Result<(), Malformed>,
    pub(super) body: GivenBody,
    /// Headers that were not looked at, because proxies tell each other things in them: the caller's
    /// own of such a name must not go on.
    pub(super) set_aside: Vec<HeaderName>,
}

/// What a peer tells of a request.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) method: Bytes,
    pub(super) target: Bytes,
    pub(super) host: Bytes,
    /// The caller's other headers: neither `Host` nor what frames the body.
    pub(super) headers: Vec<(Bytes, Bytes)>,
    pub(super) body: GivenBody,
    pub(super) set_aside: Vec<HeaderName>,
}

impl Told {
    /// Reads what was told: through the check that a caller's own bytes pass.
    pub(super) fn read(self, limits: HeadLimits) -> Question {
        let parsed = read_head(&self.written(), limits).and_then(|_| self.parsed());
        let (head, well_formed) = match parsed {
            Ok(head) => (head, Ok(())),
            Err(malformed) => (Head::new(Method::GET, Version::HTTP_11, "/"), Err(malformed)),
        };
        Question { head, well_formed, body: self.body, set_aside: self.set_aside }
    }

    /// The head as the caller would have written it.
    fn written(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(1024);
        let parts: [&[u8]; 5] =
            [&self.method, b" ", &self.target, b" HTTP/1.1\r\nhost: ", &self.host];
        head.extend(parts.into_iter().flatten());
        for (name, value) in &self.headers {
            let parts: [&[u8]; 4] = [b"\r\n", name, b": ", value];
            head.extend(parts.into_iter().flatten());
        }
        match &self.body {
            GivenBody::Absent | GivenBody::Unsaid => {}
            GivenBody::Whole(bytes) if bytes.is_empty() => {}
            GivenBody::Whole(bytes) => {
                head.extend_from_slice(format!("\r\ncontent-length: {}", bytes.len()).as_bytes());
            }
            GivenBody::Withheld => head.extend_from_slice(b"\r\ntransfer-encoding: chunked"),
        }
        head.extend_from_slice(b"\r\n\r\n");
        head
    }

    /// What is judged is made of what was told, part by part: a line end within a part is refused
    /// here, and can never have made two lines of one.
    fn parsed(&self) -> Result<Head, Malformed> {
        let method = Method::from_bytes(&self.method).map_err(|_| Malformed::Method)?;
        let target = std::str::from_utf8(&self.target).ok();
        let plain = |target: &&str| target.bytes().all(|byte| byte.is_ascii_graphic());
        let target = target.filter(plain).ok_or(Malformed::Target)?;
        let mut head = Head::new(method, Version::HTTP_11, target);
        head.try_append(b"host", &self.host).map_err(|_| Malformed::Host)?;
        for (name, value) in &self.headers {
            head.try_append(name, value).map_err(|_| Malformed::Header)?;
        }
        Ok(head)
    }
}

/// Parts a request's headers (names in lower case) into those to be judged and those set aside, which
/// are told between proxies.
pub(super) fn part(
    headers: impl Iterator<Item = (Bytes, Bytes)>,
    is_told_between: fn(&[u8]) -> bool,
) -> (Vec<(Bytes, Bytes)>, Vec<HeaderName>) {
    let mut judged = Vec::new();
    let mut set_aside = Vec::new();
    for (name, value) in headers {
        if is_told_between(&name) {
            set_aside.extend(HeaderName::from_bytes(&name));
        } else if !is_of_the_connection(&name) {
            judged.push((name, value));
        }
    }
    (judged, set_aside)
}

/// Whether proxies tell each other something in a header; the policy looks at none of these.
pub(super) fn is_told_between_proxies(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 2] = [b"x-original-", b"x-envoy-"];
    is_traefiks_own(name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether Traefik itself writes a header, in the place of the caller's.
pub(super) fn is_traefiks_own(name: &[u8]) -> bool {
    name == b"x-real-ip" || name.starts_with(b"x-forwarded-")
}

/// Whether a header belongs to a connection, or frames its messages.
fn is_of_the_connection(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 10] = [
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
    ];
    NAMES.contains(&name) || name.starts_with(b":")
}
