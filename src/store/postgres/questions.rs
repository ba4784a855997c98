//! What the store is asked, each with one session from beginning to end.

use std::sync::Arc;

use jiff::Timestamp;

use super::Shared;
use super::fault::Fault;
use super::session::Session;
use super::{feed, row};
use crate::policy::Permission;
use crate::store::stored::{agent_key, limits_text, policy_text, upper_id};
use crate::store::{
    DeleteOutcome, Deletion, FEED_KEPT_AFTER_EXPIRY, Feed, FeedCursor, ListPage, ListQuery,
    SWEEP_LIMIT_MAX, Usage,
};
use crate::token::{Record, TokenId};

/// Lends a session to `$asked`, within the time an answer may take.
macro_rules! with {
    ($shared:expr, |$session:ident| $asked:expr) => {{
        let link = $shared.link().await?;
        let answer = {
            let $session: &Session = &link.session;
            link.bounded(async { $asked }).await
        };
        link.settle(answer)
    }};
}

pub(super) async fn create(shared: Arc<Shared>, record: Record) -> Result<(), Fault> {
    with!(shared, |session| create_over(session, &record).await)
}

async fn create_over(session: &Session, record: &Record) -> Result<(), Fault> {
    let id = record.id.as_bytes().as_slice();
    let agents: Vec<Vec<u8>> =
        record.grant.entries.iter().map(|entry| agent_key(entry.agent).to_vec()).collect();
    session
        .client
        .execute(
            &session.ask.create,
            &[
                &id,
                &i16::from(record.key_id),
                &record.account.as_str(),
                &record.created_at.as_millisecond(),
                &record.grant.expires_at.as_millisecond(),
                &&*record.hostname,
                &record.grant.host.serialised(),
                &policy_text(&record.grant.entries)?,
                &limits_text(record.limits)?,
                &agents,
            ],
        )
        .await?;
    Ok(())
}

pub(super) async fn get(shared: Arc<Shared>, id: TokenId) -> Result<Option<Record>, Fault> {
    with!(shared, |session| {
        let id = id.as_bytes().as_slice();
        let row = session.client.query_opt(&session.ask.get, &[&id]).await?;
        row.as_ref().map(row::record).transpose()
    })
}

pub(super) async fn list(shared: Arc<Shared>, query: ListQuery) -> Result<ListPage, Fault> {
    with!(shared, |session| list_over(session, &query).await)
}

async fn list_over(session: &Session, query: &ListQuery) -> Result<ListPage, Fault> {
    let account = query.account.as_str();
    let now = query.now.as_millisecond();
    let key_ids: Vec<i16> = query.key_ids.iter().copied().map(i16::from).collect();
    // One more than asked for shows whether another page follows.
    let limit = i64::from(query.limit).saturating_add(1);
    let offset = i64::try_from(query.offset).unwrap_or(i64::MAX);
    let before = upper_id(query.before);
    let (client, ask) = (&session.client, &session.ask);
    let rows = match query.agent {
        None => {
            let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
                &[&account, &now, &key_ids, &limit, &offset, &before];
            client.query(&ask.list_account, parameters).await?
        }
        Some(agent) => {
            let agent = agent_key(agent);
            let agent = agent.as_slice();
            let parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
                &[&account, &now, &key_ids, &limit, &offset, &before, &agent];
            client.query(&ask.list_agent, parameters).await?
        }
    };
    let asked = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let records = rows.iter().take(asked).map(row::record).collect::<Result<_, _>>()?;
    Ok(ListPage { records, has_next: rows.len() > asked })
}

pub(super) async fn delete(
    shared: Arc<Shared>,
    deletion: Deletion,
) -> Result<DeleteOutcome, Fault> {
    with!(shared, |session| delete_over(session, &deletion, shared.notify).await)
}

async fn delete_over(
    session: &Session,
    deletion: &Deletion,
    notify: bool,
) -> Result<DeleteOutcome, Fault> {
    let (client, ask) = (&session.client, &session.ask);
    let id = deletion.id.as_bytes().as_slice();
    let account = deletion.account.as_str();
    let expires_at = deletion.expires_at.as_millisecond();
    let now = deletion.now.as_millisecond();
    let row = client.query_one(&ask.delete, &[&id, &account, &expires_at, &now, &notify]).await?;
    if row.try_get::<_, i64>(0)? > 0 {
        return Ok(DeleteOutcome::Deleted);
    }
    // A statement of its own, which sees what another deleter has committed meanwhile.
    let owner = client.query(&ask.owner, &[&id]).await?;
    let owner: Option<String> = owner.first().map(|row| row.try_get(0)).transpose()?;
    Ok(match owner {
        Some(owner) if owner != account => DeleteOutcome::NotYours,
        Some(_) | None => DeleteOutcome::AlreadyGone,
    })
}

