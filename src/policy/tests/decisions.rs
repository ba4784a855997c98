use http::Method;
use jiff::Timestamp;

use super::super::{
    Asked, Authority, CanonicalPath, Judged, OriginHeader, Permission, PermittedBody, Query, Rules,
    WebOrigin, Whence, WithoutOrigin, decide, permit_server_key,
};
use super::{
    A, B, EXPIRES_AT_SECONDS, agent, asked, before_expiry, built_in, from_bound_origin, grant,
    permit, permit_owned, rules,
};

/// What can be wrong with a request, in the order of the decision table.
const FAULTS: [&str; 5] = [
    "token_expired",
    "hostname_mismatch",
    "route_not_allowed",
    "permission_denied",
    "parameter_not_allowed",
];

/// The code with which a request that has these faults is refused; `None` if it is permitted.
fn refusal_of(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    let routes = built_in();
    let agent = if has("permission_denied") { B } else { A };
    let route = if has("route_not_allowed") { "nothing-here" } else { "messages" };
    let query = if has("parameter_not_allowed") { "?agent_id=x" } else { "" };
    let target = format!("/v1/agents/{agent}/{route}{query}");
    let mut asked = asked(&Method::GET, &target);
    if has("hostname_mismatch") {
        asked.whence.origin = OriginHeader::Web(WebOrigin::parse(b"https://evil.test").unwrap());
    }
    let seconds = EXPIRES_AT_SECONDS - i64::from(!has("token_expired"));
    let now = Timestamp::from_second(seconds).unwrap();
    let grant = grant(&[(A, &[Permission::ReadMessages])]);
    decide(rules(routes), &grant, &asked, now).err().map(|denial| denial.code())
}

/// Every set of faults is refused for the earliest of them.
#[test]
fn of_two_failing_steps_the_earlier_wins() {
    for bits in 0..32_u8 {
        let faults: Vec<&str> = FAULTS
            .iter()
            .enumerate()
            .filter(|(bit, _)| bits & (1 << bit) != 0)
            .map(|(_, fault)| *fault)
            .collect();
        let refusal = refusal_of(|fault| faults.contains(&fault));
        assert_eq!(refusal, faults.first().copied(), "{faults:?}");
    }
}

/// Attack X-01: `now >= expires_at` refuses, to the millisecond.
#[test]
fn token_expires_at_the_millisecond_of_its_record() {
    let routes = built_in();
    let mut grant = grant(&[(A, &[Permission::ReadMessages])]);
    let expires_at = EXPIRES_AT_SECONDS * 1000 + 250;
    grant.expires_at = Timestamp::from_millisecond(expires_at).unwrap();
    let target = format!("/v1/agents/{A}/messages");
    for (offset, permitted) in [(-1, true), (0, false), (1, false), (60_000, false)] {
        let now = Timestamp::from_millisecond(expires_at + offset).unwrap();
        let judged = decide(rules(routes), &grant, &asked(&Method::GET, &target), now);
        assert_eq!(judged.is_ok(), permitted, "{offset} ms");
    }
}

/// Whether a token bound to `https://app.test` may be used from there.
#[track_caller]
fn check_whence(without_origin: WithoutOrigin, whence: Whence<'_>, permitted: bool) {
    let routes = built_in();
    let grant = grant(&[(A, &[Permission::ReadMessages])]);
    let target = format!("/v1/agents/{A}/messages");
    let asked = Asked { whence, ..asked(&Method::GET, &target) };
    let rules = Rules { without_origin, ..rules(routes) };
    let judged = decide(rules, &grant, &asked, before_expiry());
    let code = judged.err().map(|denial| denial.code());
    let expected = if permitted { None } else { Some("hostname_mismatch") };
    assert_eq!(code, expected, "{whence:?}, {without_origin:?}");
}

