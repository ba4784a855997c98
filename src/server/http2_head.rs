//! Gives an HTTP/2 request the one shape that is judged: that of HTTP/1.1 in origin-form, held to the
//! same rules.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{Method, Uri};
use http_body::Body;

use super::head::{HeadLimits, Malformed, is_origin_form};
use crate::message::Head;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// What only concerns an HTTP/1.1 connection (RFC 9113 §8.2.2).
const OF_CONNECTIONS: [HeaderName; 5] =
    [CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION];
/// How a body of unknown length is announced in the shape that is judged.
const CHUNKED: HeaderValue = HeaderValue::from_static("chunked");

/// The request's head in HTTP/1.1's shape: `Host` in the place of `:authority`, the target in
/// origin-form, a body always announced. One that is refused keeps nothing but its method.
pub(super) fn canonical<B: Body>(
    mut request: Parts,
    body: &B,
    limits: HeadLimits,
) -> (Head, Result<(), Malformed>) {
    let checked = check(&request.method, &request.uri, &mut request.headers, body, limits);
    let Parts { method, version, headers, .. } = request;
    match checked {
        Ok(target) => {
            let mut head = Head::new(method, version, target.as_str());
            for (name, value) in &headers {
                if head.try_append(name.as_str().as_bytes(), value.as_bytes()).is_err() {
                    return (head, Err(Malformed::Header));
                }
            }
            (head, Ok(()))
        }
        Err(malformed) => (Head::new(method, version, "/"), Err(malformed)),
    }
}

fn check<B: Body>(
    method: &Method,
    uri: &Uri,
    headers: &mut HeaderMap,
    body: &B,
    limits: HeadLimits,
) -> Result<PathAndQuery, Malformed> {
    if headers.len() > limits.headers_max {
        return Err(Malformed::HeadTooLarge);
    }
    let admits_body = match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => false,
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => true,
        _ => return Err(Malformed::Method),
    };
    let target = check_target(uri, limits.target_bytes_max)?;
    if !matches!(uri.scheme_str(), None | Some("https")) {
        return Err(Malformed::Target);
    }
    let host = check_host(uri.authority(), headers)?;
    let of_connections = OF_CONNECTIONS.iter().any(|name| headers.contains_key(name));
    let asks_for_coding = headers.get_all(TE).iter().any(|coding| coding != "trailers");
    if of_connections || asks_for_coding {
        return Err(Malformed::Header);
    }
    let length = check_length(headers)?;
    let has_body = !body.is_end_stream();
    if has_body && !admits_body || !has_body && length.is_some_and(|length| length > 0) {
        return Err(Malformed::UnexpectedBody);
    }
    check_expectation(headers, has_body)?;
    headers.insert(HOST, host);
    if has_body && length.is_none() {
        headers.insert(TRANSFER_ENCODING, CHUNKED);
    }
    Ok(target)
}

fn check_target(uri: &Uri, bytes_max: usize) -> Result<PathAndQuery, Malformed> {
    let target = uri.path_and_query().ok_or(Malformed::Target)?;
    let text = target.as_str();
    if text.len() > bytes_max {
        return Err(Malformed::TargetTooLong);
    }
    if !is_origin_form(text.as_bytes()) {
        return Err(Malformed::Target);
    }
    Ok(target.clone())
}

/// The one host that is asked for; `Host`, if it is there as well, must be the same.
fn check_host(
    authority: Option<&Authority>,
    headers: &HeaderMap,
) -> Result<HeaderValue, Malformed> {
    let mut hosts = headers.get_all(HOST).iter();
    match (authority, hosts.next(), hosts.next()) {
        (Some(authority), None, _) => {
            HeaderValue::from_str(authority.as_str()).map_err(|_| Malformed::Host)
        }
        (Some(authority), Some(host), None) if host.as_bytes() == authority.as_str().as_bytes() => {
            Ok(host.clone())
        }
        (None, Some(host), None) => Ok(host.clone()),
        _ => Err(Malformed::Host),
    }
}

fn check_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(length), None) => {
            let text = length.to_str().map_err(|_| Malformed::ContentLength)?;
            let number: u64 = text.parse().map_err(|_| Malformed::ContentLength)?;
            // One spelling: no sign, no leading zeros.
            let canonical = number.to_string() == text;
            canonical.then_some(Some(number)).ok_or(Malformed::ContentLength)
        }
        (Some(_), Some(_)) => Err(Malformed::ContentLength),
    }
}

fn check_expectation(headers: &HeaderMap, has_body: bool) -> Result<(), Malformed> {
    let mut expectations = headers.get_all(EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(()),
        (Some(expected), None)
            if has_body && expected.as_bytes().eq_ignore_ascii_case(b"100-continue") =>
        {
            Ok(())
        }
        _ => Err(Malformed::Expect),
    }
}
