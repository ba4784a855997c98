//! How fast a store is: durable creates, look-ups, lists, deletions, sweeps, opening one that is
//! already full, and how soon many gates hear of a deletion.
//!
//! `cargo bench --bench store` fills an embedded store with a million tokens. Variables change that, and
//! are set by `benches/scale`: `CKGATE_BENCH_TOKENS`; `CKGATE_BENCH_STORE`, the `sqlite:` path or
//! `postgres://` URL of an empty store; `CKGATE_BENCH_PARTS`, some of `fill`, `ask`, `hear` and `hot`;
//! `CKGATE_BENCH_START`, the moment at which the tokens are made, so that one process asks for what
//! another has filled in. Started by `cargo test`, it only shows that it still works.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ckgate::cache::Follower;
use ckgate::policy::{AgentId, BoundHost, Grant, Permission, PolicyEntry};
use ckgate::store::{
    Deletion, Feed, ListQuery, PostgresSettings, PostgresStore, SqliteSettings, SqliteStore, Store,
    Tls, TokenStore,
};
use ckgate::token::{AccountName, KeyRing, MasterKey, Record, TokenId, TokenLimits};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ACCOUNTS: u64 = 1000;
const TOKENS_PER_AGENT: u64 = 10;
/// Tokens that are swept away at the end.
const LIFE: SignedDuration = SignedDuration::from_hours(12);
/// Gates that hear of deletions.
const LISTENERS: usize = 100;
/// Deletions that they hear of, one after the other.
const DELETIONS: u64 = 200;
/// Numbers that no filling reaches.
const HOT_FROM: u64 = 1 << 33;
const HEARD_FROM: u64 = 1 << 34;
/// Records taken over at once where a store is filled for its size only.
const IMPORTED: u64 = 1000;

/// What is measured, and how much.
struct Scale {
    /// Where the store is.
    url: String,
    tokens: u64,
    operations: u64,
    start: Timestamp,
}

fn main() -> Outcome<()> {
    let benchmarking = std::env::args().any(|argument| argument == "--bench");
    let variable = |name: &str| std::env::var(name).ok();
    let tokens = variable("CKGATE_BENCH_TOKENS").map(|n| n.parse()).transpose()?;
    let start = variable("CKGATE_BENCH_START").map(|at| at.parse()).transpose()?;
    let folder = tempfile::TempDir::new()?;
    let own = || format!("sqlite:{}", folder.path().join("store.db").display());
    let scale = Scale {
        url: variable("CKGATE_BENCH_STORE").unwrap_or_else(own),
        tokens: tokens.unwrap_or(if benchmarking { 1_000_000 } else { 2000 }),
        operations: if benchmarking { 20_000 } else { 200 },
        start: start.unwrap_or_else(Timestamp::now),
    };
    let parts = variable("CKGATE_BENCH_PARTS").unwrap_or_else(|| "fill,ask".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for part in parts.split(',') {
            match part {
                "fill" => fill(&scale).await?,
                "ask" => ask(&scale).await?,
                "hear" => hear(&scale).await?,
                "hot" => hot(&scale).await?,
                other => return Err(format!("there is no part `{other}`").into()),
            }
        }
        Ok(())
    })
}

fn open(url: &str) -> Outcome<Store> {
    Ok(match url.strip_prefix("sqlite:") {
        Some(path) => Store::Sqlite(SqliteStore::open(&SqliteSettings::at(path))?),
        None => Store::Postgres(PostgresStore::open(&settings(url, 16)?)?),
    })
}

fn settings(url: &str, connections: usize) -> Outcome<PostgresSettings> {
    Ok(PostgresSettings {
        server: tokio_postgres::Config::from_str(url)?,
        listen_server: None,
        tls: Tls::Off,
        notify: true,
        connections_max: NonZeroUsize::new(connections).ok_or("no connections")?,
        connect_timeout: Duration::from_secs(30),
        pool_timeout: Duration::from_mins(5),
        query_timeout: Duration::from_mins(5),
    })
}

