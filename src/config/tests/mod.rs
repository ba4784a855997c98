//! What the operator may type, and above all what not.

mod defaults;
mod environment;
mod key_file;
mod problems;
mod secrets;

use super::{Config, Problems};

/// A server key that has the right form.
const KEY: &str = "sk-let-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OTHER_KEY: &str = "sk-let-BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

fn environment(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Loads from memory, beside the one server key that everything needs.
fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let mut environment = environment(variables);
    environment.push(("CKGATE_SERVER_KEY".to_owned(), KEY.to_owned()));
    Config::from_toml(text, environment)
}

/// What is wrong with a configuration, one problem a line; empty when nothing is.
fn problems(text: &str, variables: &[(&str, &str)]) -> String {
    load(text, variables).err().map_or_else(String::new, |problems| problems.to_string())
}

#[track_caller]
fn check(text: &str, variables: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(problems(text, variables), expected.join("\n"), "for {text}");
}

/// Like [`check`] for one problem on the first line, whose message ends as `expected`.
#[track_caller]
fn check_line(text: &str, expected: &str) {
    check(text, &[], &[&format!("line 1: {expected}")]);
}
