//! The way to the server: encrypted and verified, or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use toml::{Table, Value};

use crate::cluster::Cluster;
use crate::fleet::{Fleet, STALENESS_MAX, assert_felt, end_of, open_stream, read, try_delete};
use crate::harness::{A, Leaf, Pki, mint};
use crate::migrate::{ckgate, failed};

const PASSWORD: &str = "a-password-of-the-gates";

/// A server for 127.0.0.1 with the roles `gate` and `mutual`, and what vouches for it.
struct Secure {
    cluster: Cluster,
    /// Of the server.
    authority: Pki,
    /// Of its clients.
    clients: Pki,
    folder: TempDir,
}

impl Secure {
    fn start(names: &[&str]) -> Self {
        let (authority, clients) = (Pki::new(), Pki::new());
        let cluster = Cluster::start_secure(&authority.leaf(names), &clients);
        let role = format!(
            "CREATE ROLE gate LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE mutual LOGIN;
             GRANT gate TO mutual"
        );
        cluster.sql("postgres", &role);
        cluster.sql("postgres", "CREATE DATABASE ckgate OWNER gate");
        let folder = tempfile::tempdir().unwrap();
        let secure = Self { cluster, authority, clients, folder };
        secure.write("roots.pem", secure.authority.pem());
        secure.write("password", PASSWORD);
        secure
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn url(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/ckgate", self.cluster.port())
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        let mut password = Table::new();
        password.insert("file".to_owned(), text(&self.folder.path().join("password")).into());
        let roots = self.folder.path().join("roots.pem");
        vec![("store.tls_roots", text(&roots).into()), ("store.password", password.into())]
    }

    /// How many sessions a role has, how many of them are encrypted, and that with TLS 1.2 or newer.
    fn sessions(&self, role: &str) -> (usize, usize) {
        let sql = format!(
            "SELECT count(*), count(*) FILTER (WHERE ssl AND version IN ('TLSv1.2', 'TLSv1.3'))
             FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = '{role}'"
        );
        let counts = self.cluster.sql("postgres", &sql);
        let (all, encrypted) = counts.split_once('|').unwrap();
        (all.parse().unwrap(), encrypted.parse().unwrap())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn prepare(url: &str, options: &[&str]) -> Command {
    let mut command = ckgate(&[&["store", "prepare", "--to", url][..], options].concat());
    command.env("PASSWORD", PASSWORD);
    command
}

fn with_roots(roots: &Path) -> Vec<&str> {
    vec!["--password-env", "PASSWORD", "--tls-roots", text(roots)]
}

/// Two gates, a deletion, a stream: all of it within TLS.
#[test]
fn gates_keep_the_promise_over_tls() {
    let secure = Secure::start(&["127.0.0.1"]);
    let fleet = Fleet::start_with(&vec![secure.url("gate"); 2], &secure.settings());
    let [here, there] = &fleet.gates[..] else { panic!("two gates") };
    let token = mint(here, A, &["read_messages", "write_messages"]);
    assert_eq!((read(here, &token).status, read(there, &token).status), (200, 200));
    let mut stream = open_stream(there, &token);
    let (all, encrypted) = secure.sessions("gate");
    assert!(all >= 4, "{all} sessions: both gates ask, and both listen");
    assert_eq!(encrypted, all, "every session is encrypted");
    assert_eq!(try_delete(here, &token).status, 200);
    let deleted = Instant::now();
    assert_felt(there, &token, deleted, STALENESS_MAX, Duration::from_millis(500));
    assert_eq!(end_of(&mut stream).1, "token_revoked");
}

#[test]
fn server_that_cannot_prove_its_name_is_not_spoken_to() {
    let secure = Secure::start(&["127.0.0.1"]);
    let roots = secure.folder.path().join("roots.pem");
    let password = ["--password-env", "PASSWORD"];
    let url = secure.url("gate");

    // Signed by another authority; by none that the web trusts; and for another name.
    let other = secure.write("other.pem", Pki::new().pem());
    for options in [with_roots(&other), password.to_vec()] {
        let said = failed(prepare(&url, &options));
        assert!(said.contains("certificate"), "{said}");
    }
    let elsewhere = Secure::start(&["db.example"]);
    let elsewhere_roots = elsewhere.folder.path().join("roots.pem");
    let said = failed(prepare(&elsewhere.url("gate"), &with_roots(&elsewhere_roots)));
    assert!(said.contains("certificate"), "{said}");
    for one in [&secure, &elsewhere] {
        assert_eq!(one.cluster.sql("ckgate", "SELECT to_regclass('tokens') IS NULL"), "t");
    }

    assert!(prepare(&url, &with_roots(&roots)).output().unwrap().status.success());
    // The name inside the session is bound to the certificate that was verified.
    let bound = format!("{url}?channel_binding=require");
    assert!(prepare(&bound, &with_roots(&roots)).output().unwrap().status.success());
    assert_eq!(secure.cluster.sql("ckgate", "SELECT to_regclass('tokens') IS NULL"), "f");
}

/// Whoever strips encryption on the way answers as this server does.
#[test]
fn server_without_tls_is_not_spoken_to_in_clear() {
    let plain = Cluster::start();
    plain.create_database("ckgate");
    let secure = Secure::start(&["127.0.0.1"]);
    let roots = secure.folder.path().join("roots.pem");
    let url = format!("postgres://postgres@127.0.0.1:{}/ckgate", plain.port());
    for options in [vec![], vec!["--tls-roots", text(&roots)]] {
        let said = failed(prepare(&url, &options));
        assert!(said.contains("server does not support TLS"), "{said}");
    }
    // Nor the other way round: off means off, and roots are not silently passed over.
    let off = format!("{url}?sslmode=disable");
    let said = failed(prepare(&off, &["--tls-roots", text(&roots)]));
    assert!(said.contains("nothing is encrypted"), "{said}");
    assert_eq!(plain.sql("ckgate", "SELECT to_regclass('tokens') IS NULL"), "t");
    assert!(prepare(&off, &[]).output().unwrap().status.success());
    for weak in ["require", "prefer", "allow", "verify-ca"] {
        let said = failed(prepare(&format!("{url}?sslmode={weak}"), &[]));
        assert!(said.contains("do not verify who answers"), "{said}");
    }
}

fn pair(leaf: &Leaf, secure: &Secure, stem: &str) -> [PathBuf; 2] {
    [
        secure.write(&format!("{stem}.pem"), &leaf.certificate),
        secure.write(&format!("{stem}.key"), &leaf.key),
    ]
}

#[test]
fn gate_shows_its_certificate_to_a_server_that_asks_for_it() {
    let secure = Secure::start(&["127.0.0.1"]);
    let roots = secure.folder.path().join("roots.pem");
    let url = secure.url("mutual");
    let own = pair(&secure.clients.leaf(&["gate-one"]), &secure, "own");
    let strangers = pair(&Pki::new().leaf(&["gate-one"]), &secure, "strangers");
    let prepare_with = |pair: Option<&[PathBuf; 2]>| {
        let mut options = vec!["--tls-roots", text(&roots)];
        if let Some([certificate, key]) = pair {
            options.extend(["--certificate", text(certificate), "--key", text(key)]);
        }
        prepare(&url, &options)
    };
    failed(prepare_with(None));
    failed(prepare_with(Some(&strangers)));
    let mixed = [own[0].clone(), strangers[1].clone()];
    let said = failed(prepare_with(Some(&mixed)));
    assert!(said.contains("cannot be used together"), "{said}");
    secure.cluster.sql("ckgate", "GRANT CREATE ON SCHEMA public TO mutual");
    assert!(prepare_with(Some(&own)).output().unwrap().status.success());

    let mut settings = secure.settings();
    settings
        .extend([("store.certificate", text(&own[0]).into()), ("store.key", text(&own[1]).into())]);
    let fleet = Fleet::start_with(&[url], &settings);
    let token = mint(&fleet.gates[0], A, &["read_messages"]);
    assert_eq!(read(&fleet.gates[0], &token).status, 200);
    let (all, encrypted) = secure.sessions("mutual");
    assert!(all >= 2 && all == encrypted, "{encrypted} of {all}");
    let shown = "SELECT bool_and(client_dn IS NOT NULL) FROM pg_stat_ssl
                 JOIN pg_stat_activity USING (pid) WHERE usename = 'mutual'";
    assert_eq!(secure.cluster.sql("postgres", shown), "t");
}
