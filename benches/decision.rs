//! How long deciding takes, from the text of a token to the permit, and its parts.
//!
//! `cargo bench --bench decision`. The bar: a whole decision takes at most 0.6 µs on a hot token, and 1 µs
//! on one of a million drawn at random. `CKGATE_BENCH_TOKENS` changes how many those are.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ckgate::cache::{CacheSettings, Front, Known, Limits, Rates, Records, Sources};
use ckgate::clock::{Clock, SystemClock};
use ckgate::policy::{
    AgentId, Asked, Authority, BoundHost, Bounds, CanonicalPath, Grant, Judged, OriginHeader,
    Permission, Permit, PolicyEntry, Query, RouteTable, Rules, WebOrigin, Whence, WithoutOrigin,
    decide,
};
use ckgate::server::{HeadLimits, read_head};
use ckgate::store::{SqliteSettings, SqliteStore, TokenStore as _};
use ckgate::telemetry::Metrics;
use ckgate::token::{
    AccountName, KeyRing, MasterKey, Record, TokenBytes, TokenDigits, TokenId, TokenLimits,
};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const PATH: &str = "/v1/agents/agent-11111111-1111-4111-8111-111111111111/messages";
const ORIGIN: &[u8] = b"https://chat.example.com";
const HOST: &[u8] = b"gate.example.com";

