//! What commands ask: taking over what another store has kept, and sums. Whatever is there already
//! stays as it is, so that a move that broke off can simply be made again.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;

use super::Shared;
use super::fault::Fault;
use super::questions::number;
use super::{PostgresStore, row};
use crate::store::stored::{agent_key, limits_text, policy_text};
use crate::store::{KeyUse, MovedDeletion, StoreError, Usage};
use crate::token::{Record, TokenId};

impl PostgresStore {
    /// Takes records over; those whose ids are there already, live or deleted, are left alone.
    /// Returns how many were new.
    pub async fn import(&self, records: Vec<Record>) -> Result<u64, StoreError> {
        self.ask(import(Arc::clone(self.shared()), records)).given().await
    }

    /// Takes deletions over, and removes what they delete.
    pub async fn import_deletions(&self, deletions: Vec<MovedDeletion>) -> Result<(), StoreError> {
        self.ask(import_deletions(Arc::clone(self.shared()), deletions)).given().await
    }

    /// Puts what is counted of tokens in the place of what was.
    pub async fn import_usage(&self, usage: Vec<Usage>) -> Result<(), StoreError> {
        self.ask(import_usage(Arc::clone(self.shared()), usage)).given().await
    }

    /// The records of these ids, in any order.
    pub async fn records(&self, ids: Vec<TokenId>) -> Result<Vec<Record>, StoreError> {
        self.ask(records(Arc::clone(self.shared()), ids)).given().await
    }

    /// The keys that tokens were made under which live at `now`, in the order of their ids.
    pub async fn key_uses(&self, now: Timestamp) -> Result<Vec<KeyUse>, StoreError> {
        self.ask(key_uses(Arc::clone(self.shared()), now)).given().await
    }

    /// How many of these ids are in the feed of deletions.
    pub async fn deleted_among(&self, ids: Vec<TokenId>) -> Result<u64, StoreError> {
        self.ask(deleted_among(Arc::clone(self.shared()), ids)).given().await
    }
}

async fn import(shared: Arc<Shared>, records: Vec<Record>) -> Result<u64, Fault> {
    let mut columns = Columns::default();
    for record in &records {
        columns.push(record)?;
    }
    let link = shared.link().await?;
    let answer = link.bounded(columns.insert(&link.session.client)).await;
    link.settle(answer)
}

/// Records, a list a column.
#[derive(Default)]
struct Columns {
    ids: Vec<Vec<u8>>,
    key_ids: Vec<i16>,
    accounts: Vec<String>,
    created_at: Vec<i64>,
    expires_at: Vec<i64>,
    hostnames: Vec<String>,
    bound: Vec<String>,
    policies: Vec<String>,
    limits: Vec<Option<String>>,
    /// Lists in lists have to be of one length, so each is the text of one.
    agents: Vec<String>,
}

impl Columns {
    fn push(&mut self, record: &Record) -> Result<(), Fault> {
        let mut agents = String::from("{");
        for (at, entry) in record.grant.entries.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let agent = u128::from_be_bytes(agent_key(entry.agent));
            // Writing to a string cannot fail.
            let _ = write!(agents, "{comma}\"\\\\x{agent:032x}\"");
        }
        agents.push('}');
        self.ids.push(record.id.as_bytes().to_vec());
        self.key_ids.push(record.key_id.into());
        self.accounts.push(record.account.to_string());
        self.created_at.push(record.created_at.as_millisecond());
        self.expires_at.push(record.grant.expires_at.as_millisecond());
        self.hostnames.push(record.hostname.to_string());
        self.bound.push(record.grant.host.serialised().to_owned());
        self.policies.push(policy_text(&record.grant.entries)?);
        self.limits.push(limits_text(record.limits)?);
        self.agents.push(agents);
        Ok(())
    }

    async fn insert(&self, client: &tokio_postgres::Client) -> Result<u64, Fault> {
        let row = client
            .query_one(
                IMPORT,
                &[
                    &self.ids,
                    &self.key_ids,
                    &self.accounts,
                    &self.created_at,
                    &self.expires_at,
                    &self.hostnames,
                    &self.bound,
                    &self.policies,
                    &self.limits,
                    &self.agents,
                ],
            )
            .await?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))
    }
}

async fn import_deletions(shared: Arc<Shared>, deletions: Vec<MovedDeletion>) -> Result<(), Fault> {
    let ids: Vec<&[u8]> = deletions.iter().map(|one| one.id.as_bytes().as_slice()).collect();
    let accounts: Vec<&str> = deletions.iter().map(|one| one.account.as_str()).collect();
    let expires_at: Vec<i64> =
        deletions.iter().map(|one| one.expires_at.as_millisecond()).collect();
    let deleted_at: Vec<i64> =
        deletions.iter().map(|one| one.deleted_at.as_millisecond()).collect();
    let link = shared.link().await?;
    let asked = async {
        link.session
            .client
            .execute(IMPORT_DELETIONS, &[&ids, &accounts, &expires_at, &deleted_at])
            .await
    };
    let answer = link.bounded(asked).await;
    link.settle(answer).map(drop)
}

