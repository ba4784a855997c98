use super::super::{BoundHost, WebOrigin};

/// Whether an `Origin` value comes from the bound host; what is not one origin never does.
#[track_caller]
fn check(bound: &str, origin: &str, expected: bool) {
    let bound = BoundHost::parse(bound).unwrap();
    let origin = WebOrigin::parse(origin.as_bytes());
    let matches = origin.is_some_and(|origin| bound.matches_origin(&origin));
    assert_eq!(matches, expected, "{origin:?} for {bound}");
    if let Some(origin) = origin {
        let asked = origin.matching_bound_hosts();
        let asked_for = asked.iter().any(|host| host == bound.serialised());
        assert_eq!(asked_for, expected, "preflight of {origin} for {bound}");
    }
}

/// Attack O-01.
#[test]
fn bound_origin_matches() {
    check("https://app.test", "https://app.test", true);
    check("http://localhost:3000", "http://localhost:3000", true);
    check("https://[::1]:8443", "https://[::1]:8443", true);
}

/// Attack O-02.
#[test]
fn null_never_matches() {
    for bound in ["https://app.test", "app.test", "null", "https://null"] {
        check(bound, "null", false);
    }
}

/// Attack O-03.
#[test]
fn relatives_of_the_bound_name_never_match() {
    for origin in [
        "https://app.test.evil.com",
        "https://evilapp.test",
        "https://app.testx",
        "https://sub.app.test",
        "https://app-test",
        "https://appXtest",
        "https://test",
        "https://pp.test",
    ] {
        for bound in ["https://app.test", "app.test", "app.test:443"] {
            check(bound, origin, false);
        }
    }
}

/// Attack O-04.
#[test]
fn only_default_port_and_case_are_the_same_origin() {
    check("https://app.test", "https://app.test:443", true);
    check("https://app.test", "https://APP.TEST", true);
    check("https://app.test", "HTTPS://app.test", true);
    for origin in [
        "http://app.test",
        "https://app.test:8443",
        "https://app.test:80",
        "https://app.test.",
        "https://app.test/",
        "https://app.test?",
        "https://app.test#",
    ] {
        check("https://app.test", origin, false);
    }
}

/// Attack O-05.
#[test]
fn what_is_not_one_origin_never_matches() {
    for origin in [
        "",
        "https://",
        "https://app.test@evil.com",
        "https://evil.com#app.test",
        "https://evil.com\\@app.test",
        "https://app.test%00.evil.com",
        "https://app.test\0.evil.com",
        "https:app.test",
        "https:/app.test",
        "//app.test",
        "app.test",
        "https://app.test, https://evil.com",
        "https://app.test https://evil.com",
        "https://app.test:443:443",
        "https://app.test:",
        "https://app.test:0443",
        " https://app.test",
        "https://app.test ",
        "https://user@app.test",
        "ftp://app.test",
        "file://",
        "chrome-extension://app.test",
        "https://https://app.test",
        "https://app.test\u{feff}",
    ] {
        for bound in ["https://app.test", "app.test"] {
            check(bound, origin, false);
        }
    }
    assert!(WebOrigin::parse(b"https://app.test\xff").is_none());
}

/// Attack O-08.
#[test]
fn bare_host_matches_both_schemes_and_any_port() {
    for origin in
        ["https://app.test", "http://app.test", "http://app.test:3000", "https://app.test:8443"]
    {
        check("app.test", origin, true);
    }
    check("app.test", "https://app.test.", false);
}

#[test]
fn bare_host_with_port_matches_that_port_alone() {
    check("app.test:3000", "http://app.test:3000", true);
    check("app.test:3000", "https://app.test:3000", true);
    check("app.test:3000", "http://app.test", false);
    check("app.test:443", "https://app.test", true);
    check("app.test:443", "http://app.test", false);
    check("app.test:80", "http://app.test", true);
}

/// A spelling that no browser sends is a mismatch, never a guess.
#[test]
fn other_spellings_of_an_address_do_not_match() {
    check("http://127.0.0.1", "http://127.1", false);
    check("http://[::1]", "http://[0:0:0:0:0:0:0:1]", false);
    check("https://xn--bcher-kva.test", "https://xn--bcher-kva.test", true);
    check("https://bücher.test", "https://bücher.test", false);
}

#[test]
fn origin_is_shown_without_its_default_port() {
    for (value, shown) in [
        ("https://app.test:443", "https://app.test"),
        ("http://app.test:80", "http://app.test"),
        ("http://app.test:443", "http://app.test:443"),
    ] {
        assert_eq!(WebOrigin::parse(value.as_bytes()).unwrap().to_string(), shown);
    }
}
