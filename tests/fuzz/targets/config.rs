//! The configuration file: whatever is typed, there is a configuration or at least one problem.

#![no_main]

use ckgate::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Files that it names are read, so it names none.
    if text.contains("file") || text.contains('/') {
        return;
    }
    let key = ("CKGATE_SERVER_KEY", "sk-let-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let environment = [key].map(|(name, value)| (name.to_owned(), value.to_owned()));
    match Config::from_toml(text, environment) {
        Ok(config) => assert!(!format!("{config:?}").contains(key.1)),
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});
