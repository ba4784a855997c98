use super::super::{Authority, BoundHost, HOSTNAME_LENGTH_MAX, InvalidHostname};

/// What a hostname field is bound as.
#[track_caller]
fn check(hostname: &str, expected: Result<&str, InvalidHostname>) {
    let bound = BoundHost::parse(hostname);
    assert_eq!(
        bound.as_ref().map(BoundHost::serialised),
        expected.as_ref().copied(),
        "{hostname:?}"
    );
    if let Ok(bound) = bound {
        assert_eq!(BoundHost::parse(bound.serialised()), Ok(bound), "{hostname:?} twice");
    }
}

/// Whether a `Host` header is one, and is for the host that `bound` names.
#[track_caller]
fn check_host(bound: &str, header: &str, expected: Option<bool>) {
    let bound = BoundHost::parse(bound).unwrap();
    let matches = Authority::parse(header.as_bytes()).map(|host| bound.matches_host(&host));
    assert_eq!(matches, expected, "{header:?} for {bound}");
}

/// Attack O-08: an origin, or a bare host with or without port.
#[test]
fn hostname_is_normalised_once() {
    check("https://app.test", Ok("https://app.test"));
    check("http://localhost:3000", Ok("http://localhost:3000"));
    check("app.test", Ok("app.test"));
    check("app.test:3000", Ok("app.test:3000"));
    check("HTTPS://App.Test", Ok("https://app.test"));
    check("https://app.test/", Ok("https://app.test"));
    check("app.test/", Ok("app.test"));
    check("https://app.test.", Ok("https://app.test"));
    check("https://app.test:443", Ok("https://app.test"));
    check("http://app.test:80", Ok("http://app.test"));
    check("https://app.test:80", Ok("https://app.test:80"));
    check("app.test:443", Ok("app.test:443"));
    check("my_app.test", Ok("my_app.test"));
    check("hostname", Ok("hostname"));
}

#[test]
fn names_are_bound_as_browsers_serialise_them() {
    check("https://bücher.test", Ok("https://xn--bcher-kva.test"));
    check("BÜCHER.test", Ok("xn--bcher-kva.test"));
    check("xn--bcher-kva.test", Ok("xn--bcher-kva.test"));
    check("app。test", Ok("app.test"));
    check("ａｐｐ.test", Ok("app.test"));
}

#[test]
fn addresses_are_bound_in_canonical_form() {
    check("https://[0:0:0:0:0:0:0:1]:8443", Ok("https://[::1]:8443"));
    check("[::1]", Ok("[::1]"));
    check("[2001:DB8::1]:80", Ok("[2001:db8::1]:80"));
    check("127.0.0.1", Ok("127.0.0.1"));
    check("http://127.1", Ok("http://127.0.0.1"));
    check("0x7f.0.0.1", Ok("127.0.0.1"));
}

/// Attack O-08.
#[test]
fn what_is_not_one_host_cannot_be_bound() {
    use InvalidHostname::{
        Blank, Empty, Fragment, Host, Path, Port, Query, Scheme, UserInfo, Wildcard,
    };
    for (hostname, refusal) in [
        ("", Empty),
        ("https://", Empty),
        ("/", Empty),
        ("https:///", Empty),
        ("*", Wildcard),
        ("https://*.app.test", Wildcard),
        ("*.test", Wildcard),
        ("https://app.test/path", Path),
        ("app.test/path", Path),
        ("https://app.test//", Path),
        ("https:/app.test", Path),
        ("https:app.test", Port),
        ("//app.test", Path),
        ("https://evil.com\\app.test", Path),
        ("https://app.test?", Query),
        ("https://app.test?x=1", Query),
        ("https://app.test#", Fragment),
        ("https://evil.com#app.test", Fragment),
        ("https://user@app.test", UserInfo),
        ("https://app.test@evil.com", UserInfo),
        ("https://u:p@app.test", UserInfo),
        ("ftp://app.test", Scheme),
        ("ws://app.test", Scheme),
        ("javascript://app.test", Scheme),
        ("://app.test", Scheme),
        ("https://app.test, https://evil.com", Blank),
        ("app.test evil.com", Blank),
        (" app.test", Blank),
        ("app.test\n", Blank),
        ("app.test\0", Blank),
        ("app\u{a0}test", Blank),
        ("app.test:", Port),
        ("app.test:0", Port),
        ("app.test:080", Port),
        ("app.test:+80", Port),
        ("app.test:65536", Port),
        ("app.test:99999", Port),
        ("app.test:80:80", Port),
        ("app.test:http", Port),
        ("::1", Port),
        ("[::1", Port),
        ("[::1]:", Port),
        ("[::1]x", Host),
        ("[::1]x:80", Host),
        ("[::1%25eth0]", Host),
        ("[]", Host),
        (".", Host),
        ("..", Host),
        (".app.test", Host),
        ("app..test", Host),
        ("app.test..", Host),
        ("app,test", Host),
        ("app.test%00.evil.com", Host),
        ("app%2etest", Host),
        ("1.2.3.4.5", Host),
        ("256.0.0.1", Host),
        ("app.test|evil", Host),
        ("a\"b", Host),
        ("xn--a", Host),
    ] {
        check(hostname, Err(refusal));
    }
}

