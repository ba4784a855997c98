use std::collections::BTreeSet;
use std::net::IpAddr;

use super::problem::{Place, quoted};
use super::raw::Value;
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
            addresses: addresses(section),
            told: section.word("tell", Told::ProxyProtocol, &words),
        }
    }
}

fn addresses(section: &mut Section<'_>) -> BTreeSet<IpAddr> {
    let path = section.path("addresses");
    let Some(node) = section.take("addresses") else { return BTreeSet::new() };
    let Value::List(items) = node.value else {
        let message = format!("`{path}` must be a list, not {}", node.value.kind());
        section.context.problem(node.place, message);
        return BTreeSet::new();
    };
    let mut addresses = BTreeSet::new();
    for item in items {
        let place: Place = item.place;
        let found = match &item.value {
            Value::Text(text) => text.parse::<IpAddr>().map_err(|_| quoted(text)),
            other => Err(other.kind().to_owned()),
        };
        match found {
            Ok(address) => {
                addresses.insert(address.to_canonical());
            }
            Err(found) => {
                let message = format!("`{path}` must hold IP addresses, not {found}");
                section.context.problem(place, message);
            }
        }
    }
    addresses
}
