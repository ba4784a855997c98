use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use jiff::SignedDuration;

use super::running::StartError;
use super::store::open_store;
use crate::activity::Activity;
use crate::cache::{
    BoundOrigins, CacheSettings, Limits as TokenRateLimits, OpenStreams, Rates, Records, UsageBook,
};
use crate::clock::{Clock, SystemClock};
use crate::config::{Account, AdminListener, ClientAddress, Config, SharedBy, Tls, Upstream};
use crate::policy::RouteTable;
use crate::proxy::{Accounts, BodyLimits, Gate, Owners, Rules, StreamsHere};
use crate::server::{self, ConnectionCount, ConnectionSettings, Handshakes, HeadLimits};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::tls::{HTTP_2, HTTP_11, Identities, PeerTls};
use crate::token::Secret;
use crate::token_api::TokenApi;

/// How long the store may take to look one record up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// What a gate keeps for as long as it runs, whatever is configured anew.
pub(super) struct Lasting {
    pub(super) metrics: Arc<Metrics>,
    pub(super) records: Arc<Records<Store>>,
    pub(super) streams: Arc<OpenStreams>,
    pub(super) connections: Arc<ConnectionCount>,
    clock: Arc<dyn Clock>,
    origins: Arc<BoundOrigins<Store>>,
    rates: Rates,
    usage: Arc<UsageBook>,
    activity: Arc<Activity>,
}

/// The limits of what lasts.
#[derive(Clone, Copy)]
pub(super) struct SharedLimits {
    connections_max: usize,
}

/// What a configuration comes to. A reload puts another one in the place of it; a request is judged
/// by one of them from its beginning to its end.
pub(super) struct Assembled {
    pub(super) gate: Arc<Gate>,
    pub(super) token_api: Arc<TokenApi>,
    pub(super) connection: ConnectionSettings,
    /// Requests under way at once on one HTTP/2 connection.
    pub(super) streams_max: u32,
    pub(super) upstream: Arc<Upstream>,
    /// Who may ask the decision API.
    pub(super) peers: BTreeSet<IpAddr>,
    /// Whether they may forward what may be answered by a stream.
    pub(super) decided_streams: StreamsHere,
    /// What opens the console.
    pub(super) admin_credential: Option<Secret>,
    pub(super) shared_by: SharedBy,
    pub(super) upstream_tls: Option<PeerTls>,
    /// The certificates of the public listener.
    pub(super) identities: Option<Identities>,
    /// Those of the admin listener.
    pub(super) admin_identities: Option<Identities>,
    pub(super) handshakes: Handshakes,
    /// Those of the admin listener: however many callers there are, operators get in.
    pub(super) admin_handshakes: Handshakes,
    /// What browsers are told within TLS, as `Strict-Transport-Security` says it (RFC 6797 §6.1).
    pub(super) strict_transport: Option<HeaderValue>,
    /// Which proxies in front are believed.
    pub(super) proxies: ClientAddress,
}

impl Lasting {
    pub(super) fn open(config: &Config) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let store = Arc::new(open_store(&config.store)?);
        let cache = CacheSettings {
            entries_max: config.cache.entries_max,
            lifetime_max: config.cache.lifetime_max,
            staleness_max: config.revocation.max_staleness,
            lookup_timeout: LOOKUP_TIMEOUT,
            cores: config.server.workers,
        };
        let records =
            Records::new(Arc::clone(&store), Arc::clone(&clock), cache, Arc::clone(&metrics));
        let connections = ConnectionCount::new(config.limits.connections_max, Arc::clone(&metrics));
        Ok(Self {
            metrics,
            records: Arc::new(records),
            streams: Arc::new(OpenStreams::new()),
            usage: Arc::default(),
            connections: Arc::new(connections),
            clock,
            origins: Arc::new(BoundOrigins::new(store)),
            rates: rates(config),
            activity: Arc::default(),
        })
    }

    /// Holds what lasts to other limits.
    pub(super) fn limit(&self, limits: SharedLimits) {
        self.connections.limit(connections_max(limits.connections_max));
    }
}

impl SharedLimits {
    pub(super) fn of(config: &Config) -> Self {
        Self { connections_max: config.limits.connections_max }
    }
}

