use std::collections::BTreeSet;
use std::net::IpAddr;

use super::reader::Section;

/// Where a client's address is taken from, which is for the log only: nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ClientAddress {
    /// The proxies in front that are believed. From `proxies.addresses`, default none.
    pub addresses: BTreeSet<IpAddr>,
    /// How they tell. From `proxies.tell`, default by the PROXY protocol.
    pub told: Told,
}

/// How a proxy in front tells a client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Told {
    /// By a header of the PROXY protocol, version 2, at the beginning of each connection.
    #[default]
    ProxyProtocol,
    /// By the last address of `X-Forwarded-For`.
    XForwardedFor,
    /// By `X-Real-IP`.
    XRealIp,
}

impl ClientAddress {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let words = [
            ("proxy_protocol", Told::ProxyProtocol),
            ("x-forwarded-for", Told::XForwardedFor),
            ("x-real-ip", Told::XRealIp),
        ];
        Self {
            addresses: section.addresses("addresses"),
            told: section.word("tell", Told::ProxyProtocol, &words),
        }
    }
}
