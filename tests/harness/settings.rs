//! The configuration of a gate under test.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use toml::{Table, Value};

use super::{CREDENTIAL, OTHER_SERVER_KEY, SERVER_KEY};

/// Keys of the configuration that differ from the harness's own, such as `limits.headers_max`.
pub(crate) type Settings<'s> = &'s [(&'s str, Value)];

/// Writes `ckgate.toml` and the files it names.
pub(super) fn write(directory: &Path, upstream: &str, settings: Settings<'_>) {
    let accounts = vec![
        account("default", secret(directory, "server-key", SERVER_KEY)),
        account("other", secret(directory, "other-server-key", OTHER_SERVER_KEY)),
    ];
    let store = format!("sqlite:{}", directory.join("ckgate.db").display());
    let mut table = Table::new();
    set(&mut table, "listen.public", "127.0.0.1:0".into());
    set(&mut table, "listen.admin", "127.0.0.1:0".into());
    set(&mut table, "upstream.url", format!("http://{upstream}").into());
    let credential = secret(directory, "upstream-credential", CREDENTIAL);
    set(&mut table, "upstream.credential", credential);
    set(&mut table, "accounts", accounts.into());
    set(&mut table, "store.url", store.into());
    // Tests ask the same thing in a loop until it changes.
    set(&mut table, "limits.requests_per_minute_per_token", 0.into());
    for (key, value) in settings {
        set(&mut table, key, value.clone());
    }
    fs::write(directory.join("ckgate.toml"), table.to_string()).unwrap();
}

fn account(name: &str, server_key: Value) -> Value {
    let mut account = Table::new();
    account.insert("name".to_owned(), name.into());
    account.insert("server_keys".to_owned(), vec![server_key].into());
    account.into()
}

/// Keeps a secret in a file that only this user can read, and names the file.
fn secret(directory: &Path, name: &str, text: &str) -> Value {
    let path = directory.join(name);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let mut table = Table::new();
    table.insert("file".to_owned(), path.to_str().unwrap().into());
    table.into()
}

/// Sets `section.key`.
fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            set(inner.as_table_mut().unwrap(), rest, value);
        }
    }
}
