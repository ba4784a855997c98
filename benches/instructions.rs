//! The parts of a request's judgement, each so many times in a row, for counting instructions.
//!
//! `benches/budget` runs this under callgrind with two counts and divides the difference: what a part
//! costs, repeatable to a fraction of a per cent whatever else the machine does.

#[path = "../tests/support/judge.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod judge;

use std::hint::black_box;

use bytes::Bytes;
use ckgate::policy::{
    AgentId, Asked, Authority, BoundHost, Bounds, CanonicalPath, Grant, Judged, OriginHeader,
    PolicyEntry, Query, RouteTable, Rules, WebOrigin, Whence, WithoutOrigin, decide,
};
use ckgate::server::{HeadLimits, read_head};
use ckgate::token::{KeyRing, MasterKey, TokenBytes, TokenId};
use ckgate::upstream::{OutgoingBody, OutgoingRequest};
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderName, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};

use judge::{OWN, everything};

/// Everything that is the same for every repetition.
struct Parts {
    routes: RouteTable,
    grant: Grant,
    keys: KeyRing,
    token: String,
    head: Bytes,
    path: String,
    body: Bytes,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Parts {
    fn new() -> Option<Self> {
        let path = format!("/v1/agents/{OWN}/messages");
        let expires_at = Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_hours(1)).ok()?;
        let keys = KeyRing::new(&[(1, MasterKey::generate().ok()?)]).ok()?;
        let token = keys.render(1, TokenId::generate(Timestamp::UNIX_EPOCH).ok()?, expires_at)?;
        let token = token.expose().to_owned();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Bearer {token}\r\n\
             Origin: https://app.test\r\nContent-Type: application/json\r\n\
             Content-Length: 120\r\nAccept: */*\r\nAccept-Language: en-US,en;q=0.9\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0\r\n\
             Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
             Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n\r\n"
        );
        let text = "Tell me more about it. ".repeat(41);
        let body = format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#);
        let header = |name, value| Some((name, HeaderValue::from_str(value).ok()?));
        Some(Self {
            routes: RouteTable::built_in().ok()?,
            grant: Grant {
                host: BoundHost::parse("https://app.test").ok()?,
                expires_at,
                entries: [PolicyEntry { agent: AgentId::parse(OWN).ok()?, access: everything() }]
                    .into(),
            },
            keys,
            token,
            head: head.into(),
            path,
            body: body.into(),
            headers: vec![
                header(ACCEPT, "*/*")?,
                header(USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36")?,
                header(AUTHORIZATION, "Bearer the-password-of-the-upstream")?,
            ],
        })
    }

    fn asked<'r>(method: &'r Method, path: &'r str) -> Option<Asked<'r>> {
        Some(Asked {
            method,
            path: CanonicalPath::parse(path).ok()?,
            query: Query::NONE,
            whence: Whence {
                origin: OriginHeader::Web(WebOrigin::parse(b"https://app.test")?),
                host: Authority::parse(b"gate.test")?,
                from_browser: true,
            },
        })
    }

    fn decide(&self, method: &Method, body: &Bytes) -> Option<usize> {
        let asked = Self::asked(method, &self.path)?;
        let rules = Rules {
            routes: &self.routes,
            without_origin: WithoutOrigin::Refuse,
            bounds: Bounds::default(),
        };
        match decide(rules, &self.grant, black_box(&asked), Timestamp::UNIX_EPOCH).ok()? {
            Judged::Permit(permit) => Some(permit.target().len()),
            Judged::BodyFirst(pending) => {
                pending.judge_body(body.clone()).ok().map(|permit| permit.target().len())
            }
            Judged::OwnerFirst(_) => None,
        }
    }

    /// Does one part once; `None` where it does not come to what it should.
    fn do_once(&self, part: &str) -> Option<usize> {
        match part {
            "decision" => self.decide(&Method::GET, &Bytes::new()),
            "decision with a body of 1 KiB" => self.decide(&Method::POST, &self.body),
            "head" => {
                let limits = HeadLimits {
                    head_bytes_max: 32 << 10,
                    headers_max: 64,
                    target_bytes_max: 8192,
                };
                read_head(black_box(&self.head), limits).ok().map(|head| head.head.fields().len())
            }
            "path" => {
                CanonicalPath::parse(black_box(&self.path)).ok().map(|path| path.text().len())
            }
            "token" => {
                let bytes = TokenBytes::decode(black_box(self.token.as_bytes()))?;
                self.keys.verify(&bytes, Timestamp::UNIX_EPOCH).ok().map(|_| 1)
            }
            "rewriting the head" => {
                let authority = HeaderValue::from_static("127.0.0.1:8283");
                let body = OutgoingBody::Whole(self.body.clone());
                let mut request =
                    OutgoingRequest::new(&Method::POST, &self.path, &authority, body).ok()?;
                for (name, value) in &self.headers {
                    request
                        .header(black_box(name.as_str().as_bytes()), black_box(value.as_bytes()))
                        .ok()?;
                }
                Some(size_of_val(&black_box(request)))
            }
            _ => None,
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let part = arguments.next().unwrap_or_default();
    let count: usize = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1);
    let parts = Parts::new();
    // Under `cargo test --benches` there are no arguments: every part once.
    let all = [
        "decision",
        "decision with a body of 1 KiB",
        "head",
        "path",
        "token",
        "rewriting the head",
    ];
    let chosen: Vec<&str> =
        if all.contains(&part.as_str()) { vec![part.as_str()] } else { all.to_vec() };
    for part in chosen {
        for _ in 0..count {
            let done = parts.as_ref().and_then(|parts| parts.do_once(part));
            assert!(done.is_some(), "{part} did not come to its end");
        }
    }
}
