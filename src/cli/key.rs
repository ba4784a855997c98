use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use super::arguments::Key;
use super::{Environment, Outcome, print_line};
use crate::config::{CommandLine, Config, SERVER_KEY_PREFIX};
use crate::token::MasterKey;

/// Prints a fresh key.
pub(super) fn execute(command: &Key, environment: &Environment) -> Outcome {
    let Key::New { server, rotate } = command;
    let key = MasterKey::generate().map_err(|_| "the system gives no randomness")?.to_text();
    if let Some(file) = rotate {
        tell_steps(file, environment)?;
    }
    // A master key's text is 256 random bits in characters that a server key may have, too.
    if *server { print_line(&format!("{SERVER_KEY_PREFIX}{}", *key)) } else { print_line(&key) }
}

/// What to do with a new key beside those of this configuration. Goes to standard error: standard
/// output is the key alone.
fn tell_steps(file: &Path, environment: &Environment) -> Outcome {
    let config = Config::check(Some(file), environment.clone(), CommandLine::default())?;
    let held: BTreeSet<u8> = config.tokens.keys.ids().into_iter().collect();
    let minting = config.tokens.keys.minting_id();
    let free = (1..=255).find(|id| !held.contains(id)).ok_or("all 255 key ids are taken")?;
    let days = config.tokens.max_lifetime.as_secs().div_ceil(24 * 3600);
    let mut out = std::io::stderr().lock();
    writeln!(
        out,
        "the gate holds the keys {held:?} and mints with {minting}; give the new one the id {free}:\n\
         1. add: on every gate, put {{ id = {free}, … }} behind the others in `tokens.keys`, and restart\n\
         2. mint: when every gate holds it, put it first on every gate, and restart\n\
         3. retire: {days} days after the last gate minted with {minting}, take that away"
    )?;
    Ok(())
}
