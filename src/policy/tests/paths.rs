use http::Method;
use proptest::prelude::*;

use super::super::path::decode;
use super::super::{CanonicalPath, Denial, PathRefusal, Permission};
use super::{A, B, asked, built_in, grant, permit};

/// What a path as received comes to; `{A}` and `{B}` stand for the agents.
#[track_caller]
fn check(raw: &str, expected: Result<(), PathRefusal>) {
    let raw = raw.replace("{A}", A).replace("{B}", B);
    assert_eq!(CanonicalPath::parse(&raw).map(|_| ()), expected, "{raw:?}");
}

/// Whether a canonical path opens anything to a token with every permission on A.
#[track_caller]
fn check_closed(target: &str) {
    let target = target.replace("{A}", A).replace("{B}", B);
    let routes = built_in();
    let grant = grant(&[(A, &Permission::ALL)]);
    let denial = permit(routes, &grant, &asked(&Method::GET, &target), b"").unwrap_err();
    let closed = matches!(denial, Denial::RouteNotAllowed { .. } | Denial::PermissionDenied { .. });
    assert!(closed, "{target}: {denial:?}");
}

#[test]
fn plain_paths_are_canonical() {
    for path in ["/", "/v1/agents/", "/v1/agents/{A}", "/v1/agents/{A}/messages", "/a/...", "/~a"] {
        check(path, Ok(()));
    }
}

#[test]
fn one_trailing_slash_is_told_apart() {
    let with = CanonicalPath::parse("/v1/agents/").unwrap();
    let without = CanonicalPath::parse("/v1/agents").unwrap();
    assert!(with.has_trailing_slash() && !without.has_trailing_slash());
    assert_eq!((with.text(), without.text()), ("/v1/agents", "/v1/agents"));
    let root = CanonicalPath::parse("/").unwrap();
    assert!(root.has_trailing_slash());
    assert_eq!(root.text(), "");
}

/// Attacks P-01 and P-22.
#[test]
fn dot_segments_are_refused() {
    for path in [
        "/v1/agents/{A}/../{B}/messages",
        "/v1/agents/{A}/./messages",
        "/..",
        "/.",
        "/../",
        "/a/b/../../../../c",
        "/v1/agents/{A}/..",
    ] {
        check(path, Err(PathRefusal::DotSegment));
    }
}

/// Attacks P-02 and P-22.
#[test]
fn escaped_dots_are_refused() {
    for segment in ["%2e%2e", "%2E.", ".%2e", "%2e", ".%2E", "%2E%2E", "%2e%2e%2e%2e"] {
        let refusal = if segment.contains("%2e") {
            PathRefusal::MalformedEscape
        } else {
            PathRefusal::Escape
        };
        check(&format!("/v1/agents/{{A}}/{segment}/{{B}}/messages"), Err(refusal));
    }
}

/// Attack P-03.
#[test]
fn escaped_separators_are_refused() {
    check("/v1%2Fagents%2F{B}%2Fmessages", Err(PathRefusal::Escape));
    check("/v1/agents/{B}%2Fmessages", Err(PathRefusal::Escape));
    check("/v1/agents/{B}%2fmessages", Err(PathRefusal::MalformedEscape));
    check("/v1/agents/{B}%5Cmessages", Err(PathRefusal::Escape));
}

/// Attack P-04.
#[test]
fn escapes_of_characters_that_need_none_are_refused() {
    check("/v1/%61gents/{B}/messages", Err(PathRefusal::Escape));
    let escaped = B.replacen('a', "%61", 1);
    check(&format!("/v1/agents/{escaped}/messages"), Err(PathRefusal::Escape));
    check("/v1/agents/{B}/%6Dessages", Err(PathRefusal::Escape));
    check("/v1/%7Euser", Err(PathRefusal::Escape));
}

/// Attacks P-05 and P-16.
#[test]
fn other_doors_and_other_cases_are_closed() {
    check_closed("/latest/agents/{A}/messages");
    check_closed("/V1/AGENTS/{A}/MESSAGES");
    check_closed("/v1/Agents/{A}/messages");
    check_closed(&format!("/v1/agents/{}/messages", A.to_uppercase()));
    check_closed("/v1/agents/AGENT-11111111-1111-4111-8111-111111111111");
}

/// Attack P-06.
#[test]
fn empty_segments_are_refused() {
    for path in [
        "//v1/agents/{A}/messages",
        "/v1//agents/{A}/messages",
        "/v1/agents/{A}//messages",
        "/v1/agents/{A}/messages//",
        "//",
        "///",
    ] {
        check(path, Err(PathRefusal::EmptySegment));
    }
}

/// Attack P-07.
#[test]
fn double_escapes_are_refused() {
    for path in
        ["/v1/agents/{A}/messages%252f..%252f..%252f{B}", "/v1/agents/{A}/%252e%252e/{B}", "/%25"]
    {
        check(path, Err(PathRefusal::Escape));
    }
}

/// Attack P-08.
#[test]
fn path_parameters_are_refused() {
    for path in
        ["/v1/agents/{A};x=1/messages", "/v1/agents/{A}/messages;{B}", "/v1/agents/..;/{B}", "/;"]
    {
        check(path, Err(PathRefusal::Character));
    }
    check("/v1/agents/{A}%3Bx=1/messages", Err(PathRefusal::Escape));
}

