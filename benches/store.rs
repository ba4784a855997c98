//! How fast the embedded store is: durable creates, look-ups, lists, deletions, sweeps, and opening a
//! store that is already full.
//!
//! `cargo bench --bench store` fills it with a million tokens; `CKGATE_BENCH_TOKENS` changes that.
//! Started by `cargo test`, it only shows that it still works.

use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ckgate::policy::{AgentId, BoundHost, Grant, Permission, PolicyEntry};
use ckgate::store::{Deletion, ListQuery, SqliteSettings, SqliteStore, TokenStore};
use ckgate::token::{AccountName, Record, TokenId, TokenLimits};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ACCOUNTS: u64 = 1000;
const TOKENS_PER_AGENT: u64 = 10;
/// Tokens that are swept away at the end.
const LIFE: SignedDuration = SignedDuration::from_hours(1);

/// How much is measured.
struct Scale {
    tokens: u64,
    operations: u64,
}

fn main() -> Outcome<()> {
    let benchmarking = std::env::args().any(|argument| argument == "--bench");
    let tokens = std::env::var("CKGATE_BENCH_TOKENS").ok().map(|n| n.parse()).transpose()?;
    let scale = if benchmarking {
        Scale { tokens: tokens.unwrap_or(1_000_000), operations: 20_000 }
    } else {
        Scale { tokens: 2000, operations: 200 }
    };
    tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(run(&scale))
}

async fn run(scale: &Scale) -> Outcome<()> {
    let folder = tempfile::TempDir::new()?;
    let settings = SqliteSettings::at(folder.path().join("store.db"));
    let store = Arc::new(SqliteStore::open(&settings)?);
    let start = Timestamp::now();

    let filled = create(&store, 0..scale.tokens, 256, start).await?;
    row(&format!("create, 256 clients, filling to {}", scale.tokens), &filled)?;
    let mut next = scale.tokens;
    for clients in [1, 64, 256] {
        let operations = if clients == 1 { scale.operations / 4 } else { scale.operations };
        let measured = create(&store, next..next + operations, clients, start).await?;
        row(&format!("create, {clients} clients"), &measured)?;
        next += operations;
    }

    drop(Arc::into_inner(store));
    let opening = Instant::now();
    let store = Arc::new(SqliteStore::open(&settings)?);
    let opened = opening.elapsed();
    let known = record(next / 2, start)?;
    store.get(known.id).await?.ok_or("a created token is gone")?;
    let first = opening.elapsed();
    line(&format!("open {opened:.1?}, to the first answer {first:.1?}"))?;

    for clients in [1, 16] {
        let store = Arc::clone(&store);
        let measured = each(scale.operations, clients, move |n| {
            let (store, record) = (Arc::clone(&store), record(spread(n, next), start));
            async move { Ok(store.get(record?.id).await?.map(drop).ok_or("gone")?) }
        });
        row(&format!("get, {clients} clients"), &measured.await?)?;
    }
    lists(scale, &store, next, start).await?;

    let shared = Arc::clone(&store);
    let measured = each(scale.operations / 4, 1, move |n| {
        let (store, record) = (Arc::clone(&shared), record(spread(n, next), start));
        async move {
            let Record { id, account, grant, .. } = record?;
            let expires_at = grant.expires_at;
            store.delete(Deletion { account, id, expires_at, now: start }).await?;
            Ok(())
        }
    });
    row("delete, 1 client", &measured.await?)?;

    let steps = (scale.operations / 1000).max(1);
    let measured = each(steps, 1, move |_| {
        let store = Arc::clone(&store);
        async move { Ok(store.sweep(start + LIFE + LIFE, 1000).await.map(drop)?) }
    });
    row("sweep of 1000 rows", &measured.await?)
}

async fn lists(
    scale: &Scale,
    store: &Arc<SqliteStore>,
    tokens: u64,
    start: Timestamp,
) -> Outcome<()> {
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
    store: &Arc<SqliteStore>,
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
            entries: vec![PolicyEntry {
                agent: AgentId::from_u128(agent).ok_or("not an agent id")?,
                access,
            }],
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