/// Fills an empty store; an embedded one by durable creates, since there is no other way.
async fn fill(scale: &Scale) -> Outcome<()> {
    let (url, start) = (&scale.url, scale.start);
    if url.starts_with("sqlite:") {
        let store = Arc::new(open(url)?);
        let filled = create(&store, 0..scale.tokens, 256, start).await?;
        return row(&format!("create, 256 clients, filling to {}", scale.tokens), &filled);
    }
    let store = Arc::new(PostgresStore::open(&settings(url, 4)?)?);
    let filled = each(scale.tokens.div_ceil(IMPORTED), 4, move |n| {
        let store = Arc::clone(&store);
        async move {
            let numbers = n * IMPORTED..(n + 1) * IMPORTED;
            let records = numbers.map(|n| record(n, start)).collect::<Outcome<_>>();
            store.import(records?).await?;
            Ok(())
        }
    });
    row(&format!("take over {IMPORTED} records, filling to {}", scale.tokens), &filled.await?)
}

/// Asks a store that has so many tokens.
async fn ask(scale: &Scale) -> Outcome<()> {
    let Scale { url, start, operations, .. } = scale;
    let (start, operations, filled) = (*start, *operations, scale.tokens);
    let opening = Instant::now();
    let store = Arc::new(open(url)?);
    let opened = opening.elapsed();
    let known = record(filled / 2, start)?;
    store.get(known.id).await?.ok_or("a created token is gone")?;
    line(&format!("open {opened:.1?}, to the first answer {:.1?}", opening.elapsed()))?;

    for (name, clients) in [
        ("get, asked for the first time, 16 clients", 16),
        ("get, 1 client", 1),
        ("get, 16 clients", 16),
        ("get, 64 clients", 64),
    ] {
        let store = Arc::clone(&store);
        let measured = each(operations, clients, move |n| {
            let (store, record) = (Arc::clone(&store), record(spread(n, filled), start));
            async move { Ok(store.get(record?.id).await?.map(drop).ok_or("gone")?) }
        });
        row(name, &measured.await?)?;
    }
    lists(scale, &store, filled, start).await?;

    let mut next = filled;
    for clients in [1, 64, 256] {
        let count = if clients == 1 { operations / 4 } else { operations };
        let measured = create(&store, next..next + count, clients, start).await?;
        row(&format!("create, {clients} clients"), &measured)?;
        next += count;
    }

    let shared = Arc::clone(&store);
    for clients in [1, 64] {
        let store = Arc::clone(&shared);
        let count = operations / 4;
        let measured = each(count, clients, move |n| {
            let number = spread(n + clients * count, filled);
            let (store, record) = (Arc::clone(&store), record(number, start));
            async move { Ok(store.delete(deletion(record?, start)).await.map(drop)?) }
        });
        row(&format!("delete, {clients} clients"), &measured.await?)?;
    }

    let steps = (operations / 200).max(1);
    let measured = each(steps, 1, move |_| {
        let store = Arc::clone(&store);
        async move { Ok(store.sweep(start + LIFE + LIFE, 1000).await.map(drop)?) }
    });
    row("sweep of 1000 rows", &measured.await?)
}

fn deletion(record: Record, now: Timestamp) -> Deletion {
    let Record { id, account, grant, .. } = record;
    Deletion { account, id, expires_at: grant.expires_at, now }
}

/// When each deletion was felt, by each of the gates that listen.
type Felt = Arc<Mutex<HashMap<TokenId, Vec<Instant>>>>;