pub(super) async fn sweep(
    shared: Arc<Shared>,
    expired_before: Timestamp,
    limit: u32,
) -> Result<u32, Fault> {
    with!(shared, |session| sweep_over(session, expired_before, limit).await)
}

async fn sweep_over(
    session: &Session,
    expired_before: Timestamp,
    limit: u32,
) -> Result<u32, Fault> {
    let (client, ask) = (&session.client, &session.ask);
    let expired = expired_before.as_millisecond();
    let limit = i64::from(limit.min(SWEEP_LIMIT_MAX));
    // Records first: a feed entry may go only after its token can no longer be looked up.
    let row = client.query_one(&ask.sweep_records, &[&expired, &limit]).await?;
    let records: i64 = row.try_get(0)?;
    let left = limit.saturating_sub(records).max(0);
    // What is counted of tokens goes along, without a number of its own.
    client.execute(&ask.sweep_usage, &[&expired, &i64::from(SWEEP_LIMIT_MAX)]).await?;
    let kept = i64::try_from(FEED_KEPT_AFTER_EXPIRY.as_millis()).unwrap_or(i64::MAX);
    let forgotten = expired.saturating_sub(kept);
    let entries = client.execute(&ask.sweep_deletions, &[&forgotten, &left]).await?;
    let swept = u64::try_from(records).unwrap_or(0).saturating_add(entries);
    Ok(u32::try_from(swept).unwrap_or(u32::MAX))
}

pub(super) async fn deletions(
    shared: Arc<Shared>,
    since: Option<FeedCursor>,
) -> Result<Feed, Fault> {
    with!(shared, |session| match since {
        None => feed::end(session).await,
        Some(cursor) => feed::since(session, cursor).await,
    })
}

pub(super) async fn host_is_bound(
    shared: Arc<Shared>,
    hosts: [String; 3],
    now: Timestamp,
) -> Result<bool, Fault> {
    with!(shared, |session| {
        let (hosts, now) = (hosts.as_slice(), now.as_millisecond());
        let row = session.client.query_one(&session.ask.host_is_bound, &[&hosts, &now]).await?;
        Ok::<bool, Fault>(row.try_get(0)?)
    })
}

pub(super) async fn add_usage(shared: Arc<Shared>, usage: Vec<Usage>) -> Result<(), Fault> {
    with!(shared, |session| {
        let ids: Vec<&[u8]> = usage.iter().map(|one| one.id.as_bytes().as_slice()).collect();
        let permissions: Vec<i16> = usage.iter().map(|one| number(one.permission)).collect();
        let requests = usage.iter().map(|one| i64::try_from(one.requests).unwrap_or(i64::MAX));
        let requests: Vec<i64> = requests.collect();
        let last: Vec<i64> = usage.iter().map(|one| one.last_used_at.as_millisecond()).collect();
        session
            .client
            .execute(&session.ask.add_usage, &[&ids, &permissions, &requests, &last])
            .await?;
        Ok::<(), Fault>(())
    })
}

pub(super) async fn usage(shared: Arc<Shared>, ids: Vec<TokenId>) -> Result<Vec<Usage>, Fault> {
    with!(shared, |session| {
        let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
        let rows = session.client.query(&session.ask.usage, &[&ids]).await?;
        rows.iter().map(counted).collect::<Result<Vec<_>, Fault>>()
    })
}

fn counted(row: &tokio_postgres::Row) -> Result<Usage, Fault> {
    let permission = usize::try_from(row.try_get::<_, i16>(1)?).ok();
    let permission = permission.and_then(|index| Permission::ALL.get(index));
    let last = Timestamp::from_millisecond(row.try_get(3)?);
    Ok(Usage {
        id: row::id(row, 0)?,
        permission: *permission.ok_or(Fault::Damaged("a permission"))?,
        requests: u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0),
        last_used_at: last.map_err(|_| Fault::Damaged("a time"))?,
    })
}

pub(super) async fn gates(shared: Arc<Shared>, gate: [u8; 16]) -> Result<u32, Fault> {
    with!(shared, |session| {
        let row = session.client.query_one(&session.ask.gates, &[&gate.as_slice()]).await?;
        Ok::<u32, Fault>(u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or(u32::MAX))
    })
}

/// A permission as the tables have it.
pub(super) fn number(permission: Permission) -> i16 {
    i16::from(permission.index())
}
