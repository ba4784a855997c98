use std::collections::BTreeSet;
use std::net::IpAddr;

use super::listen::Listen;
use super::problem::{Place, quoted};
use super::raw::Value;
use super::reader::Section;

/// Who may ask the decision API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The addresses of the proxies that may ask. Default: none.
    pub peers: BTreeSet<IpAddr>,
    /// Whether such a proxy may forward what may be answered by a stream, although the stream is
    /// neither counted nor ended with its token. Default: no.
    pub dangerous_uncut_streams: bool,
}

impl Decision {
    pub(super) fn read(section: &mut Section<'_>, listen: &Listen) -> Self {
        let path = section.path("peers");
        let node = section.take("peers");
        let context = &mut *section.context;
        let mut peers = BTreeSet::new();
        match node.map(|node| (node.place, node.value)) {
            None => {}
            Some((_, Value::List(items))) => {
                for (at, item) in items.into_iter().enumerate() {
                    match &item.value {
                        Value::Text(text) => match text.parse::<IpAddr>() {
                            Ok(address) => {
                                peers.insert(address.to_canonical());
                            }
                            Err(_) => context.problem(
                                item.place,
                                format!(
                                    "`{path}[{at}]` must be an IP address, not {}",
                                    quoted(text)
                                ),
                            ),
                        },
                        other => context.problem(
                            item.place,
                            format!("`{path}[{at}]` must be a string, not {}", other.kind()),
                        ),
                    }
                }
            }
            Some((place, other)) => {
                context.problem(place, format!("`{path}` must be a list, not {}", other.kind()));
            }
        }
        let listens = listen.decision.is_some() || listen.decision_grpc.is_some();
        if listens && peers.is_empty() {
            let message =
                format!("the decision API listens, but `{path}` names nobody who may ask");
            context.problem(Place::Whole, message);
        }
        let dangerous_uncut_streams = section.boolean("dangerous_uncut_streams", false);
        Self { peers, dangerous_uncut_streams }
    }
}
