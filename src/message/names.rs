//! Names of header fields, in lower case as [`super::Fields`] keeps them.

/// `Accept` (RFC 9110 §12.5.1).
pub const ACCEPT: &str = "accept";
/// `Accept-Language` (RFC 9110 §12.5.4).
pub const ACCEPT_LANGUAGE: &str = "accept-language";
/// `Access-Control-Allow-Headers` (Fetch).
pub const ACCESS_CONTROL_ALLOW_HEADERS: &str = "access-control-allow-headers";
/// `Access-Control-Allow-Methods` (Fetch).
pub const ACCESS_CONTROL_ALLOW_METHODS: &str = "access-control-allow-methods";
/// `Access-Control-Allow-Origin` (Fetch).
pub const ACCESS_CONTROL_ALLOW_ORIGIN: &str = "access-control-allow-origin";
/// `Access-Control-Expose-Headers` (Fetch).
pub const ACCESS_CONTROL_EXPOSE_HEADERS: &str = "access-control-expose-headers";
/// `Access-Control-Max-Age` (Fetch).
pub const ACCESS_CONTROL_MAX_AGE: &str = "access-control-max-age";
/// `Access-Control-Request-Headers` (Fetch).
pub const ACCESS_CONTROL_REQUEST_HEADERS: &str = "access-control-request-headers";
/// `Access-Control-Request-Method` (Fetch).
pub const ACCESS_CONTROL_REQUEST_METHOD: &str = "access-control-request-method";
/// `Authorization` (RFC 9110 §11.6.2).
pub const AUTHORIZATION: &str = "authorization";
/// `Cache-Control` (RFC 9111 §5.2).
pub const CACHE_CONTROL: &str = "cache-control";
/// `Connection` (RFC 9110 §7.6.1).
pub const CONNECTION: &str = "connection";
/// `Content-Encoding` (RFC 9110 §8.4).
pub const CONTENT_ENCODING: &str = "content-encoding";
/// `Content-Length` (RFC 9110 §8.6).
pub const CONTENT_LENGTH: &str = "content-length";
/// `Content-Type` (RFC 9110 §8.3).
pub const CONTENT_TYPE: &str = "content-type";
/// `Date` (RFC 9110 §6.6.1).
pub const DATE: &str = "date";
/// `Host` (RFC 9110 §7.2).
pub const HOST: &str = "host";
/// `Location` (RFC 9110 §10.2.2).
pub const LOCATION: &str = "location";
/// `Origin` (Fetch).
pub const ORIGIN: &str = "origin";
/// `Retry-After` (RFC 9110 §10.2.3).
pub const RETRY_AFTER: &str = "retry-after";
/// `Sec-Fetch-Site` (Fetch Metadata).
pub const SEC_FETCH_SITE: &str = "sec-fetch-site";
/// `Strict-Transport-Security` (RFC 6797).
pub const STRICT_TRANSPORT_SECURITY: &str = "strict-transport-security";
/// `Transfer-Encoding` (RFC 9112 §6.1).
pub const TRANSFER_ENCODING: &str = "transfer-encoding";
/// `User-Agent` (RFC 9110 §10.1.5).
pub const USER_AGENT: &str = "user-agent";
/// `Vary` (RFC 9110 §12.5.5).
pub const VARY: &str = "vary";
/// `WWW-Authenticate` (RFC 9110 §11.6.1).
pub const WWW_AUTHENTICATE: &str = "www-authenticate";
/// `X-Request-Id`: carries a request's id, to the upstream and back to the caller.
pub const X_REQUEST_ID: &str = "x-request-id";
/// Tells Letta's SDKs whether to send a request again (they retry 408, 409, 429 and 5xx).
pub const X_SHOULD_RETRY: &str = "x-should-retry";
