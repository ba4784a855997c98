//! Step 1: the head becomes facts. Whatever could be read in two ways is refused here.

use http::Method;

use super::handle::TOKEN_API_PATH;
use super::reject::Refusal;
use crate::message::names::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, ORIGIN,
    SEC_FETCH_SITE, TRANSFER_ENCODING,
};
use crate::message::{Fields, Head};
use crate::policy::{Asked, Authority, CanonicalPath, OriginHeader, Query, WebOrigin, Whence};
use crate::scan;

/// A request's head, as facts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'r> {
    /// What the policy looks at.
    pub(super) asked: Asked<'r>,
    /// The credential of `Authorization: Bearer`, when there is one.
    pub(super) bearer: Bearer<'r>,
    /// Whether the path is the token API's.
    pub(super) is_token_api: bool,
}

/// What the `Authorization` header holds.
#[derive(Clone, Copy)]
pub(super) enum Bearer<'r> {
    /// There is no such header.
    Absent,
    /// Another scheme, or not one credential.
    Unusable,
    /// One credential.
    Credential(&'r [u8]),
}

impl std::fmt::Debug for Bearer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Unusable => "Unusable",
            Self::Credential(_) => "Credential(…)",
        })
    }
}

/// Why a head is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadRefusal {
    /// The code of the answer.
    pub code: &'static str,
    /// What its message says.
    pub message: String,
}

/// What the policy is asked about a request of this head, for whoever wants to know without sending
/// it.
pub fn asked_of(head: &Head) -> Result<Asked<'_>, HeadRefusal> {
    intake(head, |_| ()).map(|received| received.asked).map_err(|refusal| HeadRefusal::of(&refusal))
}

/// Whether a body of a request of this head can be looked at.
pub fn admits_coding(head: &Head) -> Result<(), HeadRefusal> {
    check_coding(head.fields()).map_err(|refusal| HeadRefusal::of(&refusal))
}

impl HeadRefusal {
    fn of(refusal: &Refusal) -> Self {
        Self { code: refusal.code(), message: refusal.detail().into_owned() }
    }
}

/// Reads the head of a request. Of a credential `seen` is told first, before the rest is looked at.
pub(super) fn intake(head: &Head, seen: impl FnOnce(&[u8])) -> Result<Received<'_>, Refusal> {
    let fields = head.fields();
    let bearer = match only(fields, AUTHORIZATION)? {
        None => Bearer::Absent,
        Some(value) => bearer(value).map_or(Bearer::Unusable, Bearer::Credential),
    };
    if let Bearer::Credential(credential) = bearer {
        seen(credential);
    }
    let host = only(fields, HOST)?.ok_or_else(|| Refusal::malformed("there is no Host header"))?;
    let host = Authority::parse(host).ok_or_else(|| {
        Refusal::malformed("the Host header must be a host name or address, perhaps with a port")
    })?;
    let path = head.path();
    let is_token_api = is_token_api(path);
    // Nothing of the token API's path goes upstream, and its last segment is a token: decoded there.
    let path = if is_token_api { TOKEN_API_PATH } else { path };
    let path =
        CanonicalPath::parse(path).map_err(|refusal| Refusal::malformed(refusal.to_string()))?;
    let query =
        Query::parse(head.query()).map_err(|refusal| Refusal::malformed(refusal.to_string()))?;
    let whence =
        Whence { origin: origin(fields), host, from_browser: fields.contains(SEC_FETCH_SITE) };
    let asked = Asked { method: &head.method, path, query, whence };
    Ok(Received { asked, bearer, is_token_api })
}

/// The value of a header that may come once.
fn only<'r>(fields: &'r Fields, name: &'static str) -> Result<Option<&'r [u8]>, Refusal> {
    let several = |_| Refusal::malformed(format!("there is more than one {name} header"));
    fields.only(name).map_err(several)
}

/// The characters of `b64token`, `=` among them (RFC 6750 §2.1).
const OF_A_CREDENTIAL: [(u8, u8); 7] = [
    (b'A', b'Z'),
    (b'a', b'z'),
    (b'-', b'9'),
    (b'_', b'_'),
    (b'~', b'~'),
    (b'+', b'+'),
    (b'=', b'='),
];

/// `Bearer`, one space, and `b64token` (RFC 6750 §2.1); the scheme's letter case is free (RFC 9110
/// §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, credential) = value.split_at_checked(7)?;
    let formed = scheme.eq_ignore_ascii_case(b"bearer ")
        && !credential.is_empty()
        && scan::is_within(credential, OF_A_CREDENTIAL);
    formed.then_some(credential)
}

fn origin(fields: &Fields) -> OriginHeader<'_> {
    match fields.only(ORIGIN) {
        Ok(None) => OriginHeader::Absent,
        Ok(Some(value)) => WebOrigin::parse(value).map_or(OriginHeader::Opaque, OriginHeader::Web),
        Err(_) => OriginHeader::Opaque,
    }
}

fn is_token_api(path: &str) -> bool {
    let rest = path.strip_prefix(TOKEN_API_PATH);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a body comes with the request.
pub(super) fn announces_body(fields: &Fields) -> bool {
    fields.contains(TRANSFER_ENCODING)
        || fields.get(CONTENT_LENGTH).is_some_and(|length| length != b"0")
}

/// A body that is looked at must come as it is.
pub(super) fn check_coding(fields: &Fields) -> Result<(), Refusal> {
    if fields.all(CONTENT_ENCODING).all(|coding| coding == b"identity") {
        return Ok(());
    }
    Err(Refusal::malformed("the body must not have a Content-Encoding"))
}

/// Whether the request is a browser's preflight (Fetch, CORS-preflight request).
pub(super) fn is_preflight(head: &Head) -> bool {
    let fields = head.fields();
    head.method == Method::OPTIONS
        && fields.contains(ORIGIN)
        && fields.contains(ACCESS_CONTROL_REQUEST_METHOD)
}