/// Attack O-10.
#[test]
fn origin_decides_where_there_is_one() {
    let host = |text: &'static str| Authority::parse(text.as_bytes()).unwrap();
    let web = |text: &'static str| OriginHeader::Web(WebOrigin::parse(text.as_bytes()).unwrap());
    for without_origin in [WithoutOrigin::Refuse, WithoutOrigin::Allow] {
        for from_browser in [true, false] {
            for served_at in ["app.test", "gate.test"] {
                let whence = |origin| Whence { origin, host: host(served_at), from_browser };
                check_whence(without_origin, whence(web("https://app.test")), true);
                check_whence(without_origin, whence(web("https://evil.test")), false);
                check_whence(without_origin, whence(OriginHeader::Opaque), false);
            }
        }
    }
}

#[test]
fn without_origin_the_host_header_decides_and_then_the_rule() {
    let whence = |text: &'static str, from_browser| Whence {
        origin: OriginHeader::Absent,
        host: Authority::parse(text.as_bytes()).unwrap(),
        from_browser,
    };
    for (without_origin, host, from_browser, permitted) in [
        (WithoutOrigin::Refuse, "app.test", true, true),
        (WithoutOrigin::Refuse, "app.test", false, true),
        (WithoutOrigin::Refuse, "gate.test", true, false),
        (WithoutOrigin::Refuse, "gate.test", false, false),
        (WithoutOrigin::Allow, "app.test", true, true),
        (WithoutOrigin::Allow, "gate.test", true, false),
        (WithoutOrigin::Allow, "gate.test", false, true),
    ] {
        check_whence(without_origin, whence(host, from_browser), permitted);
    }
}

#[test]
fn hostname_refusal_says_what_was_compared_and_what_to_do() {
    let routes = built_in();
    let grant = grant(&[]);
    let mut asked = asked(&Method::GET, "/");
    asked.whence.origin = OriginHeader::Web(WebOrigin::parse(b"http://Evil.test:81").unwrap());
    let denial = decide(rules(routes), &grant, &asked, before_expiry()).unwrap_err().to_string();
    for words in ["`https://app.test`", "`http://Evil.test:81`", "default_headers"] {
        assert!(denial.contains(words), "{denial}");
    }
}

/// Attack M-08: each permission opens its own operations and no others.
#[test]
fn each_core_operation_needs_its_own_permission() {
    use Permission::{ReadAgent, ReadMessages, WriteAgent, WriteMessages};
    let routes = built_in();
    for (method, below, needed) in [
        (Method::GET, "", ReadAgent),
        (Method::PATCH, "", WriteAgent),
        (Method::GET, "/messages", ReadMessages),
        (Method::HEAD, "/messages", ReadMessages),
        (Method::POST, "/messages", WriteMessages),
        (Method::POST, "/messages/stream", WriteMessages),
        (Method::POST, "/messages/async", WriteMessages),
        (Method::POST, "/messages/cancel", WriteMessages),
    ] {
        let target = format!("/v1/agents/{A}{below}");
        for permission in Permission::ALL {
            let grant = grant(&[(A, &[permission])]);
            let judged = permit(routes, &grant, &asked(&method, &target), b"{}");
            let code = judged.err().map(|denial| denial.code());
            let expected = if permission == needed { None } else { Some("permission_denied") };
            assert_eq!(code, expected, "{method} {target} with {permission}");
        }
    }
}