/// A gate's memory, with tokens that have each been used before.
struct Gate {
    routes: RouteTable,
    keys: KeyRing,
    records: Records<SqliteStore>,
    rates: Rates,
    front: RefCell<Front>,
    metrics: Arc<Metrics>,
    clock: SystemClock,
    record: Record,
    texts: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Gate {
    fn new(tokens: u64) -> Outcome<Self> {
        let folder = tempfile::TempDir::new()?;
        let store = SqliteStore::open(&SqliteSettings::at(folder.path().join("store.db")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let clock = SystemClock::default();
        let store = Arc::new(store);
        let created = runtime.block_on(create(&store, tokens, clock.now()))?;
        let keys = KeyRing::new(&[(1, MasterKey::generate()?)])?;
        let text = |record: &Record| {
            let text = keys.render(1, record.id, record.grant.expires_at)?;
            Some(text.expose().to_owned())
        };
        let texts = created.iter().map(text).collect::<Option<_>>().ok_or("no such key")?;
        let settings = CacheSettings {
            entries_max: 2 * tokens.max(50_000),
            lifetime_max: Duration::from_hours(1),
            staleness_max: Duration::from_hours(1),
            lookup_timeout: Duration::from_secs(2),
            cores: 1,
        };
        let metrics = Arc::new(Metrics::default());
        let records =
            Records::new(store, Arc::new(SystemClock::default()), settings, Arc::clone(&metrics));
        records.freshness().confirm(Instant::now());
        let rates = Rates::new(
            Limits {
                requests_per_minute: NonZeroU32::new(1_000_000_000),
                concurrent_streams: 16,
                stream_length: Duration::from_hours(1),
            },
            HashMap::new(),
            settings.entries_max,
        );
        let routes = RouteTable::built_in().map_err(|problems| format!("{problems:?}"))?;
        let record = created.first().ok_or("no token")?.clone();
        let front = RefCell::new(records.front());
        let gate = Self {
            routes,
            keys,
            records,
            rates,
            front,
            metrics,
            clock,
            record,
            texts,
            _folder: folder,
        };
        // Into the shared cache, which takes a while; then into the core's own, all within its lifetime.
        for _ in 0..2 {
            gate.front.replace(gate.records.front());
            for text in &gate.texts {
                let token = TokenDigits::of(text.as_bytes()).ok_or("not a token")?;
                let found = runtime.block_on(gate.sources().find(&token, gate.clock.now()));
                found.map_err(|not_known| format!("{not_known:?}"))?;
            }
        }
        Ok(gate)
    }

    fn sources(&self) -> Sources<'_, SqliteStore> {
        let Self { front, keys, records, rates, metrics, .. } = self;
        Sources { front, keys, records, rates, metrics }
    }

    /// From the text of a token to what is known of it, as the data path does it, in memory.
    fn identify(&self, text: &[u8], now: Timestamp) -> Option<Rc<Known>> {
        let token = TokenDigits::of(text)?;
        let sources = self.sources();
        let found = pin!(sources.find(&token, now));
        match found.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(known) => known.ok(),
            Poll::Pending => None,
        }
    }

    fn judge(&self, known: &Known, asked: &Asked<'_>, now: Timestamp) -> Option<Permit<'_>> {
        let Self { routes, rates, .. } = self;
        let rules =
            Rules { routes, without_origin: WithoutOrigin::Refuse, bounds: Bounds::default() };
        let judged = decide(rules, &known.record.grant, asked, now).ok()?;
        rates.take(&known.rate).ok()?;
        match judged {
            Judged::Permit(permit) => Some(permit),
            Judged::BodyFirst(pending) => pending.judge_body(Bytes::new()).ok(),
            Judged::OwnerFirst(_) => None,
        }
    }

    /// From the text of a token to the permit.
    fn permit(&self, text: &str) -> Option<usize> {
        // A request reads the clock once.
        let now = self.clock.now();
        // As the data path has it: the rest of the head is looked at while this comes.
        self.front.borrow().expect(&TokenDigits::of(black_box(text.as_bytes()))?);
        let asked = intake(&Method::GET, black_box(PATH))?;
        let known = self.identify(black_box(text.as_bytes()), now)?;
        self.judge(&known, &asked, now).map(|permit| black_box(permit).target().len())
    }
}

/// Fills the store, many at a time: they share a write.
async fn create(store: &Arc<SqliteStore>, tokens: u64, now: Timestamp) -> Outcome<Vec<Record>> {
    let grant = Grant {
        host: BoundHost::parse("https://chat.example.com")?,
        expires_at: now + SignedDuration::from_hours(1),
        entries: [PolicyEntry {
            agent: AgentId::parse("agent-11111111-1111-4111-8111-111111111111")?,
            access: Permission::ALL.into_iter().collect(),
        }]
        .into(),
    };
    let (mut created, mut running) = (Vec::new(), JoinSet::new());
    for _ in 0..tokens {
        let record = Record {
            id: TokenId::generate(now)?,
            key_id: 1,
            account: AccountName::parse("default")?,
            created_at: now,
            hostname: "https://chat.example.com".into(),
            grant: grant.clone(),
            limits: TokenLimits::NONE,
        };
        created.push(record.clone());
        if running.len() == 4096 {
            running.join_next().await.ok_or("nothing was running")???;
        }
        let store = Arc::clone(store);
        running.spawn(async move { store.create(record).await });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(created)
}

/// What the data path makes of a head.
fn intake<'r>(method: &'r Method, path: &'r str) -> Option<Asked<'r>> {
    Some(Asked {
        method,
        path: CanonicalPath::parse(path).ok()?,
        query: Query::parse(None).ok()?,
        whence: Whence {
            origin: OriginHeader::Web(WebOrigin::parse(ORIGIN)?),
            host: Authority::parse(HOST)?,
            from_browser: true,
        },
    })
}

fn deciding(criterion: &mut Criterion) {
    let gate = match Gate::new(1) {
        Ok(gate) => gate,
        Err(error) => return assert!(error.to_string().is_empty(), "{error}"),
    };
    let text = gate.texts.concat();
    assert!(gate.permit(&text).is_some(), "the token of the benchmark is refused");
    let mut group = criterion.benchmark_group("decision");
    group.bench_function("bearer text to permit, cached", |bencher| {
        bencher.iter(|| gate.permit(&text));
    });
    group.bench_function("identify from the front cache", |bencher| {
        let now = gate.clock.now();
        bencher.iter(|| gate.identify(black_box(text.as_bytes()), now).is_some());
    });
    group.bench_function("decide", |bencher| {
        let asked = intake(&Method::GET, PATH);
        let now = gate.clock.now();
        let known = gate.identify(text.as_bytes(), now);
        bencher.iter(|| {
            let (known, asked) = (known.as_ref()?, asked.as_ref()?);
            gate.judge(black_box(known), black_box(asked), now).map(|_| ())
        });
    });
    group.finish();
}

/// Live tokens drawn evenly, each of which this core has been shown within a minute.
fn deciding_among_many(criterion: &mut Criterion) {
    let benchmarking = std::env::args().any(|argument| argument == "--bench");
    let tokens = std::env::var("CKGATE_BENCH_TOKENS").ok().and_then(|count| count.parse().ok());
    let gate = match Gate::new(if benchmarking { tokens.unwrap_or(1_000_000) } else { 100 }) {
        Ok(gate) => gate,
        Err(error) => return assert!(error.to_string().is_empty(), "{error}"),
    };
    let mut turn = 0_usize;
    let name = format!("bearer text to permit, one of {} at random", gate.texts.len());
    criterion.benchmark_group("decision").bench_function(name, |bencher| {
        // A token's text has just been read from a connection: not long before it is looked at.
        let drawn = || {
            turn = turn
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            gate.texts.get((turn >> 33) % gate.texts.len()).cloned()
        };
        let permitted = |text: &mut Option<String>| {
            let permit = gate.permit(text.as_ref()?);
            assert!(permit.is_some(), "a live token is refused");
            permit
        };
        bencher.iter_batched_ref(drawn, permitted, BatchSize::NumIterations(64));
    });
}

fn parsing(criterion: &mut Criterion) {
    let gate = match Gate::new(1) {
        Ok(gate) => gate,
        Err(error) => return assert!(error.to_string().is_empty(), "{error}"),
    };
    let (now, text) = (gate.clock.now(), gate.texts.concat());
    let mut group = criterion.benchmark_group("parts");
    group.bench_function("path", |bencher| {
        bencher.iter(|| CanonicalPath::parse(black_box(PATH)).is_ok());
    });
    group.bench_function("head facts", |bencher| {
        bencher.iter(|| intake(&Method::GET, black_box(PATH)).is_some());
    });
    group.bench_function("token, decoded and verified", |bencher| {
        bencher.iter(|| {
            let bytes = TokenBytes::decode(black_box(text.as_bytes()))?;
            gate.keys.verify(&bytes, now).ok()
        });
    });
    group.bench_function("record from the shared cache", |bencher| {
        bencher.iter(|| {
            let mut context = Context::from_waker(Waker::noop());
            let found = pin!(gate.records.find(black_box(gate.record.id), Instant::now()));
            matches!(found.poll(&mut context), Poll::Ready(Ok(Some(_))))
        });
    });
    group.bench_function("message of 1 KiB", |bencher| {
        let body = Bytes::from(format!(
            r#"{{"messages":[{{"role":"user","content":"{}"}}],"max_steps":10}}"#,
            "x".repeat(960)
        ));
        let rules = Rules {
            routes: &gate.routes,
            without_origin: WithoutOrigin::Refuse,
            bounds: Bounds::default(),
        };
        bencher.iter(|| {
            let asked = intake(&Method::POST, PATH)?;
            match decide(rules, &gate.record.grant, &asked, now).ok()? {
                Judged::BodyFirst(pending) => {
                    pending.judge_body(black_box(body.clone())).ok().map(|_| ())
                }
                _ => None,
            }
        });
    });
    group.bench_function("head of a browser's request", |bencher| {
        let limits = HeadLimits { head_bytes_max: 32 << 10, headers_max: 64, target_bytes_max: 8192 };
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: gate.example.com\r\nAuthorization: Bearer {text}\r\n\
             Origin: https://chat.example.com\r\nContent-Type: application/json\r\n\
             Content-Length: 120\r\nAccept: */*\r\nAccept-Language: en-US,en;q=0.9\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36\r\n\
             Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
             Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n\r\n"
        );
        let head = Bytes::from(head);
        bencher.iter(|| read_head(black_box(&head), limits).is_ok());
    });
    group.finish();
}

criterion_group!(benches, deciding, deciding_among_many, parsing);
criterion_main!(benches);
