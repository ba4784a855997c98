use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::running::StartError;
use super::store::open_store;
use crate::activity::Activity;
use crate::cache::{
    BoundOrigins, CacheSettings, Limits as TokenRateLimits, OpenStreams, Rates, Records, UsageBook,
};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Limits, SharedBy, Upstream};
use crate::policy::RouteTable;
use crate::proxy::{Accounts, BodyLimits, Gate, Owners, Rules};
use crate::server::{self, ConnectionCount, ConnectionSettings, HeadLimits};
use crate::telemetry::Metrics;
use crate::token::Secret;
use crate::token_api::TokenApi;

/// How long the store may take to look one record up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything that a started gate consists of, before it has threads.
pub(super) struct Assembled {
    pub(super) gate: Arc<Gate>,
    pub(super) token_api: Arc<TokenApi>,
    pub(super) connection: ConnectionSettings,
    pub(super) connections: Arc<ConnectionCount>,
    pub(super) upstream: Arc<Upstream>,
    /// Who may ask the decision API.
    pub(super) peers: BTreeSet<IpAddr>,
    /// What opens the console.
    pub(super) admin_credential: Option<Secret>,
    pub(super) shared_by: SharedBy,
}

pub(super) fn assemble(config: Config) -> Result<Assembled, StartError> {
    let metrics = Arc::new(Metrics::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
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
    let store = Arc::new(open_store(&config.store)?);
    let cache = CacheSettings {
        entries_max: config.cache.entries_max,
        lifetime_max: config.cache.lifetime_max,
        staleness_max: config.revocation.max_staleness,
        lookup_timeout: LOOKUP_TIMEOUT,
    };
    let records =
        Arc::new(Records::new(Arc::clone(&store), Arc::clone(&clock), cache, Arc::clone(&metrics)));
    let streams = Arc::new(OpenStreams::new());
    let rules = rules(&config);
    let rates = rates(&config);
    let keys = Arc::new(config.tokens.keys);
    let token_api = Arc::new(TokenApi {
        records: Arc::clone(&records),
        streams: Arc::clone(&streams),
        keys: Arc::clone(&keys),
        lifetime_max: signed(config.tokens.max_lifetime),
        metrics: Arc::clone(&metrics),
    });
    // Kept only where somebody can look at it.
    let activity = config.console.credential.is_some().then(Arc::<Activity>::default);
    let shared_by = config.limits.shared_by;
    let gate = Arc::new(Gate {
        activity,
        routes,
        accounts,
        keys,
        records,
        streams,
        rates,
        usage: UsageBook::default(),
        origins: BoundOrigins::new(store),
        owners: Owners::default(),
        clock,
        metrics: Arc::clone(&metrics),
        rules,
    });
    let limits = &config.limits;
    let connections = Arc::new(ConnectionCount::new(connections_max(limits), metrics));
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
        connections,
        upstream: Arc::new(config.upstream),
        peers: config.decision.peers,
        admin_credential: config.console.credential,
        shared_by,
    })
}

/// As many connections as are configured, if the process has the descriptors for them: without any,
/// callers who are already connected could not be served either.
fn connections_max(limits: &Limits) -> usize {
    let possible = server::descriptors_max().map_or(usize::MAX, server::connections_within);
    if possible < limits.connections_max {
        tracing::info!(
            connections_max = limits.connections_max,
            possible,
            "there are descriptors for fewer connections than `limits.connections_max`: raise \
             the process's limit of open files, or lower the key"
        );
    }
    limits.connections_max.min(possible)
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
