use std::collections::{BTreeMap, VecDeque};

use http::{Response, StatusCode};

use super::Present;
use super::answers::{json, problem};
use super::events::ConsoleBody;
use super::wire::{NewToken, PermissionUse, PolicyRow, TokenPage, TokenRow};
use crate::answer::RequestId;
use crate::policy::{AgentId, Permissions, Query};
use crate::store::{ListQuery, StoreError, TokenStore as _, Usage};
use crate::token::{AccountName, Record, TokenId};

/// Tokens on a page.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 200;
/// Most tokens that one search looks at; the next one goes on behind them.
const LOOKED_AT_MAX: usize = 2000;
/// Most tokens of one account that are read at once.
const READ_MAX: usize = 200;
/// Longest text to search for, in characters.
const TEXT_LENGTH_MAX: usize = 256;

/// What the list is narrowed to, and where it goes on.
#[derive(Default)]
struct Search {
    agent: Option<AgentId>,
    account: Option<String>,
    hostname: Option<String>,
    limit: Option<usize>,
    before: Option<TokenId>,
}

/// What a search has found.
struct Found {
    records: Vec<Record>,
    looked_at: usize,
    /// Where the next one goes on, if there is anything left.
    next: Option<TokenId>,
}

/// The tokens of one account, newest first, as far as they are read.
struct Source<'a> {
    account: &'a AccountName,
    read: VecDeque<Record>,
    before: Option<TokenId>,
    has_next: bool,
}

impl Search {
    fn parse(query: Query<'_>) -> Result<Self, String> {
        let mut search = Self::default();
        for (name, value) in query.pairs() {
            match &*name {
                "agent" => {
                    search.agent = Some(AgentId::parse(&value).map_err(|e| format!("agent {e}"))?);
                }
                "account" => search.account = Some(plain("account", &value)?.to_owned()),
                "hostname" => search.hostname = Some(plain("hostname", &value)?.to_lowercase()),
                "before" => {
                    let id = TokenId::parse(&value).ok_or("before must be the id of a token")?;
                    search.before = Some(id);
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    search.limit = Some(limit.ok_or("limit must be from 1 to 200")?);
                }
                _ => {
                    let known = "the parameters are agent, account, hostname, before and limit";
                    return Err(known.to_owned());
                }
            }
        }
        Ok(search)
    }

    fn is_of(&self, account: &AccountName) -> bool {
        self.account.as_ref().is_none_or(|wanted| wanted == account.as_str())
    }

    fn admits(&self, record: &Record) -> bool {
        let hostname = self.hostname.as_ref();
        hostname.is_none_or(|part| record.hostname.to_lowercase().contains(part))
    }
}

fn plain<'v>(name: &str, value: &'v str) -> Result<&'v str, String> {
    if value.chars().count() > TEXT_LENGTH_MAX || value.chars().any(char::is_control) {
        return Err(format!(
            "{name} must be at most 256 characters, none of them a control character"
        ));
    }
    Ok(value)
}

impl Present {
    /// A page of live tokens of all accounts, newest first, by agent, account and part of the
    /// hostname. It looks at so many at most, so that a page may be short though more follow.
    pub(super) async fn list(&self, query: Query<'_>) -> Response<ConsoleBody> {
        let search = match Search::parse(query) {
            Ok(search) => search,
            Err(message) => return problem(StatusCode::BAD_REQUEST, "invalid_request", &message),
        };
        let found = match self.search(&search).await {
            Ok(found) => found,
            Err(error) => return unavailable(&error),
        };
        let ids = found.records.iter().map(|record| record.id).collect();
        let counted = match self.gate.records.store().usage(ids).await {
            Ok(counted) => counted,
            Err(error) => return unavailable(&error),
        };
        let streams: BTreeMap<TokenId, usize> = self.gate.streams.open_now().into_iter().collect();
        let open = |record: &Record| streams.get(&record.id).copied().unwrap_or_default();
        let rows = found.records.iter().map(|record| row(record, &counted, open(record)));
        let next = found.next.map(|id| id.to_string());
        json(&TokenPage { tokens: rows.collect(), looked_at: found.looked_at, next })
    }

