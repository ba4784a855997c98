use std::collections::BTreeMap;

use http::{Response, StatusCode};

use super::Console;
use super::answers::{json, problem};
use super::events::ConsoleBody;
use super::wire::{NewToken, PolicyRow, TokenPage, TokenRow};
use crate::answer::RequestId;
use crate::policy::{AgentId, Permissions, Query};
use crate::store::{ListQuery, TokenStore as _};
use crate::token::{AccountName, Record, TokenId};

/// Tokens on a page.
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 200;
/// Records of one account that a search looks at.
const SEARCHED_MAX: u32 = 1000;

/// What the list is narrowed to.
#[derive(Default)]
struct Search {
    agent: Option<AgentId>,
    account: Option<String>,
    hostname: Option<String>,
    limit: Option<usize>,
}

impl Search {
    fn parse(query: Query<'_>) -> Result<Self, String> {
        let mut search = Self::default();
        for (name, value) in query.pairs() {
            match &*name {
                "agent" => {
                    search.agent = Some(AgentId::parse(&value).map_err(|e| format!("agent {e}"))?);
                }
                "account" => search.account = Some(value.into_owned()),
                "hostname" => search.hostname = Some(value.to_lowercase()),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    search.limit = Some(limit.ok_or("limit must be from 1 to 200")?);
                }
                _ => return Err("the parameters are agent, account, hostname and limit".to_owned()),
            }
        }
        Ok(search)
    }
}

impl Console {
    /// Live tokens of all accounts, newest first, by agent, account and part of the hostname.
    pub(super) async fn list(&self, query: Query<'_>) -> Response<ConsoleBody> {
        let search = match Search::parse(query) {
            Ok(search) => search,
            Err(message) => return problem(StatusCode::BAD_REQUEST, "invalid_request", &message),
        };
        let mut found: Vec<Record> = Vec::new();
        let mut has_more = false;
        for account in self.gate.accounts.names() {
            if search.account.as_ref().is_some_and(|wanted| wanted != account.as_str()) {
                continue;
            }
            let query = ListQuery {
                account: account.clone(),
                agent: search.agent,
                key_ids: self.gate.keys.ids(),
                now: self.gate.clock.now(),
                offset: 0,
                limit: SEARCHED_MAX,
            };
            match self.gate.records.store().list(query).await {
                Ok(page) => {
                    has_more |= page.has_next;
                    found.extend(page.records);
                }
                Err(error) => return unavailable(&error),
            }
        }
        if let Some(hostname) = &search.hostname {
            found.retain(|record| record.hostname.to_lowercase().contains(hostname));
        }
        found.sort_by_key(|record| std::cmp::Reverse(record.id));
        let limit = search.limit.unwrap_or(LIMIT_DEFAULT);
        has_more |= found.len() > limit;
        found.truncate(limit);
        let streams: BTreeMap<TokenId, usize> = self.gate.streams.open_now().into_iter().collect();
        let tokens = found.iter().map(|record| self.row(record, &streams)).collect();
        json(&TokenPage { tokens, has_more })
    }

    fn row(&self, record: &Record, streams: &BTreeMap<TokenId, usize>) -> TokenRow {
        let known = self.activity.use_of(record.id);
        let used = known.map_or(Permissions::NONE, |known| known.permissions);
        let granted = record.grant.entries.iter();
        let granted = granted.fold(Permissions::NONE, |all, entry| all.union(entry.access));
        TokenRow {
            id: record.id.to_string(),
            account: record.account.to_string(),
            hostname: record.hostname.to_string(),
            created_at: record.created_at.to_string(),
            expires_at: record.grant.expires_at.to_string(),
            policy: record
                .grant
                .entries
                .iter()
                .map(|entry| PolicyRow {
                    agent: entry.agent.to_string(),
                    access: entry.access.iter().collect(),
                })
                .collect(),
            last_used_at: known.map(|known| known.last_used_at.to_string()),
            never_used: granted.iter().filter(|had| !used.contains(*had)).collect(),
            streams: streams.get(&record.id).copied().unwrap_or_default(),
        }
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

fn unavailable(error: &dyn std::error::Error) -> Response<ConsoleBody> {
    problem(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", &error.to_string())
}
