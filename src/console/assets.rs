use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{Method, Response};

use super::events::ConsoleBody;

/// The page asks nobody but the gate, runs nothing but its own script, and cannot be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The page, as `page/` builds it; `tests/browser/run` checks that this is so.
const ASSETS: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("assets/index.html")),
    ("/console.js", "text/javascript; charset=utf-8", include_str!("assets/console.js")),
    ("/console.css", "text/css; charset=utf-8", include_str!("assets/console.css")),
    ("/licenses.txt", "text/plain; charset=utf-8", include_str!("assets/licenses.txt")),
];

/// The part of the page at this path. It holds nothing that is anybody's.
pub(super) fn find(head: &Parts) -> Option<Response<ConsoleBody>> {
    let admits = matches!(head.method, Method::GET | Method::HEAD);
    let path = head.uri.path();
    let (_, kind, content) = ASSETS.iter().find(|(name, ..)| admits && *name == path)?;
    let mut answer = Response::new(ConsoleBody::whole(content.as_bytes().into()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(answer)
}