/// Attack P-10.
#[test]
fn fragments_are_refused() {
    check("/v1/agents/{A}/messages#/../../{B}/messages", Err(PathRefusal::Character));
    check("/v1/agents/{A}#", Err(PathRefusal::Character));
    check("/v1/agents/{A}%23", Err(PathRefusal::Escape));
    check("/v1/agents/{A}%3Fx", Err(PathRefusal::Escape));
}

/// Attacks P-11 and P-13.
#[test]
fn control_characters_are_refused_escaped_or_raw() {
    for byte in (0..0x20).chain([0x7f]) {
        check(&format!("/v1/agents/{{A}}/messages%{byte:02X}x"), Err(PathRefusal::Escape));
        let raw = format!("/v1/agents/{{A}}/messages{}x", char::from(byte));
        check(&raw, Err(PathRefusal::Character));
    }
    check("/v1/agents/{A}/messages%0D%0AX-Injected:%20y", Err(PathRefusal::Escape));
    check("/v1/agents/{A}/messages%0d%0aX-Injected:%20y", Err(PathRefusal::MalformedEscape));
}

/// Attack P-15: one slash more is the same route, and is sent in the route's own form.
#[test]
fn trailing_slash_is_sent_in_the_routes_own_form() {
    let routes = built_in();
    let grant = grant(&[(A, &Permission::ALL)]);
    for target in [format!("/v1/agents/{A}/messages"), format!("/v1/agents/{A}/messages/")] {
        let permit = permit(routes, &grant, &asked(&Method::GET, &target), b"").unwrap();
        assert_eq!(permit.target(), format!("/v1/agents/{A}/messages"));
    }
}

/// Attack P-17.
#[test]
fn other_forms_of_target_are_no_path() {
    for target in ["http://gw.test/v1/agents/{B}", "*", "evil:80", "", "v1/agents", "?x", "#"] {
        check(target, Err(PathRefusal::NotAbsolute));
    }
}

/// Attack P-20.
#[test]
fn characters_outside_a_path_are_refused() {
    for c in ['\\', '"', '<', '>', '^', '`', '{', '|', '}', ' ', '[', ']', '?', 'ä'] {
        let raw = format!("/v1/{c}");
        assert_eq!(CanonicalPath::parse(&raw), Err(PathRefusal::Character), "{raw}");
    }
    for path in ["/%zz", "/%", "/%4", "/%4g", "/%C3%A", "/%u0041"] {
        check(path, Err(PathRefusal::MalformedEscape));
    }
}

/// Attack P-20: only what decodes to UTF-8 is text.
#[test]
fn escapes_that_are_not_utf8_are_refused() {
    check("/v1/%C3%A4", Ok(()));
    for path in ["/v1/%C3", "/v1/%FF", "/v1/%C0%AF", "/v1/%ED%A0%80", "/%C3/%A4"] {
        check(path, Err(PathRefusal::NotUtf8));
    }
}

/// Attack P-22.
#[test]
fn longer_runs_of_dots_are_ordinary_names() {
    check("/....//v1/admin", Err(PathRefusal::EmptySegment));
    check("/..../v1/admin", Ok(()));
    check_closed("/..../v1/admin");
}

/// Attack P-21.
#[test]
fn query_never_changes_which_path_is_judged() {
    let routes = built_in();
    let grant = grant(&[(A, &Permission::ALL)]);
    for query in ["x=/../B", "agent_id=B", "%2E%2E", "path=/v1/agents/"] {
        let target = format!("/v1/agents/{A}/messages?{query}");
        let denial = permit(routes, &grant, &asked(&Method::GET, &target), b"").unwrap_err();
        assert_eq!(denial.code(), "parameter_not_allowed", "{query}");
    }
}

/// Paths made of the pieces that attacks are made of.
fn hostile_paths() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just(".".to_owned()),
        Just("v1".to_owned()),
        Just("agents".to_owned()),
        Just(A.to_owned()),
        Just("messages".to_owned()),
        Just(";".to_owned()),
        any::<u8>().prop_map(|byte| format!("%{byte:02X}")),
        any::<u8>().prop_map(|byte| format!("%{byte:02x}")),
        any::<char>().prop_map(String::from),
        "[!-~]{1,3}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn canonicalising_twice_changes_nothing(raw in hostile_paths()) {
        if let Ok(path) = CanonicalPath::parse(&raw) {
            let once = path.to_string();
            prop_assert_eq!(&once, &raw);
            prop_assert_eq!(CanonicalPath::parse(&once).unwrap(), path);
        }
    }

    #[test]
    fn accepted_paths_decode_to_plain_segments(raw in hostile_paths()) {
        let Ok(path) = CanonicalPath::parse(&raw) else { return Ok(()) };
        for segment in path.text().split('/').skip(1) {
            let text = decode(segment).unwrap();
            prop_assert!(!text.is_empty() && text != "." && text != "..", "{}", text);
            let separator = |c: char| matches!(c, '/' | '\\' | ';' | '?' | '#' | '%' | '\0'..='\x1f' | '\x7f');
            prop_assert!(!text.contains(separator), "{:?}", text);
        }
    }

    #[test]
    fn parsing_never_panics(raw in any::<String>()) {
        let _ = CanonicalPath::parse(&raw);
    }
}
