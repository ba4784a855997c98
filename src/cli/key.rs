use super::arguments::Key;
use super::{Outcome, print_line};
use crate::config::SERVER_KEY_PREFIX;
use crate::token::MasterKey;

/// Prints a fresh key.
pub(super) fn execute(command: &Key) -> Outcome {
    let Key::New { server } = command;
    let key = MasterKey::generate().map_err(|_| "the system gives no randomness")?.to_text();
    // A master key's text is 256 random bits in characters that a server key may have, too.
    if *server { print_line(&format!("{SERVER_KEY_PREFIX}{}", *key)) } else { print_line(&key) }
}
