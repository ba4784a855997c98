//! Documents for people: a guide, a recipe, and a page for each refusal.
//!
//! Owns prose; its Rust is tested. Leaves the reference to each module. Must always hold: every code
//! that the gate answers with has a page of that name.

#[doc = include_str!("guide.md")]
pub mod guide {}

#[doc = include_str!("letta_cloud.md")]
pub mod letta_cloud {}

/// A page for each code: what it means, what to change. A message ends with the name of its page.
pub mod refusals {
    macro_rules! pages {
        ($($code:ident)*) => {
            $(
                #[doc = include_str!(concat!("refusals/", stringify!($code), ".md"))]
                pub mod $code {}
            )*

            /// Every page, by its code.
            pub const PAGES: &[(&str, &str)] = &[
                $((stringify!($code), include_str!(concat!("refusals/", stringify!($code), ".md"))),)*
            ];
        };
    }

    pages! {
        malformed_request
        misdirected_request
        token_missing
        token_invalid
        token_expired
        hostname_mismatch
        route_not_allowed
        permission_denied
        parameter_not_allowed
        origin_not_allowed
        rate_limited
        too_many_streams
        store_unavailable
        owner_unavailable
        upstream_unavailable
        upstream_timeout
        upstream_invalid
        proxy_required
        peer_not_allowed
        question_malformed
        invalid_request
        token_not_found
        not_found
        internal_error
        token_revoked
        stream_too_long
        gate_shutdown
        credential_missing
        credential_wrong
    }
}

/// The page of a code.
#[must_use]
pub fn refusal(code: &str) -> Option<&'static str> {
    refusals::PAGES.iter().find(|(name, _)| *name == code).map(|(_, page)| *page)
}