    async fn search(&self, search: &Search) -> Result<Found, StoreError> {
        let accounts = self.gate.accounts.names().filter(|account| search.is_of(account));
        let source = |account| Source {
            account,
            read: VecDeque::new(),
            before: search.before,
            has_next: true,
        };
        let mut sources: Vec<Source<'_>> = accounts.map(source).collect();
        // All together read hardly more than is looked at.
        let at_once = (LOOKED_AT_MAX / sources.len().max(1)).clamp(1, READ_MAX);
        let limit = search.limit.unwrap_or(LIMIT_DEFAULT);
        let mut found = Found { records: Vec::new(), looked_at: 0, next: None };
        let mut last = None;
        loop {
            for source in &mut sources {
                self.read_on(source, search.agent, at_once).await?;
            }
            let newest = sources.iter_mut().max_by_key(|source| source.read.front().map(|r| r.id));
            let Some(source) = newest.filter(|source| !source.read.is_empty()) else {
                return Ok(found);
            };
            if found.records.len() >= limit || found.looked_at >= LOOKED_AT_MAX {
                found.next = last;
                return Ok(found);
            }
            if let Some(record) = source.read.pop_front() {
                found.looked_at += 1;
                last = Some(record.id);
                found.records.extend(Some(record).filter(|record| search.admits(record)));
            }
        }
    }

    /// Reads the next of an account's tokens when the last are used up.
    async fn read_on(
        &self,
        source: &mut Source<'_>,
        agent: Option<AgentId>,
        at_once: usize,
    ) -> Result<(), StoreError> {
        if !source.has_next || !source.read.is_empty() {
            return Ok(());
        }
        let query = ListQuery {
            account: source.account.clone(),
            agent,
            key_ids: self.gate.keys.ids(),
            now: self.gate.clock.now(),
            before: source.before,
            offset: 0,
            limit: at_once.try_into().unwrap_or(u32::MAX),
        };
        let page = self.gate.records.store().list(query).await?;
        source.has_next = page.has_next;
        source.read = page.records.into();
        source.before = source.read.back().map(|record| record.id);
        Ok(())
    }

    /// Makes a token. The answer is that of the token API, and has the token's text: the page puts
    /// it where it is to be copied from, and shows it nowhere.
    pub(super) async fn create(&self, body: &[u8], request_id: RequestId) -> Response<ConsoleBody> {
        let asked = match serde_json::from_slice::<NewToken>(body) {
            Ok(asked) => asked,
            Err(error) => {
                return problem(StatusCode::BAD_REQUEST, "invalid_request", &error.to_string());
            }
        };
        let Some(account) = self.account(&asked.account) else {
            let message = "account: there is no such account";
            return problem(StatusCode::BAD_REQUEST, "invalid_request", message);
        };
        let body = asked.token.get().as_bytes();
        let now = self.gate.clock.now();
        let answer = self.token_api.create_for(account, body, request_id, now).await;
        answer.map(ConsoleBody::whole)
    }

    /// Deletes a token by its id, whichever account it is of.
    pub(super) async fn delete(&self, id: &str, request_id: RequestId) -> Response<ConsoleBody> {
        let Some(id) = TokenId::parse(id) else {
            let message = "this is not the id of a token";
            return problem(StatusCode::BAD_REQUEST, "invalid_request", message);
        };
        match self.gate.records.store().get(id).await {
            Ok(Some(record)) => {
                let now = self.gate.clock.now();
                let answer = self.token_api.delete_known(&record, request_id, now).await;
                answer.map(ConsoleBody::whole)
            }
            Ok(None) => problem(StatusCode::NOT_FOUND, "token_not_found", "there is no such token"),
            Err(error) => unavailable(&error),
        }
    }

    fn account(&self, name: &str) -> Option<&AccountName> {
        self.gate.accounts.names().find(|account| account.as_str() == name)
    }
}

fn row(record: &Record, counted: &[Usage], streams: usize) -> TokenRow {
    let entries = &record.grant.entries;
    let granted = entries.iter().fold(Permissions::NONE, |all, entry| all.union(entry.access));
    let counted = counted.iter().filter(|one| one.id == record.id);
    let usage: Vec<PermissionUse> = granted
        .iter()
        .map(|permission| {
            let used = counted.clone().find(|one| one.permission == permission);
            PermissionUse {
                permission,
                requests: used.map_or(0, |used| used.requests),
                last_used_at: used.map(|used| used.last_used_at.to_string()),
            }
        })
        .collect();
    TokenRow {
        id: record.id.to_string(),
        account: record.account.to_string(),
        hostname: record.hostname.to_string(),
        created_at: record.created_at.to_string(),
        expires_at: record.grant.expires_at.to_string(),
        policy: entries
            .iter()
            .map(|entry| PolicyRow {
                agent: entry.agent.to_string(),
                access: entry.access.iter().collect(),
            })
            .collect(),
        last_used_at: counted.map(|one| one.last_used_at).max().map(|last| last.to_string()),
        usage,
        streams,
    }
}

fn unavailable(error: &dyn std::error::Error) -> Response<ConsoleBody> {
    problem(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", &error.to_string())
}
