//! Hosts and origins: what is bound is normal, reads the same to the parser of browsers, and matches
//! nothing but itself.

#![no_main]

use ckgate::policy::{Authority, BoundHost, WebOrigin};
use libfuzzer_sys::fuzz_target;
use url::Url;

// A line of what a token is bound to, then a header's value.
fuzz_target!(|input: &str| {
    let (hostname, header) = input.split_once('\n').unwrap_or((input, input));
    let header = header.as_bytes();
    let host = Authority::parse(header);
    let origin = WebOrigin::parse(header);
    if let Some(origin) = &origin {
        let shown = origin.to_string();
        let again = WebOrigin::parse(shown.as_bytes()).expect("a shown origin is one");
        assert_eq!(again.to_string(), shown);
    }
    let Ok(bound) = BoundHost::parse(hostname) else { return };
    let serialised = bound.serialised();
    assert_eq!(BoundHost::parse(serialised).as_ref(), Ok(&bound));
    let url = match serialised.contains("://") {
        true => serialised.to_owned(),
        false => format!("https://{serialised}"),
    };
    let url = Url::parse(&url).expect("browsers read it");
    let name = url.host_str().expect("with a host").to_owned();
    assert!(url.path() == "/" && url.username().is_empty() && url.query().is_none());
    if let Some(host) = host
        && bound.matches_host(&host)
    {
        assert_eq!(host.name().to_ascii_lowercase(), name.as_bytes());
    }
    if let Some(origin) = origin {
        let matches = bound.matches_origin(&origin);
        let asked = origin.matching_bound_hosts();
        assert_eq!(asked.iter().any(|host| host == serialised), matches);
        if matches {
            let origin = Url::parse(&origin.to_string()).expect("browsers read it");
            assert_eq!(origin.host_str().map(str::to_owned), Some(name));
        }
    }
});
