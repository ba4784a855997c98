use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;

use super::reject::Rejection;
use super::wire::{CreateBody, EntryBody, TokenBody};
use super::{Asked, LIFETIME_DEFAULT, TokenApi, expiry, read_body};
use crate::answer::{self, RequestId};
use crate::audit;
use crate::json::Object;
use crate::policy::{
    AgentId, BoundHost, Grant, Permission, Permissions, PolicyEntries, PolicyEntry,
};
use crate::store::TokenStore as _;
use crate::token::{AccountName, Record, TokenId, TokenLimits};

/// Most entries of one policy.
const ENTRIES_MAX: usize = 100;

impl TokenApi {
    /// `POST`: makes a token. 201, once the record is durable.
    pub(super) async fn create(&self, asked: Asked<'_>) -> Result<Response<Bytes>, Rejection> {
        let Asked { account, body, request_id, now, .. } = asked;
        let body = read_body(body).await?;
        self.make(account, &body, request_id, now).await
    }

    /// Makes a token for an account in whose name somebody else asks, by the same rules; the answer
    /// is that of `POST`.
    pub async fn create_for(
        &self,
        account: &AccountName,
        body: &[u8],
        request_id: RequestId,
        now: Timestamp,
    ) -> Response<Bytes> {
        let made = self.make(account, body, request_id, now).await;
        made.unwrap_or_else(|rejection| rejection.answer(request_id))
    }

    async fn make(
        &self,
        account: &AccountName,
        body: &[u8],
        request_id: RequestId,
        asked_at: Timestamp,
    ) -> Result<Response<Bytes>, Rejection> {
        let body = parse(body)?;
        let now = to_the_millisecond(asked_at);
        let expires_at = match &body.expires_at {
            Some(text) => expiry::check(expiry::parse(text)?, asked_at, self.lifetime_max)?,
            None => now + LIFETIME_DEFAULT.min(self.lifetime_max),
        };
        let host = BoundHost::parse(&body.hostname)
            .map_err(|problem| Rejection::invalid("hostname", problem.to_string()))?;
        let record = Record {
            id: TokenId::generate(asked_at).map_err(|_| Rejection::Unmintable)?,
            key_id: self.keys.minting_id(),
            account: account.clone(),
            created_at: now,
            hostname: body.hostname.as_str().into(),
            grant: Grant { host, expires_at, entries: entries(&body.policy)? },
            limits: limits(body.limits.map(|Object(limits)| limits))?,
        };
        let reply = TokenBody::of(&record, &self.keys).ok_or(Rejection::Unmintable)?;
        let id = record.id;
        self.records.store().create(record).await?;
        self.metrics.tokens_created.inc();
        audit::token_created(request_id, account, id);
        Ok(answer::json(StatusCode::CREATED, &reply))
    }
}

fn parse(body: &[u8]) -> Result<CreateBody, Rejection> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let Object(parsed) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { "body".to_owned() } else { path };
        Rejection::invalid(place, error.into_inner().to_string())
    })?;
    json.end().map_err(|error| Rejection::invalid("body", error.to_string()))?;
    Ok(parsed)
}

/// The token's own limits, each within what the account's and the gate's may be as well.
fn limits(limits: Option<TokenLimits>) -> Result<TokenLimits, Rejection> {
    let limits = limits.unwrap_or(TokenLimits::NONE);
    for (name, limit, most) in [
        (
            "limits.requests_per_minute",
            limits.requests_per_minute,
            TokenLimits::REQUESTS_PER_MINUTE_MAX,
        ),
        ("limits.concurrent_streams", limits.concurrent_streams, 10_000),
        ("limits.stream_seconds", limits.stream_seconds, 86_400),
    ] {
        if limit.is_some_and(|limit| !(1..=most).contains(&limit)) {
            return Err(Rejection::invalid(name, format!("must be from 1 to {most}")));
        }
    }
    Ok(limits)
}

/// Reads the policy; entries for the same agent become their union.
fn entries(policy: &[Object<EntryBody>]) -> Result<PolicyEntries, Rejection> {
    if policy.is_empty() || policy.len() > ENTRIES_MAX {
        let problem = format!("must have 1 to {ENTRIES_MAX} entries, not {}", policy.len());
        return Err(Rejection::invalid("policy", problem));
    }
    let mut entries = PolicyEntries::with_capacity(policy.len());
    for (index, Object(entry)) in policy.iter().enumerate() {
        let entry = read_entry(entry, index)?;
        match entries.iter_mut().find(|earlier| earlier.agent == entry.agent) {
            Some(earlier) => earlier.access = earlier.access.union(entry.access),
            None => entries.push(entry),
        }
    }
    Ok(entries)
}

fn read_entry(entry: &EntryBody, index: usize) -> Result<PolicyEntry, Rejection> {
    let place = |field: &str| format!("policy[{index}].{field}");
    if entry.r#type != "agent" {
        return Err(Rejection::invalid(place("type"), "must be `agent`"));
    }
    let agent = AgentId::parse(&entry.id)
        .map_err(|problem| Rejection::invalid(place("id"), problem.to_string()))?;
    let access = entry.access.iter().map(|word| word.parse::<Permission>());
    let access: Permissions = access
        .collect::<Result<_, _>>()
        .map_err(|problem| Rejection::invalid(place("access"), problem.to_string()))?;
    if access.is_empty() {
        return Err(Rejection::invalid(place("access"), "must name at least one permission"));
    }
    Ok(PolicyEntry { agent, access })
}

fn to_the_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
