use proptest::prelude::*;

use super::super::{Authority, BoundHost, WebOrigin};

/// Hostnames and things that look like them.
fn hostnames() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![Just(""), Just("https://"), Just("http://"), Just("HTTP://")];
    let host = prop_oneof![
        "[a-cA-C]{1,3}(\\.[a-c]{1,3}){0,2}\\.?",
        "(app|sub\\.app|evilapp)\\.test",
        "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}",
        "\\[[0-9a-f:]{2,12}\\]",
        "xn--[a-z0-9-]{0,8}",
        any::<String>(),
    ];
    let port = prop_oneof![Just(String::new()), "(:[0-9]{0,6})", Just(":443".to_owned())];
    (scheme, host, port).prop_map(|(scheme, host, port)| format!("{scheme}{host}{port}"))
}

/// The host of a serialised bound host, without scheme and port.
fn name_of(serialised: &str) -> &str {
    let rest = serialised.split_once("://").map_or(serialised, |(_, rest)| rest);
    match rest.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => rest,
    }
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(hostname in hostnames()) {
        if let Ok(bound) = BoundHost::parse(&hostname) {
            prop_assert_eq!(BoundHost::parse(bound.serialised()), Ok(bound));
        }
    }

    #[test]
    fn origin_matches_only_its_own_host(hostname in hostnames(), origin in hostnames()) {
        let (Ok(bound), Some(origin)) =
            (BoundHost::parse(&hostname), WebOrigin::parse(origin.as_bytes()))
        else {
            return Ok(());
        };
        let matches = bound.matches_origin(&origin);
        let shown = origin.to_string().to_ascii_lowercase();
        if matches {
            prop_assert_eq!(name_of(bound.serialised()), name_of(&shown));
        }
        let asked = origin.matching_bound_hosts();
        prop_assert_eq!(asked.iter().any(|host| host == bound.serialised()), matches);
    }

    #[test]
    fn bound_origin_matches_itself(hostname in hostnames()) {
        let Ok(bound) = BoundHost::parse(&hostname) else { return Ok(()) };
        let serialised = bound.serialised();
        let origin =
            if serialised.contains("://") { serialised.to_owned() } else { format!("https://{serialised}") };
        let origin = WebOrigin::parse(origin.as_bytes());
        prop_assert!(origin.is_some_and(|origin| bound.matches_origin(&origin)), "{}", serialised);
    }

    #[test]
    fn host_matches_only_its_own_name(hostname in hostnames(), header in hostnames()) {
        let (Ok(bound), Some(host)) =
            (BoundHost::parse(&hostname), Authority::parse(header.as_bytes()))
        else {
            return Ok(());
        };
        if bound.matches_host(&host) {
            prop_assert_eq!(name_of(bound.serialised()).as_bytes(), host.name().to_ascii_lowercase());
        }
    }

    #[test]
    fn parsing_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = Authority::parse(&bytes);
        let _ = WebOrigin::parse(&bytes);
        let _ = BoundHost::parse(&String::from_utf8_lossy(&bytes));
    }
}
