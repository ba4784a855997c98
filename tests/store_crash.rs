//! `kill -9` under load loses nothing that was acknowledged and brings nothing back.
//!
//! This test runs itself once more as a child, which creates and deletes as fast as it can and says
//! on its standard output what it tries and what was acknowledged. The parent kills it in the middle,
//! opens the store, and compares. `CKGATE_CRASH_ROUNDS` asks for more rounds than the usual few.

#![cfg(test)]

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ckgate::policy::{AgentId, BoundHost, Grant, Permission, PolicyEntry};
use ckgate::store::{
    DeleteOutcome, Deletion, Feed, FeedCursor, ListQuery, SqliteSettings, SqliteStore, TokenStore,
};
use ckgate::token::{AccountName, Record, TokenId, TokenLimits};
use jiff::{SignedDuration, Timestamp};

/// Set for the child: the store's file.
const CHILD_STORE: &str = "CKGATE_CRASH_STORE";
/// How many rounds, if not the usual.
const ROUNDS: &str = "CKGATE_CRASH_ROUNDS";
const ROUNDS_USUAL: usize = 20;
/// The child is killed within this time after its first acknowledgement.
const LOAD_MAX: Duration = Duration::from_millis(150);
/// Concurrent callers in the child.
const CALLERS: usize = 32;

/// What the child said before it died.
#[derive(Default)]
struct Said {
    created: Vec<TokenId>,
    delete_tried: HashSet<TokenId>,
    deleted: HashSet<TokenId>,
}

#[test]
fn kill_loses_nothing_acknowledged_and_brings_nothing_back() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let start = {
        let store = SqliteStore::open(&settings(&path)).unwrap();
        runtime.block_on(feed(&store, None)).1
    };
    let rounds = std::env::var(ROUNDS).map_or(ROUNDS_USUAL, |n| n.parse().unwrap());
    let mut said = Said::default();
    for round in 0..rounds {
        let before = (said.created.len(), said.deleted.len());
        load_and_kill(&path, &mut said);
        assert!(said.created.len() > before.0, "no load in round {round}");
        let store = SqliteStore::open(&settings(&path)).unwrap();
        // All that was said in this round, and at the end once more all that was ever said.
        let since = if round + 1 == rounds { 0 } else { before.0 };
        runtime.block_on(check(&store, &said, since, start));
    }
    assert!(!said.deleted.is_empty());
}

/// Runs the child, kills it at some moment, and adds up what it said.
fn load_and_kill(path: &Path, said: &mut Said) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_under_load", "--nocapture", "--test-threads=1"])
        .env(CHILD_STORE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut heard = String::new();
    while !heard.contains("created ") {
        assert_ne!(lines.read_line(&mut heard).unwrap(), 0, "the child ended by itself");
    }
    let reading = thread::spawn(move || lines.read_to_string(&mut heard).map(|_| heard));
    // The last byte of a fresh id is as good a die as any.
    let [.., die] = *TokenId::generate(Timestamp::now()).unwrap().as_bytes();
    thread::sleep(LOAD_MAX * u32::from(die) / 255);
    child.kill().unwrap();
    child.wait().unwrap();
    let heard = reading.join().unwrap().unwrap();

    for line in heard.lines() {
        // The last line may have been cut off by the kill: then it was not said.
        let Some((word, Some(id))) = line.split_once(' ').map(|(w, id)| (w, TokenId::parse(id)))
        else {
            continue;
        };
        match word {
            "created" => said.created.push(id),
            "deleting" => drop(said.delete_tried.insert(id)),
            "deleted" => drop(said.deleted.insert(id)),
            _ => {}
        }
    }
}

async fn check(store: &SqliteStore, said: &Said, since: usize, start: FeedCursor) {
    let in_feed: HashSet<TokenId> = feed(store, Some(start)).await.0.into_iter().collect();
    assert!(said.deleted.is_subset(&in_feed), "an acknowledged deletion is not in the feed");
    assert!(in_feed.is_subset(&said.delete_tried), "the feed names what nobody deleted");
    for id in &said.created[since..] {
        let found = store.get(*id).await.unwrap();
        assert_eq!(found.is_none(), in_feed.contains(id), "record and feed disagree about {id}");
        assert_eq!(found.is_some(), is_listed(store, *id).await, "agents disagree about {id}");
        match found {
            Some(found) => {
                assert!(!said.deleted.contains(id), "the deleted {id} came back");
                assert_eq!(found, record(*id));
            }
            None => assert!(said.delete_tried.contains(id), "the created {id} is lost"),
        }
    }
}

