//! Least privilege: one role makes the tables, another serves from them and can do nothing else.

use std::time::Duration;

use crate::cluster::{Cluster, within};
use crate::fleet::{Fleet, STALENESS_MAX, read, try_delete};
use crate::harness::{A, SERVER_KEY, TOKENS, assert_refused, mint, mint_until};
use crate::migrate::{ckgate, failed};

/// The only SQL of the README.
fn grants() -> &'static str {
    let readme = include_str!("../../README.md");
    let mut blocks = readme.split("```sql\n").skip(1);
    let block = blocks.next().unwrap().split("```").next().unwrap();
    assert!(blocks.next().is_none() && block.contains("GRANT"));
    block
}

fn url(cluster: &Cluster, role: &str) -> String {
    format!("postgres://{role}@127.0.0.1:{}/ckgate?sslmode=disable", cluster.port())
}

/// A server with a database of `owner`, in which `ckgate` has no rights yet.
fn server() -> Cluster {
    let cluster = Cluster::start();
    cluster.sql("postgres", "CREATE ROLE owner LOGIN; CREATE ROLE ckgate LOGIN");
    cluster.sql("postgres", "CREATE DATABASE ckgate OWNER owner");
    // As from PostgreSQL 15 on.
    cluster.sql("ckgate", "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    cluster
}

#[test]
fn role_with_the_documented_rights_serves_and_cannot_change_the_tables() {
    let cluster = server();
    // Who may not make the tables is told who does.
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), format!("[store]\nurl = {:?}\n", url(&cluster, "ckgate")))
        .unwrap();
    let mut serve = ckgate(&["serve", "--listen", "127.0.0.1:0", "--config"]);
    serve.arg(config.path()).env("CKGATE_SERVER_KEY", SERVER_KEY);
    serve.env("CKGATE_TOKENS__KEYS", format!("[{{ id = 1, env = {:?} }}]", "KEY"));
    serve.env("KEY", "A".repeat(43));
    let said = failed(serve);
    assert!(said.contains("ckgate store prepare"), "{said}");
    let said = failed(ckgate(&["store", "prepare", "--to", &url(&cluster, "ckgate")]));
    assert!(said.contains("permission denied"), "{said}");

    for _ in 0..2 {
        let prepare = ckgate(&["store", "prepare", "--to", &url(&cluster, "owner")]).output();
        let output = prepare.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    cluster.sql("ckgate", &format!("SET ROLE owner; {}", grants()));

    let fleet = Fleet::start(&vec![url(&cluster, "ckgate"); 2]);
    let [one, two] = &fleet.gates[..] else { panic!("two gates") };
    let (token, kept) = (mint(one, A, &["read_messages"]), mint(one, A, &["read_messages"]));
    let lifetime = Duration::from_secs(2);
    mint_until(one, A, &["read_messages"], lifetime);
    assert_eq!((read(one, &token).status, read(two, &token).status), (200, 200));
    assert_eq!(try_delete(two, &token).status, 200);
    within(STALENESS_MAX, "it is felt", || read(one, &token).status == 401);
    assert_eq!(read(one, &kept).status, 200);
    within(Duration::from_secs(20), "usage is written", || {
        let list = one.call("GET", &format!("{TOKENS}?usage=true")).bearer(SERVER_KEY).send();
        list.json()["tokens"][0]["usage"]["read_messages"]["requests"] == 1
    });
    within(Duration::from_secs(20), "both gates are counted", || {
        cluster.sql("ckgate", "SELECT count(*) FROM gates") == "2"
    });
    let log = one.log_lines().join("\n");
    assert!(!log.contains("cannot be"), "the gate complains: {log}");

    for sql in [
        "CREATE TABLE mine (n int)",
        "DROP TABLE tokens",
        "TRUNCATE deletions",
        "ALTER TABLE tokens ADD COLUMN secret text",
        "ALTER TABLE deletions DISABLE TRIGGER ALL",
        "CREATE INDEX mine ON tokens (id)",
        "INSERT INTO refinery_schema_history VALUES (99, 'x', 'x', 'x')",
        "COPY tokens TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
    ] {
        let said = cluster.refused_sql("ckgate", &format!("SET ROLE ckgate; {sql}"));
        let refused = said.contains("permission denied") || said.contains("must be ");
        assert!(refused, "{sql}: {said}");
    }
}

/// What a role lacks is a refusal, and no gate serves what it cannot know.
#[test]
fn role_that_lost_its_rights_serves_nothing() {
    let cluster = server();
    let prepare = ckgate(&["store", "prepare", "--to", &url(&cluster, "owner")]).output().unwrap();
    assert!(prepare.status.success());
    cluster.sql("ckgate", &format!("SET ROLE owner; {}", grants()));
    let fleet = Fleet::start(&[url(&cluster, "ckgate")]);
    let token = mint(&fleet.gates[0], A, &["read_messages"]);
    assert_eq!(read(&fleet.gates[0], &token).status, 200);
    cluster.sql("ckgate", "REVOKE ALL ON tokens, deletions FROM ckgate");
    assert_refused(&try_delete(&fleet.gates[0], &token), 503, "store_unavailable");
    within(2 * STALENESS_MAX, "what cannot be known is refused", || {
        read(&fleet.gates[0], &token).status == 503
    });
    cluster.sql("ckgate", &format!("SET ROLE owner; {}", grants()));
    within(2 * STALENESS_MAX, "it serves again", || read(&fleet.gates[0], &token).status == 200);
}
