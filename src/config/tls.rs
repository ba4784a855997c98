use std::path::PathBuf;
use std::time::Duration;

use super::problem::Place;
use super::reader::Section;
use super::{days, millis, minutes, seconds};
use crate::tls::PairFiles;

/// Which certificates the gate shows, and how much a handshake may ask of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// With any, the public listener speaks TLS and nothing else, and so does `listen.control`. A
    /// client is shown the first that is for the name it asks for, else the first. Default: none.
    pub certificates: Vec<PairFiles>,
    /// What the admin listener speaks. Default HTTP in the clear.
    pub admin: AdminListener,
    /// The authorities that must have signed the certificates of the admin listener's clients.
    /// Default: not set, clients need none.
    pub admin_clients: Option<PathBuf>,
    /// Longest time for a handshake. Default 10 s.
    pub handshake_timeout: Duration,
    /// Handshakes under way at once; the admin listener has as many of its own. Default 512.
    pub handshakes_max: usize,
    /// How long browsers are told to ask this host within TLS only, whole seconds; none: they are not
    /// told. Default none.
    pub strict_transport: Duration,
}

/// What the admin listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminListener {
    /// HTTP in the clear.
    Clear,
    /// HTTP within TLS.
    Tls,
}

impl Tls {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let words = [("clear", AdminListener::Clear), ("tls", AdminListener::Tls)];
        let tls = Self {
            certificates: certificates(section),
            admin: section.word("admin", AdminListener::Clear, &words),
            admin_clients: section.file("admin_clients"),
            handshake_timeout: section.duration(
                "handshake_timeout",
                seconds(10),
                millis(100)..=minutes(10),
            ),
            handshakes_max: section.integer("handshakes_max", 512, 1..=100_000),
            strict_transport: section.duration(
                "strict_transport",
                seconds(0),
                seconds(0)..=days(3650),
            ),
        };
        let mut report = |message: &str| section.context.problem(Place::Whole, message);
        if tls.admin == AdminListener::Tls && tls.certificates.is_empty() {
            report("`tls.admin` is \"tls\", and there is nothing in `tls.certificates`");
        }
        if tls.admin == AdminListener::Clear && tls.admin_clients.is_some() {
            report("`tls.admin_clients` needs `tls.admin = \"tls\"`");
        }
        tls
    }
}

fn certificates(section: &mut Section<'_>) -> Vec<PairFiles> {
    let path = section.path("certificates");
    let Some(list) = section.take("certificates") else { return Vec::new() };
    let pairs = section.context.read_each(&path, list, |pair, place| {
        let (has_either, path) = (pair.has("certificate") || pair.has("key"), pair.path(""));
        let files = pair.pair();
        if files.is_none() && !has_either {
            let path = path.trim_end_matches('.');
            pair.context.problem(place, format!("`{path}` must have `certificate` and `key`"));
        }
        files
    });
    pairs.into_iter().flatten().collect()
}
