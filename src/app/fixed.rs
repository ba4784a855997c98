//! What a running gate cannot change: it holds from the next start on, and the operator is told.

use crate::config::{
    Audit, Cache, Collector, Config, Listen, LogFormat, Revocation, Server, SharedBy, StoreConfig,
};

/// The parts of a configuration that a gate was started with and keeps.
pub(super) struct Fixed {
    listen: Listen,
    store: StoreConfig,
    cache: Cache,
    revocation: Revocation,
    server: Server,
    shared_by: SharedBy,
    log_format: LogFormat,
    audit: Audit,
    collector: Option<Collector>,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            store: config.store.clone(),
            cache: config.cache.clone(),
            revocation: config.revocation.clone(),
            server: config.server.clone(),
            shared_by: config.limits.shared_by,
            log_format: config.log.format,
            audit: config.audit.clone(),
            collector: config.traces.collector.clone(),
        }
    }

    /// The keys, or sections of keys, that another configuration has otherwise.
    pub(super) fn changed_in(&self, config: &Config) -> Vec<&'static str> {
        let other = Self::of(config);
        let changes = [
            ("listen", self.listen != other.listen),
            ("store", self.store != other.store),
            ("cache", self.cache != other.cache),
            ("revocation", self.revocation != other.revocation),
            ("server", self.server != other.server),
            ("limits.shared_by", self.shared_by != other.shared_by),
            ("log.format", self.log_format != other.log_format),
            ("audit.file", self.audit != other.audit),
            ("traces.endpoint", self.collector != other.collector),
        ];
        changes.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
    }

    /// Puts what is kept in the place of what a configuration has otherwise, where requests would see it.
    pub(super) fn keep_in(&self, config: &mut Config) {
        config.traces.collector.clone_from(&self.collector);
    }
}