/// Attacks M-03 and M-04.
#[test]
fn what_is_not_open_is_refused_with_every_permission() {
    let routes = built_in();
    let grant = grant(&[(A, &Permission::ALL), (B, &Permission::ALL)]);
    for (method, target) in [
        (Method::GET, "/"),
        (Method::GET, "/docs"),
        (Method::GET, "/openapi.json"),
        (Method::POST, "/v1/tools/run"),
        (Method::GET, "/v1/admin/users"),
        (Method::POST, "/v1/anthropic/v1/messages"),
        (Method::GET, "/v1/git/x"),
        (Method::GET, "/v1/_internal_runs/"),
        (Method::POST, "/v1/agents/messages/search"),
        (Method::GET, "/v1/client-side-access-tokens"),
        (Method::POST, "/v1/client-side-access-tokens"),
        (Method::GET, "/latest/agents/agent-11111111-1111-4111-8111-111111111111"),
        (Method::TRACE, "/v1/agents/agent-11111111-1111-4111-8111-111111111111"),
        (Method::CONNECT, "/v1/agents/agent-11111111-1111-4111-8111-111111111111"),
        (Method::OPTIONS, "/v1/agents/agent-11111111-1111-4111-8111-111111111111/messages"),
        (Method::DELETE, "/v1/agents/agent-11111111-1111-4111-8111-111111111111"),
        (Method::GET, "/v1/agents/count"),
        (Method::GET, "/v1/agents/*"),
    ] {
        let judged = permit(routes, &grant, &asked(&method, target), b"{}");
        let denial = judged.expect_err(target);
        let closed = ["route_not_allowed", "permission_denied"].contains(&denial.code());
        assert!(closed, "{method} {target}: {denial:?}");
    }
}

#[test]
fn permit_says_what_to_send() {
    let routes = built_in();
    let grant = grant(&[(A, &[Permission::WriteMessages])]);
    let target = format!("/v1/agents/{A}/messages/");
    let body = br#"{"input":"hi"}"#;
    let permit = permit(routes, &grant, &asked(&Method::POST, &target), body).unwrap();
    assert_eq!(permit.method(), Method::POST);
    assert_eq!(permit.target(), format!("/v1/agents/{A}/messages"));
    assert_eq!(*permit.body(), PermittedBody::Inspected(body.as_slice().into()));
    assert_eq!(&*permit.operation().unwrap().name, "agents.messages.create");
}

/// Attack S-10: an operation without a body sends none.
#[test]
fn operation_without_a_body_sends_none() {
    let routes = built_in();
    let grant = grant(&[(A, &[Permission::ReadMessages])]);
    let target = format!("/v1/agents/{A}/messages");
    let judged = decide(rules(routes), &grant, &asked(&Method::GET, &target), before_expiry());
    match judged.unwrap() {
        Judged::Permit(permit) => assert_eq!(*permit.body(), PermittedBody::Nothing),
        pending => panic!("waits for more: {pending:?}"),
    }
}

/// Attack M-03: what belongs to an agent opens to the tokens of that agent alone; what is not there
/// and what is another's look the same.
#[test]
fn what_an_agent_owns_opens_to_its_tokens_alone() {
    let routes = built_in();
    let grant = grant(&[(A, &Permission::ALL)]);
    let target = "/v1/conversations/conv-33333333-3333-4333-8333-333333333333";
    let judge = |owner: Option<&str>| {
        let asked = asked(&Method::GET, target);
        let judged = permit_owned(routes, &grant, &asked, (owner.map(agent), b""));
        judged.map(|permit| permit.agent()).map_err(|denial| denial.to_string())
    };
    assert_eq!(judge(Some(A)), Ok(Some(agent(A))));
    assert!(judge(Some(B)).is_err());
    assert_eq!(judge(Some(B)), judge(None));
}

#[test]
fn server_key_is_sent_on_as_it_asked() {
    let routes = built_in();
    for (target, sent) in [
        ("/v1/tools/?x=1&x=2", "/v1/tools/?x=1&x=2"),
        ("/v1/tools", "/v1/tools/"),
        ("/elsewhere", "/elsewhere"),
        ("/", "/"),
        ("/v1/files/a%20b?q=%41", "/v1/files/a%20b?q=%41"),
        (
            "/v1/agents/agent-11111111-1111-4111-8111-111111111111/messages/?limit=1",
            "/v1/agents/agent-11111111-1111-4111-8111-111111111111/messages?limit=1",
        ),
    ] {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let asked = Asked {
            method: &Method::POST,
            path: CanonicalPath::parse(path).unwrap(),
            query: Query::parse(query).unwrap(),
            whence: from_bound_origin(),
        };
        let permit = permit_server_key(routes, &asked);
        assert_eq!(permit.target(), sent);
        assert_eq!(*permit.body(), PermittedBody::Unread);
    }
}
