use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::super::raw::{self, Environment};
use super::super::reader::Context;
use super::super::{Preflight, Problems, WithoutOrigin, read, seconds};
use super::{KEY, load};
use crate::token::Secret;

const FILE: &str = include_str!("../../../config/ckgate.toml");

#[test]
fn documented_file_equals_the_built_in_defaults() -> Result<(), Problems> {
    let documented = format!("{:#?}", load(FILE, &[])?);
    let built_in = format!("{:#?}", load("", &[])?);
    assert_eq!(documented, built_in);
    Ok(())
}

#[test]
fn every_key_the_code_knows_stands_in_the_file_and_no_other() {
    let environment = Environment::from([("CKGATE_SERVER_KEY".to_owned(), KEY.to_owned())]);
    let mut problems = Vec::new();
    let root = raw::parse(FILE, &mut problems);
    let mut context = Context { environment, problems, known: BTreeSet::new(), files: Vec::new() };
    let _ = context.read("", root, read);
    assert!(context.problems.is_empty(), "{:?}", context.problems);

    let sections: BTreeSet<String> =
        context.known.iter().filter(|key| !key.contains('.')).cloned().collect();
    // `{ env }`, `{ file }` and the keys of one token key are explained at the top of the file.
    let keys: BTreeSet<String> = context
        .known
        .iter()
        .filter(|key| key.contains('.') && !inside_a_value(key))
        .cloned()
        .collect();
    assert_eq!((sections, keys), keys_in(FILE));
}

fn inside_a_value(key: &str) -> bool {
    key.starts_with("tokens.keys.") || key.split('.').count() > 2
}

/// The sections and `section.key`s of a file, those in comments included.
fn keys_in(file: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut sections, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let mut section = String::new();
    for line in file.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
            sections.insert(section.clone());
            continue;
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        let name = |b: u8| b.is_ascii_lowercase() || b == b'_';
        if let Some((key, _)) = line.split_once(" = ")
            && key.bytes().all(name)
            && !section.is_empty()
        {
            keys.insert(format!("{section}.{key}"));
        }
    }
    (sections, keys)
}

#[test]
fn optional_keys_are_right_when_uncommented() -> Result<(), Problems> {
    let uncommented: String = FILE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => rest,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let uncommented = uncommented
        .replace("http://127.0.0.1:8283", "https://127.0.0.1:8283")
        .replace("admin = \"clear\"", "admin = \"tls\"");
    let variables = [
        ("LETTA_SERVER_PASSWORD", "one"),
        ("LETTA_DEFAULT_PASSWORD", "two"),
        ("CKGATE_ADMIN_CREDENTIAL", "an-admin-credential-of-32-letters"),
        ("CKGATE_STORE_PASSWORD", "three"),
    ];
    let config = load(&uncommented, &variables)?;
    assert_eq!(config.server.workers, 2);
    assert!(config.tls.admin_clients.is_some() && config.upstream.tls.is_some());
    assert!(config.listen.control.is_some() && config.routes.is_some());
    assert!(config.accounts.iter().all(|a| a.user_id.is_some() && a.credential.is_some()));
    Ok(())
}

#[test]
fn bare_start_is_on_loopback_and_refuses_what_it_can_refuse() -> Result<(), Problems> {
    let config = load("", &[("LETTA_SERVER_PASSWORD", "hunter2\n")])?;
    assert_eq!(config.listen.public, SocketAddr::from(([127, 0, 0, 1], 8284)));
    assert_eq!(config.listen.admin, SocketAddr::from(([127, 0, 0, 1], 8285)));
    assert_eq!(config.upstream.authority, "127.0.0.1:8283");
    assert_eq!(config.upstream.credential.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(config.hostname.without_origin, WithoutOrigin::Refuse);
    assert_eq!(config.cors.preflight, Preflight::LiveOrigins);
    assert_eq!(config.revocation.max_staleness, seconds(3));
    assert_eq!(config.tokens.max_lifetime, seconds(30 * 24 * 3600));
    assert_eq!(config.tokens.keys.minting_id(), 1);
    let names: Vec<&str> = config.accounts.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["default"]);
    let keys: Vec<&str> =
        config.accounts.iter().flat_map(|a| &a.server_keys).map(Secret::expose).collect();
    assert_eq!(keys, [KEY]);
    Ok(())
}
