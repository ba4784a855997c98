//! Claims about rows that are not what this version writes.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::super::{open, read, write};
use super::{Engine, Sqlite, beside, settings};
use crate::store::tests::records::{
    account, create_all, delete, listing, record, records, sweep_all,
};
use crate::store::{StoreError, TokenStore};
use crate::token::{KeyRing, MasterKey};

/// `assignment` makes the record unreadable: refused by `get` and by `list`.
async fn check_unreadable(assignment: &str) {
    let engine = Sqlite::start();
    let record = record();
    engine.store().create(record.clone()).await.unwrap();
    engine.damage(record.id, assignment);
    let got = engine.store().get(record.id).await;
    assert!(
        matches!(got, Err(StoreError::Unreadable { id, .. }) if id == record.id),
        "{assignment}: {got:?}"
    );
}

#[tokio::test]
async fn damage_in_any_column_is_noticed() {
    for assignment in [
        "policy = ''",
        "policy = '[]'",
        "policy = '{}'",
        "policy = '[{\"agent\": \"agent-1\", \"access\": [\"read_agent\"]}]'",
        "policy = replace(policy, 'agent-1', 'agent-A')",
        "policy = replace(policy, 'read_messages', 'everything')",
        "policy = replace(policy, '[\"read_messages\",\"write_messages\"]', '[]')",
        "policy = replace(policy, '\"access\"', '\"more\": 1, \"access\"')",
        "bound = ''",
        "bound = 'HTTPS://chat.example.com'",
        "bound = 'https://chat.example.com/'",
        "bound = 'https://*.example.com'",
        "account = 'Acme'",
        "account = ''",
        "key_id = 256",
        "key_id = -1",
        "created_at = 9223372036854775807",
        "expires_at = 9223372036854775807",
        "expires_at = -9223372036854775808",
        "hostname = CAST(x'ff' AS TEXT)",
    ] {
        check_unreadable(assignment).await;
    }
}

#[tokio::test]
async fn damage_to_one_record_fails_its_list_and_no_other() {
    let engine = Sqlite::start();
    let (damaged, mut other) = (record(), record());
    other.account = account("other");
    engine.store().create(damaged.clone()).await.unwrap();
    engine.store().create(other.clone()).await.unwrap();
    engine.damage(damaged.id, "policy = '[]'");
    assert!(engine.store().list(listing()).await.is_err());
    let of_other = crate::store::ListQuery { account: account("other"), ..listing() };
    assert_eq!(engine.store().list(of_other).await.unwrap().records, [other]);
}

#[tokio::test]
async fn removed_records_leave_nothing_behind() {
    let engine = Sqlite::start();
    let made = records(4);
    create_all(engine.store(), &made).await;
    engine.damage(made[0].id, "policy = '[]'");
    engine.damage(made[1].id, "policy = '[]'");
    delete(engine.store(), &made[0]).await;
    delete(engine.store(), &made[2]).await;
    sweep_all(engine.store(), made[3].grant.expires_at).await;
    for table in ["tokens", "token_agents"] {
        let count = format!("SELECT count(*) FROM {table}");
        let rows = beside(&engine.folder).query_row(&count, [], |row| row.get::<_, i64>(0));
        assert_eq!(rows.unwrap(), 0, "{table}");
    }
}

#[tokio::test]
async fn stored_files_hold_nothing_of_a_tokens_text() {
    let engine = Sqlite::start();
    let record = record();
    engine.store().create(record.clone()).await.unwrap();
    let ring = KeyRing::new(&[(1, MasterKey::generate().unwrap())]).unwrap();
    let text = ring.render(1, record.id, record.grant.expires_at).unwrap();
    // The last 21 characters hold nothing but the tag.
    let tag = text.expose().as_bytes().last_chunk::<21>().unwrap();
    for file in std::fs::read_dir(engine.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(memchr::memmem::find(&bytes, b"ck-let-").is_none());
        assert!(memchr::memmem::find(&bytes, tag).is_none());
    }
}

/// The steps of a plan that read no table, though they are called scans.
const SCANS_OF_NO_TABLE: [&str; 2] = ["SCAN CONSTANT ROW", "SCAN json_each VIRTUAL TABLE INDEX 1:"];

/// Each question and each write finds its rows through an index, however many there are.
#[test]
fn no_statement_reads_a_whole_table() {
    let folder = tempfile::TempDir::new().unwrap();
    let opened = open::open(&settings(&folder)).unwrap();
    for sql in [
        read::GET,
        read::LIST_ACCOUNT,
        read::LIST_AGENT,
        read::FEED_PAGE,
        read::HOST_IS_BOUND,
        write::DELETE_RECORD,
        write::OWNER,
        write::SWEEP_RECORDS,
        write::SWEEP_DELETIONS,
        write::DELETE_AGENT,
    ] {
        for step in plan(&opened.writer, sql) {
            let reads_all = step.starts_with("SCAN") && !SCANS_OF_NO_TABLE.contains(&step.as_str());
            assert!(!reads_all && !step.contains("TEMP B-TREE"), "{sql}: {step}");
        }
    }
}

/// Paging and sweeping must not depend on rows that are passed over.
#[test]
fn lists_pass_over_rows_in_an_index_alone() {
    let folder = tempfile::TempDir::new().unwrap();
    let opened = open::open(&settings(&folder)).unwrap();
    let steps = plan(&opened.writer, read::LIST_ACCOUNT).join("\n");
    assert!(steps.contains("COVERING INDEX tokens_by_account (account=? AND id<?)"), "{steps}");
    let steps = plan(&opened.writer, read::LIST_AGENT).join("\n");
    assert!(
        steps.contains("token_agents USING PRIMARY KEY (agent=? AND account=? AND id<?)"),
        "{steps}"
    );
}

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let unset = vec![Value::Null; statement.parameter_count()];
    let rows = statement.query_map(params_from_iter(unset), |row| row.get(3)).unwrap();
    rows.map(Result::unwrap).collect()
}