/// Puts together what a configuration comes to. Nothing changes if it cannot be.
pub(super) fn assemble(config: Config, lasting: &Lasting) -> Result<Assembled, StartError> {
    let routes = match &config.routes {
        None => RouteTable::built_in(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(StartError::RouteFile)?;
            RouteTable::parse(&text)
        }
    }
    .map_err(StartError::Routes)?;
    let accounts = Accounts::new(&config.accounts, config.upstream.credential.as_ref())
        .map_err(|e| StartError::Credential(e.to_string()))?;
    let (identities, admin_identities) = identities(&config.tls)?;
    let upstream_tls = config.upstream.tls.as_ref().map(|tls| {
        PeerTls::read(&config.upstream.host, tls.authorities.as_deref(), tls.own.as_ref())
    });
    let upstream_tls = upstream_tls.transpose()?;
    // From here on nothing can fail.
    tell_shadow_mode(&config.accounts, &lasting.metrics);
    let rules = rules(&config);
    let rates = lasting.rates.renewed(rates(&config));
    let metrics = Arc::clone(&lasting.metrics);
    let keys = Arc::new(config.tokens.keys);
    let token_api = Arc::new(TokenApi {
        records: Arc::clone(&lasting.records),
        streams: Arc::clone(&lasting.streams),
        keys: Arc::clone(&keys),
        lifetime_max: signed(config.tokens.max_lifetime),
        metrics: Arc::clone(&metrics),
    });
    let shared_by = config.limits.shared_by;
    let limits = &config.limits;
    let gate = Arc::new(Gate {
        // Kept only where somebody can look at it.
        activity: config.console.credential.is_some().then(|| Arc::clone(&lasting.activity)),
        routes,
        accounts,
        keys,
        records: Arc::clone(&lasting.records),
        streams: Arc::clone(&lasting.streams),
        rates,
        usage: Arc::clone(&lasting.usage),
        origins: Arc::clone(&lasting.origins),
        owners: Owners::default(),
        clock: Arc::clone(&lasting.clock),
        metrics: Arc::clone(&metrics),
        rules,
    });
    let (handshakes_max, handshake_timeout) =
        (config.tls.handshakes_max, config.tls.handshake_timeout);
    let handshakes = || Handshakes::new(handshakes_max, handshake_timeout, Arc::clone(&metrics));
    Ok(Assembled {
        gate,
        token_api,
        connection: ConnectionSettings {
            head: HeadLimits {
                head_bytes_max: limits.head_bytes_max,
                headers_max: limits.headers_max,
                target_bytes_max: limits.target_bytes_max,
            },
            header_timeout: limits.header_timeout,
            keep_alive_timeout: limits.keep_alive_timeout,
            write_stall_timeout: limits.write_stall_timeout,
        },
        streams_max: limits.connection_streams_max,
        upstream: Arc::new(config.upstream),
        peers: config.decision.peers,
        decided_streams: if config.decision.dangerous_uncut_streams {
            StreamsHere::Pass
        } else {
            StreamsHere::Refuse
        },
        admin_credential: config.console.credential,
        shared_by,
        upstream_tls,
        identities,
        admin_identities,
        proxies: config.proxies,
        strict_transport: strict_transport(config.tls.strict_transport.as_secs()),
        handshakes: handshakes(),
        admin_handshakes: handshakes(),
    })
}

/// Says loudly whose tokens the policy is not enforced for, and counts them.
fn tell_shadow_mode(accounts: &[Account], metrics: &Metrics) {
    let in_shadow: Vec<&str> = accounts
        .iter()
        .filter(|account| !account.enforce)
        .map(|account| account.name.as_str())
        .collect();
    metrics.shadow_accounts.set(i64::try_from(in_shadow.len()).unwrap_or(i64::MAX));
    for account in in_shadow {
        tracing::warn!(
            account,
            "SHADOW MODE: the policy is not enforced for this account's tokens, every request that \
             it refuses is forwarded"
        );
    }
}

/// Reads the files that a configuration names, for nothing but to see whether they can be used.
pub fn check_files(config: &Config) -> Result<(), StartError> {
    identities(&config.tls)?;
    if let Some(tls) = &config.upstream.tls {
        PeerTls::read(&config.upstream.host, tls.authorities.as_deref(), tls.own.as_ref())?;
    }
    Ok(())
}

/// The certificates of the public listener and of the admin listener.
fn identities(tls: &Tls) -> Result<(Option<Identities>, Option<Identities>), StartError> {
    let public = Identities::read(&tls.certificates, &[HTTP_2, HTTP_11], None)?;
    let admin = match tls.admin {
        AdminListener::Clear => None,
        AdminListener::Tls => {
            Identities::read(&tls.certificates, &[HTTP_11], tls.admin_clients.as_deref())?
        }
    };
    Ok((public, admin))
}

/// As many connections as are configured, if the process has the descriptors for them: without any,
/// callers who are already connected could not be served either.
fn connections_max(wanted: usize) -> usize {
    let possible = server::descriptors_max().map_or(usize::MAX, server::connections_within);
    if possible < wanted {
        tracing::info!(
            connections_max = wanted,
            possible,
            "there are descriptors for fewer connections than `limits.connections_max`: raise \
             the process's limit of open files, or lower the key"
        );
    }
    wanted.min(possible)
}

fn strict_transport(seconds: u64) -> Option<HeaderValue> {
    let value = HeaderValue::from_str(&format!("max-age={seconds}"));
    value.ok().filter(|_| seconds > 0)
}

fn rules(config: &Config) -> Rules {
    let limits = &config.limits;
    Rules {
        without_origin: config.hostname.without_origin,
        preflight: config.cors.preflight,
        bounds: limits.policy_bounds(),
        inspected_body: BodyLimits {
            bytes_max: limits.inspected_body_bytes_max as u64,
            time_max: Some(limits.body_timeout),
            rate_min: limits.body_rate_min,
        },
        streamed_body: BodyLimits {
            bytes_max: limits.body_bytes_max,
            time_max: None,
            rate_min: limits.body_rate_min,
        },
        redacted_answer_bytes_max: limits.redacted_answer_bytes_max,
        expiry_grace: signed(config.streams.expiry_grace),
        trace_one_in: config.traces.one_in(),
    }
}

fn rates(config: &Config) -> Rates {
    let default = TokenRateLimits {
        requests_per_minute: NonZeroU32::new(config.limits.requests_per_minute_per_token),
        concurrent_streams: config.streams.per_token_max,
        stream_length: config.streams.length_max,
    };
    let accounts = config.accounts.iter().map(|account| (account.name.clone(), account.limits));
    Rates::new(default, accounts.collect(), config.cache.entries_max)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
