use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;

use super::arguments::Key;
use super::{Environment, Outcome, print_line, store};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{CommandLine, Config, SERVER_KEY_PREFIX, StoreConfig};
use crate::store::{KeyUse, PostgresStore, SqliteExport, SqliteSettings};
use crate::token::{KeyRing, MasterKey};

pub(super) fn execute(command: &Key, environment: &Environment) -> Outcome {
    match command {
        Key::New { server, rotate } => new(*server, rotate.as_deref(), environment),
        Key::List { config } => list(config, environment),
    }
}

/// Prints a fresh key.
fn new(server: bool, rotate: Option<&Path>, environment: &Environment) -> Outcome {
    let key = MasterKey::generate().map_err(|_| "the system gives no randomness")?.to_text();
    if let Some(file) = rotate {
        tell_steps(file, environment)?;
    }
    // A master key's text is 256 random bits in characters that a server key may have, too.
    if server { print_line(&format!("{SERVER_KEY_PREFIX}{}", *key)) } else { print_line(&key) }
}

/// What to do with a new key beside those of this configuration. Goes to standard error: standard
/// output is the key alone.
fn tell_steps(file: &Path, environment: &Environment) -> Outcome {
    let config = checked(file, environment)?;
    let held: BTreeSet<u8> = config.tokens.keys.ids().into_iter().collect();
    let minting = config.tokens.keys.minting_id();
    let free = (1..=255).find(|id| !held.contains(id)).ok_or("all 255 key ids are taken")?;
    let days = config.tokens.max_lifetime.as_secs().div_ceil(24 * 3600);
    let file = file.display();
    let mut out = std::io::stderr().lock();
    writeln!(
        out,
        "the gate holds the keys {held:?} and mints with {minting}; give the new one the id {free}.\n\
         A gate takes its changed files up by itself within seconds, or at once at SIGHUP; after each \
         step, `ckgate key list --config {file}` shows where you are.\n\
         1. add: on every gate, put {{ id = {free}, … }} behind the others in `tokens.keys`\n\
         2. mint: when every gate holds it, put it first on every gate\n\
         3. retire: when no live token of {minting} is left, {days} days later at most, take that away"
    )?;
    Ok(())
}

/// Shows the keys of a configuration beside those of the live tokens of its store.
fn list(file: &Path, environment: &Environment) -> Outcome {
    let config = checked(file, environment)?;
    let now = SystemClock::default().now();
    let used = in_store(&config.store, now)?;
    for line in lines(&config.tokens.keys, &used) {
        print_line(&line)?;
    }
    Ok(())
}

fn in_store(config: &StoreConfig, now: Timestamp) -> Result<Vec<KeyUse>, Box<dyn Error>> {
    match config {
        StoreConfig::Sqlite(path) if !path.exists() => Ok(Vec::new()),
        StoreConfig::Sqlite(path) => {
            Ok(SqliteExport::open(&SqliteSettings::at(path))?.key_uses(now)?)
        }
        StoreConfig::Postgres(config) => {
            let store = PostgresStore::open(&store::patient(config))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(store.key_uses(now))?)
        }
    }
}

/// One line a key: those that are held, in their order, then those that are missing.
fn lines(keys: &KeyRing, used: &[KeyUse]) -> Vec<String> {
    let of = |id: u8| used.iter().find(|used| used.key_id == id);
    let live = |used: &KeyUse| {
        let tokens = if used.live == 1 { "token" } else { "tokens" };
        format!("{} live {tokens}, the last expires {:.0}", used.live, used.last_expiry)
    };
    let held = keys.ids();
    let shown = held.iter().map(|id| match of(*id) {
        Some(used) if *id == keys.minting_id() => format!("key {id}: mints; {}", live(used)),
        None if *id == keys.minting_id() => format!("key {id}: mints; no live token"),
        Some(used) => format!("key {id}: verifies; {}: keep it until then", live(used)),
        None => format!(
            "key {id}: verifies; no live token: take it away, unless a gate is yet to mint with it"
        ),
    });
    let missing = used.iter().filter(|used| !held.contains(&used.key_id));
    let missing = missing.map(|used| format!("key {}: NOT HELD; {}", used.key_id, live(used)));
    shown.chain(missing).collect()
}

fn checked(file: &Path, environment: &Environment) -> Result<Config, Box<dyn Error>> {
    Ok(Config::check(Some(file), environment.clone(), CommandLine::default())?)
}
