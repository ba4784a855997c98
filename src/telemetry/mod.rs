//! The names of metrics, and the handles that move them. Labels come from closed sets: the route
//! table's operation names and the enums here. Identifiers are never labels.

mod found;

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use self::found::Found;

/// How a look-up in the caches ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum CacheResult {
    /// Found in the core's own front cache.
    Front,
    /// Found in the shared cache.
    Hit,
    /// Had to be loaded.
    Miss,
    /// The cache could not be trusted, because the feed was not confirmed lately.
    Stale,
}

/// What is true at the moment at which the metrics are read.
#[derive(Clone, Copy, Debug)]
pub struct StateNow {
    /// Whether requests are taken, here or by the gate that has just taken over.
    pub ready: bool,
    /// Since the last whole read of the feed of deletions began; `None` before the first.
    pub feed_age: Option<Duration>,
    /// Whether deletions elsewhere wake this gate; `None` where they never do.
    pub feed_listening: Option<bool>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    /// It went upstream and the answer was relayed.
    Forwarded,
    /// The gate answered it itself: token API, preflight.
    Answered,
    /// It was judged for another proxy, and may go.
    Judged,
    /// It was refused.
    Refused,
    /// It was permitted, and the upstream or the store failed.
    Failed,
}

/// The operation of a request that names none.
pub const UNKNOWN: &str = "unknown";

/// Labels of `ckgate_requests_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    operation: String,
    outcome: Outcome,
}

/// What an exemplar leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TraceLabels {
    trace_id: String,
}

/// Labels of `ckgate_refusals_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    reason: &'static str,
}

/// Labels of what ended in one of a few ways.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    outcome: &'static str,
}

/// Labels of `ckgate_cache_lookups_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CacheLabels {
    result: CacheResult,
}

/// The counters of one operation, for one core: found at the first request of each outcome, kept
/// from then on.
#[derive(Debug)]
pub struct OperationCounters {
    name: Box<str>,
    route: Box<str>,
    metrics: Arc<Metrics>,
    forwarded: OnceCell<Counter>,
    answered: OnceCell<Counter>,
    judged: OnceCell<Counter>,
    refused: OnceCell<Counter>,
    failed: OnceCell<Counter>,
}

impl OperationCounters {
    /// The counters of the operation of this name and path template, out of the route table.
    #[must_use]
    pub fn new(name: &str, route: &str, metrics: Arc<Metrics>) -> Self {
        let [forwarded, answered, judged, refused, failed] =
            std::array::from_fn(|_| OnceCell::new());
        let (name, route) = (name.into(), route.into());
        Self { name, route, metrics, forwarded, answered, judged, refused, failed }
    }

    /// The operation's path template.
    #[must_use]
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The operation's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a request.
    pub fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Forwarded => &self.forwarded,
            Outcome::Answered => &self.answered,
            Outcome::Judged => &self.judged,
            Outcome::Refused => &self.refused,
            Outcome::Failed => &self.failed,
        };
        let find = || {
            let labels = RequestLabels { operation: self.name().to_owned(), outcome };
            self.metrics.requests.get_or_create_owned(&labels)
        };
        counter.get_or_init(find).inc();
    }
}