async fn import_usage(shared: Arc<Shared>, usage: Vec<Usage>) -> Result<(), Fault> {
    let ids: Vec<&[u8]> = usage.iter().map(|one| one.id.as_bytes().as_slice()).collect();
    let permissions: Vec<i16> = usage.iter().map(|one| number(one.permission)).collect();
    let requests = usage.iter().map(|one| i64::try_from(one.requests).unwrap_or(i64::MAX));
    let requests: Vec<i64> = requests.collect();
    let last: Vec<i64> = usage.iter().map(|one| one.last_used_at.as_millisecond()).collect();
    let link = shared.link().await?;
    let asked = async {
        link.session.client.execute(IMPORT_USAGE, &[&ids, &permissions, &requests, &last]).await
    };
    let answer = link.bounded(asked).await;
    link.settle(answer).map(drop)
}

async fn records(shared: Arc<Shared>, ids: Vec<TokenId>) -> Result<Vec<Record>, Fault> {
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let link = shared.link().await?;
    let asked = async { link.session.client.query(super::statements::RECORDS, &[&ids]).await };
    let answer = link.bounded(asked).await;
    let rows = link.settle(answer)?;
    rows.iter().map(row::record).collect()
}

async fn deleted_among(shared: Arc<Shared>, ids: Vec<TokenId>) -> Result<u64, Fault> {
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let link = shared.link().await?;
    let asked = async { link.session.client.query_one(DELETED_AMONG, &[&ids]).await };
    let answer = link.bounded(asked).await;
    let row = link.settle(answer)?;
    Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))
}

async fn key_uses(shared: Arc<Shared>, now: Timestamp) -> Result<Vec<KeyUse>, Fault> {
    let link = shared.link().await?;
    let now = now.as_millisecond();
    let asked = async { link.session.client.query(KEY_USES, &[&now]).await };
    let answer = link.bounded(asked).await;
    let used = |row: &tokio_postgres::Row| {
        let key_id = u8::try_from(row.try_get::<_, i16>(0)?);
        let last_expiry = Timestamp::from_millisecond(row.try_get(2)?);
        Ok(KeyUse {
            key_id: key_id.map_err(|_| Fault::Damaged("a key id"))?,
            live: u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0),
            last_expiry: last_expiry.map_err(|_| Fault::Damaged("a time"))?,
        })
    };
    link.settle(answer)?.iter().map(used).collect()
}

const IMPORT: &str = "
    WITH given AS (
        SELECT * FROM unnest($1::bytea[], $2::smallint[], $3::text[], $4::bigint[], $5::bigint[],
                             $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
            AS given (id, key_id, account, created_at, expires_at, hostname, bound, policy, limits,
                      agents)
    ), made AS (
        INSERT INTO tokens
            (id, key_id, account, created_at, expires_at, hostname, bound, policy, limits, agents)
        SELECT id, key_id, account, created_at, expires_at, hostname, bound, policy, limits,
               agents::bytea[]
        FROM given WHERE NOT EXISTS (SELECT 1 FROM deletions WHERE deletions.id = given.id)
        ON CONFLICT (id) DO NOTHING
        RETURNING id, account, expires_at, key_id, agents
    ), listed AS (
        INSERT INTO token_agents (agent, account, id, expires_at, key_id)
        SELECT DISTINCT unnest(agents), account, id, expires_at, key_id FROM made
    )
    SELECT count(*) FROM made";

const IMPORT_DELETIONS: &str = "
    WITH given AS (
        SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[])
            AS given (id, account, expires_at, deleted_at)
    ), gone AS (
        DELETE FROM tokens USING given WHERE tokens.id = given.id
        RETURNING tokens.id, tokens.account, tokens.agents
    ), unlisted AS (
        DELETE FROM token_agents
        WHERE (agent, account, id) IN (SELECT unnest(agents), account, id FROM gone)
    ), uncounted AS (
        DELETE FROM token_usage USING gone WHERE token_usage.id = gone.id
    )
    INSERT INTO deletions (id, transaction, account, expires_at, deleted_at)
    SELECT id, pg_current_xact_id()::text::bigint, account, expires_at, deleted_at FROM given
    ON CONFLICT (id) DO NOTHING";

const IMPORT_USAGE: &str = "
    INSERT INTO token_usage (id, permission, requests, last_used_at, expires_at)
    SELECT counted.id, counted.permission, counted.requests, counted.last_used_at, tokens.expires_at
    FROM unnest($1::bytea[], $2::smallint[], $3::bigint[], $4::bigint[])
             AS counted (id, permission, requests, last_used_at)
         JOIN tokens ON tokens.id = counted.id
    ON CONFLICT (id, permission) DO UPDATE SET
        requests = greatest(token_usage.requests, excluded.requests),
        last_used_at = greatest(token_usage.last_used_at, excluded.last_used_at)";

const DELETED_AMONG: &str = "SELECT count(*) FROM deletions WHERE id = ANY($1)";

const KEY_USES: &str = "SELECT key_id, count(*), max(expires_at) FROM tokens
     WHERE expires_at > $1 GROUP BY key_id ORDER BY key_id";
