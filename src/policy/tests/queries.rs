use http::Method;
use proptest::prelude::*;

use super::super::{Denial, Permission, Query, QueryRefusal};
use super::{A, asked, built_in, grant, permit};

#[track_caller]
fn check(raw: &str, expected: Result<(), QueryRefusal>) {
    assert_eq!(Query::parse(Some(raw)).map(|_| ()), expected, "{raw:?}");
}

/// What listing A's messages with this query comes to: the query sent on, or the name refused.
#[track_caller]
fn check_list(query: &str, expected: Result<&str, &str>) {
    let routes = built_in();
    let grant = grant(&[(A, &[Permission::ReadMessages])]);
    let path = format!("/v1/agents/{A}/messages");
    let target = format!("{path}?{query}");
    let judged = permit(routes, &grant, &asked(&Method::GET, &target), b"");
    let judged = judged.map(|permit| permit.target().to_owned());
    let expected = expected.map(|query| match query {
        "" => path,
        query => format!("{path}?{query}"),
    });
    match (judged, expected) {
        (Ok(sent), expected) => assert_eq!(Ok(sent), expected, "{query}"),
        (Err(Denial::ParameterNotAllowed { name, .. }), Err(refused)) => {
            assert_eq!(name, refused, "{query}");
        }
        (Err(denial), expected) => panic!("{query}: {denial:?}, expected {expected:?}"),
    }
}

#[test]
fn ordinary_queries_are_canonical() {
    for query in
        ["", "a=b", "a=b&c=d", "a[]=1&b|c=d", "a=%20+x", "a=%c3%A4", "a=b?c/d:@", "&&", "a"]
    {
        check(query, Ok(()));
    }
}

#[test]
fn characters_that_servers_read_differently_are_refused() {
    for c in
        ['"', '#', '<', '>', '\\', '^', '`', '{', '}', ' ', '\0', '\r', '\n', '\t', '\x7f', 'ä']
    {
        check(&format!("a={c}"), Err(QueryRefusal::Character));
    }
}

#[test]
fn malformed_escapes_are_refused() {
    for query in ["%", "a=%", "a=%2", "a=%zz", "a=%u0041", "%2%30"] {
        check(query, Err(QueryRefusal::MalformedEscape));
    }
}

#[test]
fn escapes_that_hide_control_characters_are_refused() {
    for byte in (0..0x20).chain([0x7f]).filter(|byte| !matches!(byte, 0x09 | 0x0a)) {
        check(&format!("a=%{byte:02x}"), Err(QueryRefusal::NotText));
        check(&format!("%{byte:02X}=a"), Err(QueryRefusal::NotText));
    }
    check("a=%C2%85", Err(QueryRefusal::NotText));
}

#[test]
fn escapes_that_are_not_utf8_are_refused() {
    for query in ["a=%FF", "a=%C3", "%C0%AF=a", "a=%ED%A0%80"] {
        check(query, Err(QueryRefusal::NotText));
    }
}

#[test]
fn admitted_query_is_sent_in_one_spelling() {
    check_list("", Ok(""));
    check_list("limit=10&order=asc", Ok("limit=10&order=asc"));
    check_list("%6Cimit=%31", Ok("limit=1"));
    check_list("&limit=1&&", Ok("limit=1"));
    check_list("limit", Ok("limit="));
    check_list("after=%26b%3D%23%2F", Ok("after=%26b%3D%23%2F"));
    check_list("after=a+b%20c", Ok("after=a+b+c"));
}

/// Attack P-21.
#[test]
fn unknown_query_keys_are_refused_by_name() {
    check_list("agent_id=x", Err("agent_id"));
    check_list("limit=1&x=2", Err("x"));
    check_list("Limit=1", Err("Limit"));
    check_list("limit[]=1", Err("limit[]"));
    check_list("%61gent_id=1", Err("agent_id"));
    check_list("=1", Err(""));
    check_list(&"k".repeat(200), Err(&"k".repeat(64)));
}

#[test]
fn key_that_the_upstream_reads_once_may_stand_once() {
    check_list("limit=1&limit=2", Err("limit"));
    check_list("limit=1&%6cimit=1", Err("limit"));
    check_list(
        "include_return_message_types=a&include_return_message_types=b",
        Ok("include_return_message_types=a&include_return_message_types=b"),
    );
}

/// Secrets of an agent are asked for with `include`.
#[test]
fn words_outside_the_list_are_refused() {
    let routes = built_in();
    let grant = grant(&[(A, &[Permission::ReadAgent])]);
    for (query, admitted) in [
        ("include=agent.blocks", true),
        ("include=agent.blocks&include=agent.tools", true),
        ("include=agent.secrets", false),
        ("include=agent.%73ecrets", false),
        ("include=agent.blocks&include=agent.secrets", false),
        ("include=agent.blocks,agent.secrets", false),
        ("include_relationships=secrets", false),
        ("include_relationships=tool_exec_environment_variables", false),
    ] {
        let target = format!("/v1/agents/{A}?{query}");
        let judged = permit(routes, &grant, &asked(&Method::GET, &target), b"");
        assert_eq!(judged.is_ok(), admitted, "{query}");
    }
}

proptest! {
    #[test]
    fn what_is_sent_means_what_was_received(after in any::<String>(), before in any::<String>()) {
        let mut raw = form_urlencoded(&[("after", &after), ("before", &before)]);
        raw.insert_str(0, "limit=1&");
        let Ok(query) = Query::parse(Some(&raw)) else { return Ok(()) };
        let routes = built_in();
        let grant = grant(&[(A, &[Permission::ReadMessages])]);
        let target = format!("/v1/agents/{A}/messages?{raw}");
        let permit = permit(routes, &grant, &asked(&Method::GET, &target), b"").unwrap();
        let sent = permit.target().split_once('?').unwrap().1;
        let received: Vec<_> = query.pairs().collect();
        prop_assert_eq!(Query::parse(Some(sent)).unwrap().pairs().collect::<Vec<_>>(), received);
    }

    #[test]
    fn accepted_queries_decode_without_control_characters(raw in "([!-~]|%[0-9a-fA-F]{2}){0,12}") {
        let Ok(query) = Query::parse(Some(&raw)) else { return Ok(()) };
        for (key, value) in query.pairs() {
            let control = |c: char| c.is_control() && c != '\n' && c != '\t';
            prop_assert!(!key.contains(control) && !value.contains(control), "{:?}", raw);
        }
    }
}

fn form_urlencoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
