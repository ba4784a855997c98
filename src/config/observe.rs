use std::path::PathBuf;

use super::http_target::HttpTarget;
use super::reader::Section;

/// Where refusals and changes of tokens are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The file that entries are appended to. Default: not set, no audit log is kept.
    pub file: Option<PathBuf>,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// The collector. Default: not set, there are no traces.
    pub collector: Option<Collector>,
    /// One request in so many is traced. Default 1, each.
    pub sample_one_in: u32,
}

/// A collector that takes OTLP over HTTP. From `endpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// `host:port` as it is sent in `Host`.
    pub authority: String,
    /// The host to connect to.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// Whether it is spoken to within TLS; its certificate is verified by the web's authorities.
    pub is_tls: bool,
}

impl Audit {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { file: section.file("file") }
    }
}

impl Traces {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let collector = section.parsed("endpoint", |url| {
            let HttpTarget { is_tls, authority, host, port, .. } = HttpTarget::parse(url)?;
            Ok::<_, String>(Collector { authority, host, port, is_tls })
        });
        Self { collector, sample_one_in: section.integer("sample_one_in", 1, 1..=1_000_000_000) }
    }

    /// One request in so many is traced; 0 where none is.
    #[must_use]
    pub fn one_in(&self) -> u32 {
        self.collector.as_ref().map_or(0, |_| self.sample_one_in)
    }
}
