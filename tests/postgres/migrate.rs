//! Moving from an embedded store to a shared one, and preparing one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, within};
use crate::fleet::{Fleet, read};
use crate::harness::{
    A, B, Gate, ORIGIN, SERVER_KEY, TOKENS, assert_refused, create, delete, mint,
};
use crate::policy::{AgentId, BoundHost, Grant, Permission, PolicyEntry};
use crate::store::{Deletion, SqliteSettings, SqliteStore, TokenStore as _};
use crate::token::{AccountName, Record, TokenId, TokenLimits};

pub(crate) fn ckgate(arguments: &[impl AsRef<OsStr>]) -> Command {
    let program = std::env::var_os("CKGATE_TESTED");
    let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_ckgate").into());
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn migrate(from: &Path, to: &str) -> Command {
    let from = format!("sqlite:{}", from.display());
    ckgate(&["store", "migrate", "--from", &from, "--to", to])
}

/// What a command says that has to succeed.
#[track_caller]
fn done(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command says that has to fail.
#[track_caller]
pub(crate) fn failed(mut command: Command) -> String {
    let output: Output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A server with an empty database, and a folder in which an embedded store can be made at this path.
#[track_caller]
fn places() -> (Cluster, TempDir, PathBuf) {
    let cluster = Cluster::start();
    cluster.create_database("ckgate");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ckgate.db");
    (cluster, folder, path)
}

fn list(gate: &Gate) -> Value {
    let answer =
        gate.call("GET", &format!("{TOKENS}?usage=true&limit=1000")).bearer(SERVER_KEY).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn tokens_of_an_embedded_store_go_on_at_a_shared_one() {
    let (cluster, _folder, path) = places();
    let fleet = Fleet::start(&[]);
    let mut old = fleet.gate(&format!("sqlite:{}", path.display()), &["key-1"], &[]);
    let live: Vec<String> = (0..30).map(|_| mint(&old, A, &["read_messages"])).collect();
    let other = mint(&old, B, &["read_messages"]);
    let limits = json!({"requests_per_minute": 2});
    let limited = create(
        &old,
        &json!({
            "policy": [{"type": "agent", "id": A, "access": ["read_messages", "write_agent"]}],
            "hostname": ORIGIN,
            "limits": limits,
        }),
    );
    let dead: Vec<String> = (0..5).map(|_| mint(&old, A, &["read_messages"])).collect();
    for token in &dead {
        delete(&old, token);
    }
    assert_eq!(read(&old, &live[0]).status, 200);
    old.terminate();
    assert!(old.wait_for_exit().success());
    old.restart();
    let before = list(&old);
    assert_eq!(before["tokens"].as_array().unwrap().len(), 32);
    old.kill();

    let said = done(migrate(&path, &cluster.url("ckgate")));
    assert!(said.contains("moved 32 records (0 were there already) and 5 deletions"), "{said}");
    let said = done(migrate(&path, &cluster.url("ckgate")));
    assert!(said.contains("moved 0 records (32 were there already) and 5 deletions"), "{said}");

    let new = fleet.gate(&cluster.url("ckgate"), &["key-1"], &[]);
    assert_eq!(list(&new), before, "what was listed there is listed here");
    // Found by its name: tokens of one millisecond have no order among them.
    let mut listed = before["tokens"].as_array().unwrap().iter();
    let row = listed.find(|row| row["token"] == limited["token"]).unwrap();
    assert_eq!(row["limits"], limits);
    for token in &live {
        assert_eq!(read(&new, token).status, 200);
    }
    assert_refused(&read(&new, &other), 403, "permission_denied");
    for token in &dead {
        assert_refused(&read(&new, token), 401, "token_invalid");
    }
    let limited = limited["token"].as_str().unwrap();
    let statuses: Vec<u16> = (0..3).map(|_| read(&new, limited).status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    delete(&new, &live[0]);
    assert_refused(&read(&new, &live[0]), 401, "token_invalid");
    // Moving once more brings nothing back to life.
    done(migrate(&path, &cluster.url("ckgate")));
    assert_refused(&read(&new, &live[0]), 401, "token_invalid");
}

/// The old gate serves until the new ones have everything: the second move brings what came since.
#[test]
fn gate_may_go_on_serving_while_its_store_is_moved() {
    let (cluster, _folder, path) = places();
    let fleet = Fleet::start(&[]);
    let mut old = fleet.gate(&format!("sqlite:{}", path.display()), &["key-1"], &[]);
    let (early, doomed) = (mint(&old, A, &["read_messages"]), mint(&old, A, &["read_messages"]));
    done(migrate(&path, &cluster.url("ckgate")));
    let late = mint(&old, A, &["read_messages"]);
    delete(&old, &doomed);
    let said = done(migrate(&path, &cluster.url("ckgate")));
    assert!(said.contains("moved 1 records (1 were there already) and 1 deletions"), "{said}");
    assert_eq!(read(&old, &late).status, 200, "the old gate has not noticed");
    old.kill();
    let new = fleet.gate(&cluster.url("ckgate"), &["key-1"], &[]);
    assert_eq!((read(&new, &early).status, read(&new, &late).status), (200, 200));
    assert_refused(&read(&new, &doomed), 401, "token_invalid");
}

/// An embedded store of many records, some of them deleted.
fn large_store(path: &Path, count: usize) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let deleted = count.div_ceil(50);
    runtime.block_on(async {
        let store = Arc::new(SqliteStore::open(&SqliteSettings::at(path)).unwrap());
        let start = Timestamp::now();
        let mut running = JoinSet::new();
        for client in 0..250 {
            let store = Arc::clone(&store);
            running.spawn(async move {
                for n in (client..count).step_by(250) {
                    let record = record(n, start);
                    store.create(record.clone()).await.unwrap();
                    if n % 50 == 0 {
                        let deletion = Deletion {
                            account: record.account,
                            id: record.id,
                            expires_at: record.grant.expires_at,
                            now: start,
                        };
                        store.delete(deletion).await.unwrap();
                    }
                }
            });
        }
        running.join_all().await;
    });
    (count - deleted, deleted)
}

fn record(n: usize, start: Timestamp) -> Record {
    let created_at = start + SignedDuration::from_millis(i64::try_from(n).unwrap());
    Record {
        id: TokenId::generate(created_at).unwrap(),
        key_id: 1,
        account: AccountName::parse("default").unwrap(),
        created_at,
        hostname: ORIGIN.into(),
        grant: Grant {
            host: BoundHost::parse(ORIGIN).unwrap(),
            expires_at: created_at + SignedDuration::from_hours(5),
            entries: [A, B]
                .map(|agent| PolicyEntry {
                    agent: AgentId::parse(agent).unwrap(),
                    access: [Permission::ReadMessages].into_iter().collect(),
                })
                .into_iter()
                .collect(),
        },
        limits: TokenLimits::NONE,
    }
}

fn count(cluster: &Cluster, table: &str) -> usize {
    let exists = format!("SELECT to_regclass('{table}') IS NOT NULL");
    if cluster.sql("ckgate", &exists) != "t" {
        return 0;
    }
    cluster.sql("ckgate", &format!("SELECT count(*) FROM {table}")).parse().unwrap()
}

#[test]
fn move_that_was_killed_is_made_again_and_comes_to_the_same() {
    let (cluster, _folder, path) = places();
    let (live, deleted) = large_store(&path, 25_000);
    let mut interrupted = 0;
    for part in 1..=2 {
        let mut moving = migrate(&path, &cluster.url("ckgate"));
        let mut moving = moving.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        within(Duration::from_mins(2), "some of it is moved", || {
            count(&cluster, "tokens") >= part * live / 4 || moving.try_wait().unwrap().is_some()
        });
        moving.kill().unwrap();
        interrupted += usize::from(!moving.wait().unwrap().success());
        println!("killed with {} of {live} records moved", count(&cluster, "tokens"));
    }
    assert_eq!(interrupted, 2, "both were killed on their way");
    assert!(count(&cluster, "tokens") < live);

    let said = done(migrate(&path, &cluster.url("ckgate")));
    assert!(said.contains(&format!("and {deleted} deletions")), "{said}");
    assert!(!said.contains("(0 were there already)"), "it went on where it was: {said}");
    assert_eq!(count(&cluster, "tokens"), live);
    assert_eq!(count(&cluster, "token_agents"), 2 * live);
    assert_eq!(count(&cluster, "deletions"), deleted);
    // What is compared is compared: a record that is another one at the new place is told.
    let changed = "UPDATE tokens SET hostname = 'https://evil.test'
                   WHERE id = (SELECT id FROM tokens ORDER BY id OFFSET 12345 LIMIT 1)";
    cluster.sql("ckgate", changed);
    let said = failed(migrate(&path, &cluster.url("ckgate")));
    assert!(said.contains("is not the same at both places"), "{said}");
}

/// Seen only by whoever has a terminal.
#[test]
fn progress_is_shown_on_a_terminal_and_nowhere_else() {
    let (cluster, _folder, path) = places();
    let (live, deleted) = large_store(&path, 3000);
    let command = migrate(&path, &cluster.url("ckgate"));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let command: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let seen = Command::new("script")
        .args(["-qefc", &command.join(" "), "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let seen_text = String::from_utf8_lossy(&seen.stdout);
    assert!(seen.status.success(), "{seen_text}");
    for phase in ["moving", "verifying"] {
        let shown = format!("/{} ", live + deleted);
        assert!(seen_text.contains(phase) && seen_text.contains(&shown), "{seen_text}");
    }
    let plain = migrate(&path, &cluster.url("ckgate")).output().unwrap();
    assert!(plain.status.success() && plain.stderr.is_empty(), "{plain:?}");
    let said = String::from_utf8(plain.stdout).unwrap();
    assert!(said.starts_with("moved ") && said.lines().count() == 1, "{said:?}");
    assert!(said.contains(&format!("({live} were there already)")), "{said}");
}

#[test]
fn move_from_or_to_nowhere_says_so_and_makes_nothing() {
    let (cluster, _folder, path) = places();
    let said = failed(migrate(&path, &cluster.url("ckgate")));
    assert!(said.contains("there is no store at"), "{said}");
    assert!(!path.exists());
    assert_eq!(count(&cluster, "tokens"), 0);
    large_store(&path, 10);
    let said = failed(migrate(&path, &cluster.url("nothing")));
    assert!(said.contains("PostgreSQL cannot be reached"), "{said}");
    let said = failed(migrate(&path, "sqlite:elsewhere.db"));
    assert!(said.contains("postgres://"), "{said}");
}
