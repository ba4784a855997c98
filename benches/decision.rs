//! How long deciding takes, from the text of a token to the permit, and its parts.
//!
//! `cargo bench --bench decision`. The bar: a whole cached decision takes at most 1 µs.

use std::collections::HashMap;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ckgate::cache::{CacheSettings, Found, Front, Known, Limits, Rates, Records};
use ckgate::clock::{Clock, SystemClock};
use ckgate::policy::{
    AgentId, Asked, Authority, BoundHost, Bounds, CanonicalPath, Grant, Judged, OriginHeader,
    Permission, Permit, PolicyEntry, Query, RouteTable, Rules, WebOrigin, Whence, WithoutOrigin,
    decide,
};
use ckgate::server::{HeadLimits, read_head};
use ckgate::store::{SqliteSettings, SqliteStore, TokenStore as _};
use ckgate::telemetry::Metrics;
use ckgate::token::{AccountName, KeyRing, MasterKey, Record, TokenBytes, TokenId, TokenLimits};
use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use jiff::SignedDuration;

const PATH: &str = "/v1/agents/agent-11111111-1111-4111-8111-111111111111/messages";
const ORIGIN: &[u8] = b"https://chat.example.com";
const HOST: &[u8] = b"gate.example.com";

/// A gate's memory, with one token that has been used before.
struct Gate {
    routes: RouteTable,
    keys: KeyRing,
    records: Records<SqliteStore>,
    rates: Rates,
    front: Front,
    clock: SystemClock,
    record: Record,
    text: String,
    _folder: tempfile::TempDir,
}

impl Gate {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::TempDir::new()?;
        let store = SqliteStore::open(&SqliteSettings::at(folder.path().join("store.db")))?;
        let clock = SystemClock::default();
        let now = clock.now();
        let record = Record {
            id: TokenId::generate(now)?,
            key_id: 1,
            account: AccountName::parse("default")?,
            created_at: now,
            hostname: "https://chat.example.com".into(),
            grant: Grant {
                host: BoundHost::parse("https://chat.example.com")?,
                expires_at: now + SignedDuration::from_hours(1),
                entries: vec![PolicyEntry {
                    agent: AgentId::parse("agent-11111111-1111-4111-8111-111111111111")?,
                    access: Permission::ALL.into_iter().collect(),
                }],
            },
            limits: TokenLimits::NONE,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(store.create(record.clone()))?;
        let keys = KeyRing::new(&[(1, MasterKey::generate()?)])?;
        let text = keys.render(1, record.id, record.grant.expires_at).ok_or("no such key")?;
        let settings = CacheSettings {
            entries_max: 100_000,
            lifetime_max: Duration::from_mins(10),
            staleness_max: Duration::from_hours(1),
            lookup_timeout: Duration::from_secs(2),
        };
        let records = Records::new(
            Arc::new(store),
            Arc::new(SystemClock::default()),
            settings,
            Arc::new(Metrics::default()),
        );
        records.freshness().confirm(Instant::now());
        runtime.block_on(records.find(record.id, Instant::now()))?.ok_or("no such record")?;
        let mut front = Front::default();
        let bytes = TokenBytes::decode(text.expose().as_bytes()).ok_or("no token")?;
        let rates = Rates::new(
            Limits {
                requests_per_minute: NonZeroU32::new(1_000_000_000),
                concurrent_streams: 16,
                stream_length: Duration::from_hours(1),
            },
            HashMap::new(),
            1000,
        );
        let known = Rc::new(Known::new(
            record.clone(),
            &rates,
            Found { until: Instant::now(), generation: records.generation() },
        ));
        front.keep_generation(records.generation());
        front.insert(bytes, known, records.deleted().epoch(), Instant::now());
        let routes = RouteTable::built_in().map_err(|problems| format!("{problems:?}"))?;
        let text = text.expose().to_owned();
        Ok(Self { routes, keys, records, rates, front, clock, record, text, _folder: folder })
    }

