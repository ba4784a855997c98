use std::collections::BTreeSet;
use std::net::IpAddr;

use super::listen::Listen;
use super::problem::Place;
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
        let peers = section.addresses("peers");
        let listens = listen.decision.is_some() || listen.decision_grpc.is_some();
        if listens && peers.is_empty() {
            let path = section.path("peers");
            let message =
                format!("the decision API listens, but `{path}` names nobody who may ask");
            section.context.problem(Place::Whole, message);
        }
        let dangerous_uncut_streams = section.boolean("dangerous_uncut_streams", false);
        Self { peers, dangerous_uncut_streams }
    }
}