/// Deletes one token after the other while many gates follow the feed, as gates do.
async fn hear(scale: &Scale) -> Outcome<()> {
    let felt = Felt::default();
    let mut following = JoinSet::new();
    for _ in 0..LISTENERS {
        let store = PostgresStore::open(&settings(&scale.url, 1)?)?;
        following.spawn(follow(store, Arc::clone(&felt)));
    }
    let store = open(&scale.url)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut answered = HashMap::new();
    let mut deleted = Measured { took: Duration::ZERO, each: Vec::new() };
    let began = Instant::now();
    for n in 0..DELETIONS {
        let record = record(HEARD_FROM + n, scale.start)?;
        let id = record.id;
        store.create(record.clone()).await?;
        let asked = Instant::now();
        store.delete(deletion(record, scale.start)).await?;
        deleted.each.push(asked.elapsed());
        answered.insert(id, Instant::now());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    deleted.took = began.elapsed();
    tokio::time::sleep(Duration::from_secs(3)).await;
    following.abort_all();
    let felt = felt.lock().map_err(|_| "a listener has failed")?;
    let mut heard = Measured { took: began.elapsed(), each: Vec::new() };
    for (id, answered) in answered {
        let all = felt.get(&id).map_or(0, Vec::len);
        if all != LISTENERS {
            return Err(format!("{all} of {LISTENERS} gates have felt the deletion of {id}").into());
        }
        let lags = felt.get(&id).into_iter().flatten();
        heard.each.extend(lags.map(|at| at.saturating_duration_since(answered)));
    }
    heard.each.sort_unstable();
    deleted.each.sort_unstable();
    row(&format!("delete, {LISTENERS} gates listening"), &deleted)?;
    row("felt after the answer", &heard)?;
    line(&format!(
        "felt last {:.1?} after the answer",
        heard.each.last().unwrap_or(&Duration::ZERO)
    ))
}

async fn follow(store: PostgresStore, felt: Felt) -> Outcome<()> {
    let mut since = None;
    loop {
        if let Feed::Deletions { ids, next, has_next } = store.deletions(since).await? {
            let at = Instant::now();
            let mut felt = felt.lock().map_err(|_| "a listener has failed")?;
            for id in ids {
                let lags: &mut Vec<Instant> = felt.entry(id).or_default();
                // The feed may repeat itself.
                if since.is_some() && lags.len() < LISTENERS {
                    lags.push(at);
                }
            }
            since = Some(next);
            if has_next {
                continue;
            }
        }
        tokio::time::sleep(Follower::<Store>::PAUSE).await;
        let rest = Follower::<Store>::INTERVAL.saturating_sub(Follower::<Store>::PAUSE);
        let _ = tokio::time::timeout(rest, store.wakeup()).await;
    }
}

/// Adds tokens for one agent and prints their texts, for a load through a gate with the key `AAA…`.
async fn hot(scale: &Scale) -> Outcome<()> {
    let store = PostgresStore::open(&settings(&scale.url, 4)?)?;
    let keys = KeyRing::new(&[(1, MasterKey::parse(&"A".repeat(43))?)])?;
    let mut out = std::io::stdout().lock();
    for step in 0..scale.tokens.div_ceil(IMPORTED) {
        let mut records = Vec::new();
        for n in step * IMPORTED..(step + 1) * IMPORTED {
            let mut record = record(HOT_FROM + n, scale.start)?;
            record.account = AccountName::parse("default")?;
            for entry in &mut record.grant.entries {
                entry.agent = AgentId::parse("agent-11111111-1111-4111-8111-111111111111")?;
            }
            let text = keys.render(1, record.id, record.grant.expires_at).ok_or("no key")?;
            writeln!(out, "{}", text.expose())?;
            records.push(record);
        }
        store.import(records).await?;
    }
    Ok(())
}

async fn lists(scale: &Scale, store: &Arc<Store>, tokens: u64, start: Timestamp) -> Outcome<()> {
    for (name, by_agent, offset) in [
        ("list of an agent, 10 records", true, 0),
        ("list of an account, 10 records", false, 0),
        ("list of an account, offset 900", false, 900),
    ] {
        let store = Arc::clone(store);
        let measured = each(scale.operations / 10, 1, move |n| {
            let (store, record) = (Arc::clone(&store), record(spread(n, tokens), start));
            async move {
                let Record { account, grant, .. } = record?;
                let agent = grant.entries.first().map(|e| e.agent).filter(|_| by_agent);
                let key_ids = vec![1];
                let query = ListQuery {
                    account,
                    agent,
                    key_ids,
                    now: start,
                    before: None,
                    offset,
                    limit: 10,
                };
                Ok(store.list(query).await.map(drop)?)
            }
        });
        row(name, &measured.await?)?;
    }
    Ok(())
}

async fn create(
    store: &Arc<Store>,
    numbers: std::ops::Range<u64>,
    clients: u64,
    start: Timestamp,
) -> Outcome<Measured> {
    let store = Arc::clone(store);
    each(numbers.end - numbers.start, clients, move |n| {
        let (store, record) = (Arc::clone(&store), record(numbers.start + n, start));
        async move { Ok(store.create(record?).await?) }
    })
    .await
}

/// The token number `n`, always the same: ids in order of time, 10 tokens an agent.
fn record(n: u64, start: Timestamp) -> Outcome<Record> {
    let mixed = u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let created_at = start + SignedDuration::from_millis(i64::try_from(n / 10)?);
    let agent = u128::from(n / TOKENS_PER_AGENT).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced);
    let agent = (agent & !(0xf << 76) & !(0b11 << 62)) | 4 << 76 | 0b10 << 62;
    let access = [Permission::ReadMessages, Permission::WriteMessages].into_iter().collect();
    Ok(Record {
        id: TokenId::from_bytes(
            ((u128::from(u64::try_from(created_at.as_millisecond())?) << 80) | (mixed >> 48))
                .to_be_bytes(),
        ),
        key_id: 1,
        account: AccountName::parse(&format!("account-{}", n / TOKENS_PER_AGENT % ACCOUNTS))?,
        created_at,
        hostname: "https://chat.example.com".into(),
        grant: Grant {
            host: BoundHost::parse("https://chat.example.com")?,
            expires_at: start + LIFE + SignedDuration::from_millis(i64::try_from(n / 1000)?),
            entries: [PolicyEntry {
                agent: AgentId::from_u128(agent).ok_or("not an agent id")?,
                access,
            }]
            .into(),
        },
        limits: TokenLimits::NONE,
    })
}

