//! How questions are answered when there are many records: by indexes, whatever the server believes
//! about the parameters.

use std::time::Duration;

use jiff::SignedDuration;

use super::engine::{Postgres, server};
use super::tests::records::{agent, delete, listing, record};
use super::tests::{Engine as _, now};
use super::{FEED_KEPT_AFTER_EXPIRY, ListQuery, PostgresStore, TokenStore as _, Usage};
use crate::policy::Permission;
use crate::token::{Record, TokenId};

/// Enough for a plan that reads a whole table to look good when its parameters are unknown.
const TOKENS: i64 = 60_000;

/// As many records of one account and one host, one agent for ten of them, with counts, and as many
/// deletions. Those below `expired` have expired.
fn fill(database: &str, expired: i64) {
    let (now, hour) = (now().as_millisecond(), 3_600_000);
    let long_ago = now - 10 * i64::try_from(FEED_KEPT_AFTER_EXPIRY.as_millis()).unwrap();
    let until = format!("CASE WHEN n < {expired} THEN {long_ago} + n ELSE {now} + {hour} + n END");
    let id = format!("decode(lpad(to_hex({now} + n), 12, '0') || lpad(to_hex(n), 20, '0'), 'hex')");
    let agent = "decode('111111111111411181110000' || lpad(to_hex(n / 10), 8, '0'), 'hex')";
    let policy =
        r#"'[{"agent":"agent-11111111-1111-4111-8111-111111111111","access":["read_messages"]}]'"#;
    let host = "'https://chat.example.com'";
    let from = format!("FROM generate_series(0, {}) AS n", TOKENS - 1);
    for table in [
        format!(
            "tokens SELECT {id}, 1, 'acme', {now} + n, {until}, {host}, {host}, {policy}, NULL, \
             ARRAY[{agent}] {from}"
        ),
        format!("token_agents SELECT {agent}, 'acme', {id}, {until}, 1 {from}"),
        format!("token_usage SELECT {id}, 0, 1, {now}, {until} {from}"),
        format!("deletions SELECT {id}, n + 10, 'acme', {until}, {now} {from}"),
    ] {
        server().sql(database, &format!("INSERT INTO {table}"));
    }
    server().sql(database, "VACUUM (ANALYZE)");
}

/// How often whole tables were read by sessions that have ended.
fn whole_tables_read(database: &str) -> String {
    server().sql(
        database,
        "SELECT coalesce(string_agg(relname || ' ' || seq_scan, ', '), '') FROM pg_stat_user_tables
         WHERE seq_scan > 0 AND relname IN ('tokens', 'token_agents', 'token_usage', 'deletions')",
    )
}

async fn ask_everything(store: &PostgresStore) {
    let known: Vec<Record> = store.list(listing()).await.unwrap().records;
    assert_eq!(known.len(), 1000);
    let usage = |id: TokenId| Usage {
        id,
        permission: Permission::ReadMessages,
        requests: 1,
        last_used_at: now(),
    };
    for n in 0..8 {
        let one: &Record = &known[n];
        let list = ListQuery { limit: 10, offset: 20, ..listing() };
        assert_eq!(store.list(list.clone()).await.unwrap().records.len(), 10);
        store.list(ListQuery { agent: Some(agent(1)), ..list }).await.unwrap();
        assert!(store.get(one.id).await.unwrap().is_some());
        let host = || "https://chat.example.com".to_owned();
        assert!(store.host_is_bound([host(), host(), host()], now()).await.unwrap());
        store
            .add_usage(known.iter().take(100).map(|known| usage(known.id)).collect())
            .await
            .unwrap();
        assert_eq!(store.usage(vec![one.id, known[900].id]).await.unwrap().len(), 2);
        store.create(record()).await.unwrap();
        delete(store, &known[500 + n]).await;
        let expired = now() - SignedDuration::from_hours(1);
        assert!(store.sweep(expired, 1000).await.unwrap() > 0);
        let cursor = super::tests::records::feed_end(store).await;
        store.deletions(Some(cursor)).await.unwrap();
        store.gates([7; 16]).await.unwrap();
    }
}

#[tokio::test]
async fn no_question_of_a_gate_reads_a_whole_table() {
    for mode in ["force_generic_plan", "force_custom_plan", "auto"] {
        let engine = Postgres::start();
        let database = engine.database.clone();
        fill(&database, TOKENS / 2);
        server()
            .sql("postgres", &format!("ALTER DATABASE {database} SET plan_cache_mode = {mode}"));
        server().sql(&database, "SELECT pg_stat_reset()");
        assert_eq!(whole_tables_read(&database), "");
        let store = engine.another_gate();
        ask_everything(&store).await;
        // A session tells its numbers when it ends.
        drop((store, engine));
        crate::cluster::within(Duration::from_secs(20), "the numbers are told", || {
            let told = "SELECT idx_scan > 0 FROM pg_stat_user_tables WHERE relname = 'deletions'";
            server().sql(&database, told) == "t"
        });
        assert_eq!(whole_tables_read(&database), "", "{mode}");
    }
}