/// Every metric there is.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    cache_front: Counter,
    refusals: Family<RefusalLabels, Counter>,
    refusals_found: Found,
    /// Requests refused before their operation was known, which floods consist of.
    unknown_refused: OnceLock<Counter>,
    cache: Family<CacheLabels, Counter>,
    streams_cut: Family<RefusalLabels, Counter>,
    shadow_refusals: Family<RefusalLabels, Counter>,
    tls_handshakes: Family<OutcomeLabels, Counter>,
    upstream_failures: Family<RefusalLabels, Counter>,
    request_seconds: HistogramWithExemplars<TraceLabels>,
    /// Look-ups of one record that reached the store.
    pub store_lookups: Counter,
    /// Calls to the store that failed.
    pub store_failures: Counter,
    /// Expired records that were swept.
    pub store_swept: Counter,
    /// Reads of the feed of deletions that failed.
    pub feed_failures: Counter,
    /// Tokens made.
    pub tokens_created: Counter,
    /// Tokens deleted.
    pub tokens_deleted: Counter,
    /// Client connections open.
    pub connections: Gauge,
    /// Client connections closed at once, because there were too many.
    pub connections_shed: Counter,
    /// Accounts whose refusals do not hold.
    pub shadow_accounts: Gauge,
    /// Configurations that were taken up while running.
    pub reloads: Counter,
    /// Those that could not be.
    pub reload_failures: Counter,
    /// HTTP/2 connections ended for a flood of frames.
    pub http2_floods: Counter,
    /// Streams open.
    pub streams: Gauge,
    /// Look-ups of the agent that owns a conversation or a run, at the upstream.
    pub owner_lookups: Counter,
    /// Connections made to the upstream.
    pub upstream_connects: Counter,
    /// Requests sent on a connection that had served before.
    pub upstream_reuses: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = [
            0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            30.0, 120.0,
        ];
        let cache = Family::<CacheLabels, Counter>::default();
        let mut metrics = Self {
            registry: Registry::with_prefix("ckgate"),
            requests: Family::default(),
            cache_front: cache.get_or_create_owned(&CacheLabels { result: CacheResult::Front }),
            refusals: Family::default(),
            refusals_found: Found::default(),
            unknown_refused: OnceLock::new(),
            cache,
            streams_cut: Family::default(),
            shadow_refusals: Family::default(),
            tls_handshakes: Family::default(),
            upstream_failures: Family::default(),
            request_seconds: HistogramWithExemplars::new(seconds.into_iter()),
            store_lookups: Counter::default(),
            store_failures: Counter::default(),
            store_swept: Counter::default(),
            feed_failures: Counter::default(),
            tokens_created: Counter::default(),
            tokens_deleted: Counter::default(),
            connections: Gauge::default(),
            connections_shed: Counter::default(),
            shadow_accounts: Gauge::default(),
            reloads: Counter::default(),
            reload_failures: Counter::default(),
            http2_floods: Counter::default(),
            streams: Gauge::default(),
            owner_lookups: Counter::default(),
            upstream_connects: Counter::default(),
            upstream_reuses: Counter::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("requests", "Requests by operation and outcome", self.requests.clone());
        r.register("refusals", "Refused requests by reason", self.refusals.clone());
        r.register("cache_lookups", "Look-ups of records by result", self.cache.clone());
        r.register(
            "shadow_refusals",
            "Requests forwarded in shadow mode that the policy refuses, by reason",
            self.shadow_refusals.clone(),
        );
        r.register("streams_cut", "Streams ended by the gate, by reason", self.streams_cut.clone());
        r.register(
            "shadow_accounts",
            "Accounts in shadow mode: the policy is not enforced",
            self.shadow_accounts.clone(),
        );
        r.register("reloads", "Configurations taken up while running", self.reloads.clone());
        r.register(
            "reload_failures",
            "Configurations that could not be taken up",
            self.reload_failures.clone(),
        );
        r.register(
            "http2_floods",
            "HTTP/2 connections ended for frames that bring nothing",
            self.http2_floods.clone(),
        );
        r.register("tls_handshakes", "TLS handshakes by outcome", self.tls_handshakes.clone());
        r.register(
            "upstream_failures",
            "Permitted requests that the upstream failed, by reason",
            self.upstream_failures.clone(),
        );
        r.register_with_unit(
            "request_duration",
            "Time from a request's head to the end of its answer",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        r.register("store_lookups", "Records looked up in the store", self.store_lookups.clone());
        r.register("store_failures", "Calls to the store that failed", self.store_failures.clone());
        r.register("store_swept", "Expired records swept", self.store_swept.clone());
        r.register("feed_failures", "Reads of the feed that failed", self.feed_failures.clone());
        r.register("tokens_created", "Tokens created", self.tokens_created.clone());
        r.register("tokens_deleted", "Tokens deleted", self.tokens_deleted.clone());
        r.register("connections", "Client connections open", self.connections.clone());
        r.register("connections_shed", "Client connections shed", self.connections_shed.clone());
        r.register("streams", "Event streams open", self.streams.clone());
        r.register(
            "owner_lookups",
            "Owners of conversations and runs asked of the upstream",
            self.owner_lookups.clone(),
        );
        r.register(
            "upstream_connects",
            "Upstream connections made",
            self.upstream_connects.clone(),
        );
        r.register("upstream_reuses", "Upstream connections reused", self.upstream_reuses.clone());
    }

    /// Counts a request. `operation` is a name of the route table or one of the gate's own.
    pub fn request(&self, operation: &str, outcome: Outcome) {
        let find = || {
            let labels = RequestLabels { operation: operation.to_owned(), outcome };
            self.requests.get_or_create_owned(&labels)
        };
        if outcome == Outcome::Refused && operation == UNKNOWN {
            self.unknown_refused.get_or_init(find).inc();
        } else {
            find().inc();
        }
    }

    /// Takes note of how long a request took, from its head to the end of its answer; a traced one is
    /// an example of its kind.
    pub fn request_took(&self, time: Duration, trace_id: Option<&str>) {
        let labels = trace_id.map(|trace_id| TraceLabels { trace_id: trace_id.to_owned() });
        self.request_seconds.observe(time.as_secs_f64(), labels, None);
    }

    /// Counts a refusal by its code.
    pub fn refusal(&self, reason: &'static str) {
        let find = || self.refusals.get_or_create_owned(&RefusalLabels { reason });
        match self.refusals_found.get(reason, find) {
            Some(counter) => counter.inc(),
            None => find().inc(),
        };
    }

    /// Counts a refusal that shadow mode kept from holding.
    pub fn shadow_refusal(&self, reason: &'static str) {
        self.shadow_refusals.get_or_create(&RefusalLabels { reason }).inc();
    }

    /// Counts a look-up of a record.
    pub fn cache_lookup(&self, result: CacheResult) {
        if result == CacheResult::Front {
            self.cache_front.inc();
        } else {
            self.cache.get_or_create(&CacheLabels { result }).inc();
        }
    }

    /// Counts a stream that the gate ended.
    pub fn stream_cut(&self, reason: &'static str) {
        self.streams_cut.get_or_create(&RefusalLabels { reason }).inc();
    }

    /// Counts a TLS handshake with a client.
    pub fn tls_handshake(&self, outcome: &'static str) {
        self.tls_handshakes.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts a permitted request that the upstream failed.
    pub fn upstream_failure(&self, reason: &'static str) {
        self.upstream_failures.get_or_create(&RefusalLabels { reason }).inc();
    }

    /// Everything in `OpenMetrics` text, and the gauges that only the caller knows.
    #[must_use]
    pub fn encode(&self, now: &StateNow) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        if let Some(body) = text.strip_suffix("# EOF\n") {
            text.truncate(body.len());
        }
        gauge(&mut text, "ready", "Whether the gate takes requests", u8::from(now.ready));
        if let Some(age) = now.feed_age {
            let age = age.as_secs_f64();
            gauge(
                &mut text,
                "feed_age_seconds",
                "Since the last whole read of the feed began",
                age,
            );
        }
        if let Some(listening) = now.feed_listening {
            let help = "Whether deletions elsewhere wake this gate";
            gauge(&mut text, "feed_listening", help, u8::from(listening));
        }
        text.push_str("# EOF\n");
        text
    }
}

fn gauge(text: &mut String, name: &str, help: &str, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "# HELP ckgate_{name} {help}.\n# TYPE ckgate_{name} gauge\nckgate_{name} {value}\n"
    );
}
