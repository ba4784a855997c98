//! A path: what is accepted is its own canonical form, decodes once and for all to plain segments,
//! and what is permitted is sent on as it was judged.

#![no_main]

use ckgate::policy::{
    AgentId, Asked, Authority, BoundHost, Bounds, CanonicalPath, Grant, Judged, OriginHeader, Permission,
    PolicyEntry, Query, RouteTable, Rules, WebOrigin, Whence, WithoutOrigin, decide,
};
use http::Method;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use std::sync::LazyLock;

const AGENT: &str = "agent-11111111-1111-4111-8111-111111111111";

static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| RouteTable::built_in().expect("in order"));
static GRANT: LazyLock<Grant> = LazyLock::new(|| Grant {
    host: BoundHost::parse("https://app.test").expect("a host"),
    expires_at: Timestamp::MAX,
    entries: [PolicyEntry {
        agent: AgentId::parse(AGENT).expect("an agent id"),
        access: Permission::ALL.into_iter().collect(),
    }].into(),
});

fuzz_target!(|raw: &str| {
    let raw = raw.replace('$', AGENT);
    let Ok(path) = CanonicalPath::parse(&raw) else { return };
    assert_eq!(path.to_string(), raw);
    assert_eq!(CanonicalPath::parse(&path.to_string()), Ok(path));
    let decoded = percent_decode_str(path.text()).decode_utf8().expect("UTF-8");
    assert_eq!(decoded.matches('/').count(), path.text().matches('/').count());
    assert_eq!(percent_decode_str(&decoded).decode_utf8().expect("UTF-8"), decoded);
    for segment in decoded.split('/').skip(1) {
        assert!(!segment.is_empty() && segment != "." && segment != "..", "{decoded:?}");
        assert!(!segment.contains(['\\', ';', '?', '#']), "{decoded:?}");
        assert!(!segment.bytes().any(|byte| byte < b' ' || byte == 0x7f), "{decoded:?}");
    }
    for method in [Method::GET, Method::POST, Method::PATCH] {
        judge(&raw, path, &method);
    }
});

fn judge(raw: &str, path: CanonicalPath<'_>, method: &Method) {
    let whence = Whence {
        origin: OriginHeader::Web(WebOrigin::parse(b"https://app.test").expect("an origin")),
        host: Authority::parse(b"gate.test").expect("a host"),
        from_browser: true,
    };
    let asked = Asked { method, path, query: Query::NONE, whence };
    let rules =
        Rules { routes: &ROUTES, without_origin: WithoutOrigin::Refuse, bounds: Bounds::default() };
    let permit = match decide(rules, &GRANT, &asked, Timestamp::UNIX_EPOCH) {
        Ok(Judged::Permit(permit)) => permit,
        Ok(Judged::BodyFirst(pending)) => match pending.judge_body(bytes::Bytes::new()) {
            Ok(permit) => permit,
            Err(_) => return,
        },
        Ok(Judged::OwnerFirst(pending)) => {
            assert!(pending.judge_owner(None).is_err(), "nobody's is permitted");
            return;
        }
        Err(_) => return,
    };
    assert!(raw.contains(AGENT), "permitted without naming the agent: {raw}");
    let decoded = |path: &str| percent_decode_str(path).decode_utf8().expect("UTF-8").into_owned();
    let sent = permit.target();
    assert_eq!(decoded(sent.trim_end_matches('/')), decoded(raw.trim_end_matches('/')));
    assert!(CanonicalPath::parse(sent).is_ok(), "{sent}");
}