/// Whether the record is found by its agent, which no other has.
async fn is_listed(store: &SqliteStore, id: TokenId) -> bool {
    let Record { account, grant, created_at: now, .. } = record(id);
    let agent = grant.entries.first().map(|entry| entry.agent);
    let query =
        ListQuery { account, agent, key_ids: vec![1], now, before: None, offset: 0, limit: 1 };
    store.list(query).await.unwrap().records == [record(id)]
}

/// The whole feed after `since`, and its end.
async fn feed(store: &SqliteStore, mut since: Option<FeedCursor>) -> (Vec<TokenId>, FeedCursor) {
    let mut all = Vec::new();
    loop {
        match store.deletions(since).await.unwrap() {
            Feed::Deletions { ids, next, has_next } => {
                all.extend(ids);
                if !has_next {
                    return (all, next);
                }
                since = Some(next);
            }
            Feed::Gap { .. } => panic!("the feed has a gap"),
        }
    }
}

/// The child's part: does nothing unless it is the child.
#[test]
fn child_under_load() {
    let Ok(path) = std::env::var(CHILD_STORE) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    // The test harness has begun a line of its own.
    std::io::stdout().write_all(b"\n").unwrap();
    runtime.block_on(async {
        let store = Arc::new(SqliteStore::open(&settings(Path::new(&path))).unwrap());
        let mut callers = tokio::task::JoinSet::new();
        for n in 0..CALLERS {
            callers.spawn(create_and_delete(Arc::clone(&store), n));
        }
        while callers.join_next().await.is_some() {}
    });
}

async fn create_and_delete(store: Arc<SqliteStore>, caller: usize) {
    for n in 0_usize.. {
        let id = TokenId::generate(Timestamp::now()).unwrap();
        store.create(record(id)).await.unwrap();
        say("created", id);
        if (n + caller).is_multiple_of(3) {
            say("deleting", id);
            let Record { account, grant, created_at: now, .. } = record(id);
            let expires_at = grant.expires_at;
            let outcome = store.delete(Deletion { account, id, expires_at, now }).await.unwrap();
            assert_eq!(outcome, DeleteOutcome::Deleted);
            say("deleted", id);
        }
    }
}

/// One line, in one piece.
fn say(word: &str, id: TokenId) {
    std::io::stdout().write_all(format!("{word} {id}\n").as_bytes()).unwrap();
}

/// A small log, so that the kill meets checkpoints too.
fn settings(path: &Path) -> SqliteSettings {
    let mut settings = SqliteSettings::at(PathBuf::from(path));
    settings.checkpoint_pages = 100;
    settings.busy_wait = Duration::from_mins(5);
    settings.answer_wait = Duration::from_mins(5);
    settings.batch_max = NonZeroUsize::new(20).unwrap();
    settings
}

/// The record of this id: everything in it follows from the id.
fn record(id: TokenId) -> Record {
    let n = u128::from_be_bytes(*id.as_bytes());
    let agent = (n.rotate_left(64) & !(0xf << 76) & !(0b11 << 62)) | 4 << 76 | 0b10 << 62;
    let created_at = Timestamp::from_millisecond(i64::try_from(n >> 80).unwrap()).unwrap();
    let hostname = format!("host-{:x}.example", n & 0xffff);
    Record {
        id,
        key_id: 1,
        account: AccountName::parse(if n.is_multiple_of(2) { "even" } else { "odd" }).unwrap(),
        created_at,
        grant: Grant {
            host: BoundHost::parse(&hostname).unwrap(),
            expires_at: created_at + SignedDuration::from_hours(24),
            entries: [PolicyEntry {
                agent: AgentId::from_u128(agent).unwrap(),
                access: [Permission::ReadMessages].into_iter().collect(),
            }]
            .into(),
        },
        limits: TokenLimits::NONE,
        hostname: hostname.into(),
    }
}