#[test]
fn overlong_hostnames_are_refused() {
    let label = "a".repeat(60);
    let long = |labels: usize| vec![label.as_str(); labels].join(".");
    assert!(BoundHost::parse(&long(4)).is_ok());
    check(&long(5), Err(InvalidHostname::Host));
    check(&"a".repeat(HOSTNAME_LENGTH_MAX + 1), Err(InvalidHostname::TooLong));
    check(&"ü".repeat(HOSTNAME_LENGTH_MAX), Err(InvalidHostname::TooLong));
}

/// Design: a page served from its own gate sends no `Origin` on GET.
#[test]
fn host_header_matches_the_bound_host_and_port() {
    check_host("https://app.test", "app.test", Some(true));
    check_host("https://app.test", "APP.test", Some(true));
    check_host("https://app.test", "app.test.", Some(true));
    check_host("https://app.test", "app.test:443", Some(true));
    check_host("https://app.test", "app.test:80", Some(false));
    check_host("https://app.test", "app.test:8443", Some(false));
    check_host("https://app.test:8443", "app.test:8443", Some(true));
    check_host("https://app.test:8443", "app.test", Some(false));
    check_host("http://app.test", "app.test:80", Some(true));
    check_host("app.test", "app.test:1234", Some(true));
    check_host("app.test:80", "app.test", Some(false));
    check_host("app.test:80", "app.test:80", Some(true));
    check_host("[::1]", "[::1]:8284", Some(true));
    check_host("[::1]:80", "[::1]:81", Some(false));
}

#[test]
fn host_header_never_matches_by_suffix_or_prefix() {
    for header in
        ["app.test.evil.com", "evilapp.test", "sub.app.test", "app.testx", "app-test", "test"]
    {
        check_host("app.test", header, Some(false));
    }
}

/// Attack H-03.
#[test]
fn malformed_host_headers_are_no_host() {
    for header in [
        "",
        ".",
        "a, b",
        "a,b",
        "a b",
        " a",
        "a ",
        "a\tb",
        "a\0",
        "u@gw.test",
        "u:p@gw.test",
        "gw.test:",
        "gw.test:0",
        "gw.test:00080",
        "gw.test:99999",
        "gw.test:65536",
        "gw.test:-1",
        "gw.test:+80",
        "gw.test:80:80",
        "gw.test:8o",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]:",
        "[::1]:0",
        "[::1]]",
        "[::1%25eth0]",
        "[gw.test]",
        "[]",
        "gw..test",
        ".gw.test",
        "gw.test..",
        "xn--",
        "xn--a.test",
        "XN--\u{e4}",
        "gw.test/v1/health",
        "gw.test/v1/health?",
        "gw.test?",
        "gw.test#",
        "x/v1/health?",
        "gw:8283/v1/health/?",
        "gw.test\\",
        "gw%2etest",
        "*",
        "bücher.test",
    ] {
        check_host("gw.test", header, None);
    }
    assert!(Authority::parse(b"gw\xff.test").is_none());
    assert!(Authority::parse("a".repeat(254).as_bytes()).is_none());
}

#[test]
fn host_headers_are_shown_as_received() {
    for header in ["GW.Test", "gw.test.", "gw.test:80", "[::1]:80", "xn--bcher-kva.test"] {
        assert_eq!(Authority::parse(header.as_bytes()).unwrap().to_string(), header);
    }
}