/// The number of some token; all over the place as `n` counts up, and never the same twice.
fn spread(n: u64, tokens: u64) -> u64 {
    n.wrapping_mul(611_953) % tokens
}

/// What a run took, and each of its operations.
struct Measured {
    took: Duration,
    each: Vec<Duration>,
}

/// Runs operations 0 to `count`, `clients` at a time.
async fn each<F>(
    count: u64,
    clients: u64,
    operation: impl Fn(u64) -> F + Send + Sync + 'static,
) -> Outcome<Measured>
where
    F: Future<Output = Outcome<()>> + Send,
{
    let shared = Arc::new((AtomicU64::new(0), operation));
    let began = Instant::now();
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let shared = Arc::clone(&shared);
        running.spawn(async move {
            let (next, operation) = &*shared;
            let mut each = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= count {
                    return Outcome::Ok(each);
                }
                let operation = operation(n);
                let began = Instant::now();
                operation.await?;
                each.push(began.elapsed());
            }
        });
    }
    let mut each = Vec::new();
    while let Some(client) = running.join_next().await {
        each.extend(client??);
    }
    let took = began.elapsed();
    each.sort_unstable();
    Ok(Measured { took, each })
}

fn row(name: &str, measured: &Measured) -> Outcome<()> {
    #[expect(clippy::cast_precision_loss, reason = "a rate to read")]
    let rate = measured.each.len() as f64 / measured.took.as_secs_f64();
    let at = |percent| {
        let place = measured.each.len().saturating_sub(1) * percent / 100;
        measured.each.get(place).copied().unwrap_or_default()
    };
    line(&format!("{name:<44} {rate:>9.0}/s   p50 {:>9.1?}   p99 {:>9.1?}", at(50), at(99)))
}

fn line(text: &str) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