    /// From the text of a token to what is known of it, as the data path does it; whatever takes it
    /// out of the front cache is put back.
    fn identify(&mut self, text: &[u8]) -> Option<Rc<Known>> {
        let bytes = TokenBytes::decode(text)?;
        let deleted = self.records.deleted();
        let instant = Instant::now();
        let epoch = deleted.epoch();
        let generation = self.records.generation();
        if !self.records.freshness().is_fresh(instant) {
            return None;
        }
        self.front.keep_generation(generation);
        let known = self.front.find(&bytes, instant, epoch, |record| deleted.contains(record.id));
        if known.is_none() {
            let known = Rc::new(Known::new(
                self.record.clone(),
                &self.rates,
                Found { until: instant, generation },
            ));
            self.front.insert(bytes, known, epoch, instant);
            return self.front.find(&bytes, instant, epoch, |_| false);
        }
        known
    }
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

fn judge<'t>(
    routes: &'t RouteTable,
    known: &Known,
    asked: &Asked<'_>,
    clock: &SystemClock,
) -> Option<Permit<'t>> {
    let rules = Rules { routes, without_origin: WithoutOrigin::Refuse, bounds: Bounds::default() };
    known.rate.take().ok()?;
    match decide(rules, &known.record.grant, asked, clock.now()).ok()? {
        Judged::Permit(permit) => Some(permit),
        Judged::BodyFirst(pending) => pending.judge_body(Bytes::new()).ok(),
        Judged::OwnerFirst(_) => None,
    }
}

fn deciding(criterion: &mut Criterion) {
    let mut gate = match Gate::new() {
        Ok(gate) => gate,
        Err(error) => return assert!(error.to_string().is_empty(), "{error}"),
    };
    let text = gate.text.clone();
    let mut group = criterion.benchmark_group("decision");
    group.bench_function("bearer text to permit, cached", |bencher| {
        bencher.iter(|| {
            let known = gate.identify(black_box(text.as_bytes()))?;
            let asked = intake(&Method::GET, black_box(PATH))?;
            judge(&gate.routes, &known, &asked, &gate.clock)
                .map(|permit| black_box(permit).target().len())
        });
    });
    group.bench_function("identify from the front cache", |bencher| {
        bencher.iter(|| gate.identify(black_box(text.as_bytes())).is_some());
    });
    group.bench_function("decide", |bencher| {
        let asked = intake(&Method::GET, PATH);
        let known = gate.identify(text.as_bytes());
        bencher.iter(|| {
            let (known, asked) = (known.as_ref()?, asked.as_ref()?);
            judge(&gate.routes, black_box(known), black_box(asked), &gate.clock).map(|_| ())
        });
    });
    group.finish();
}

fn parsing(criterion: &mut Criterion) {
    let gate = match Gate::new() {
        Ok(gate) => gate,
        Err(error) => return assert!(error.to_string().is_empty(), "{error}"),
    };
    let now = gate.clock.now();
    let mut group = criterion.benchmark_group("parts");
    group.bench_function("path", |bencher| {
        bencher.iter(|| CanonicalPath::parse(black_box(PATH)).is_ok());
    });
    group.bench_function("head facts", |bencher| {
        bencher.iter(|| intake(&Method::GET, black_box(PATH)).is_some());
    });
    group.bench_function("token, decoded and verified", |bencher| {
        bencher.iter(|| {
            let bytes = TokenBytes::decode(black_box(gate.text.as_bytes()))?;
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
            "POST {PATH} HTTP/1.1\r\nHost: gate.example.com\r\nAuthorization: Bearer {}\r\n\
             Origin: https://chat.example.com\r\nContent-Type: application/json\r\n\
             Content-Length: 120\r\nAccept: */*\r\nAccept-Language: en-US,en;q=0.9\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36\r\n\
             Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
             Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n\r\n",
            gate.text
        );
        let head = Bytes::from(head);
        bencher.iter(|| read_head(black_box(&head), limits).is_ok());
    });
    group.finish();
}

criterion_group!(benches, deciding, parsing);
criterion_main!(benches);
