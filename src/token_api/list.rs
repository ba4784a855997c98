use bytes::Bytes;
use http::Response;

use super::reject::Rejection;
use super::wire::{ListBody, TokenBody};
use super::{Asked, TokenApi, ok};
use crate::audit;
use crate::policy::{AgentId, Query};
use crate::store::{ListQuery, TokenStore as _};

/// Tokens on a page unless asked otherwise, as Letta's interface says.
const LIMIT_DEFAULT: u32 = 10;
/// Most tokens on a page.
const LIMIT_MAX: u64 = 1000;

/// The parameters of a list.
#[derive(Debug, Default)]
struct Parameters {
    agent: Option<AgentId>,
    limit: Option<u64>,
    offset: Option<u64>,
    usage: Option<bool>,
}

impl TokenApi {
    /// `GET`: one page of the account's live tokens, newest first.
    pub(super) async fn list(&self, asked: Asked<'_>) -> Result<Response<Bytes>, Rejection> {
        let parameters = Parameters::parse(asked.head.query())?;
        let query = ListQuery {
            account: asked.account.clone(),
            agent: parameters.agent,
            key_ids: self.keys.ids(),
            now: asked.now,
            before: None,
            offset: parameters.offset.unwrap_or(0),
            limit: parameters
                .limit
                .and_then(|limit| limit.try_into().ok())
                .unwrap_or(LIMIT_DEFAULT),
        };
        let page = self.records.store().list(query).await?;
        audit::tokens_listed(asked.request_id, asked.account, page.records.len());
        let counted = if parameters.usage == Some(true) {
            let ids = page.records.iter().map(|record| record.id).collect();
            Some(self.records.store().usage(ids).await?)
        } else {
            None
        };
        let token = |record| {
            let token = TokenBody::of(record, &self.keys)?;
            Some(match &counted {
                Some(counted) => token.with_usage(record, counted),
                None => token,
            })
        };
        let tokens = page.records.iter().filter_map(token);
        Ok(ok(&ListBody { tokens: tokens.collect(), has_next_page: page.has_next }))
    }
}

impl Parameters {
    fn parse(query: Option<&str>) -> Result<Self, Rejection> {
        let query = Query::parse(query).map_err(|e| Rejection::invalid("query", e.to_string()))?;
        let mut parameters = Self::default();
        for (name, value) in query.pairs() {
            let repeated = match &*name {
                "agentId" => parameters.agent.replace(agent(&value)?).is_some(),
                "limit" => {
                    parameters.limit.replace(number("limit", &value, 1..=LIMIT_MAX)?).is_some()
                }
                "offset" => {
                    let range = 0..=u64::from(u32::MAX);
                    parameters.offset.replace(number("offset", &value, range)?).is_some()
                }
                "usage" => parameters.usage.replace(yes_or_no("usage", &value)?).is_some(),
                _ => {
                    let name: String = name.chars().take(64).collect();
                    return Err(Rejection::invalid(
                        name,
                        "is not a parameter: use agentId, limit, offset and usage",
                    ));
                }
            };
            if repeated {
                return Err(Rejection::invalid(name, "is there twice"));
            }
        }
        Ok(parameters)
    }
}

fn agent(value: &str) -> Result<AgentId, Rejection> {
    AgentId::parse(value).map_err(|problem| Rejection::invalid("agentId", problem.to_string()))
}

fn yes_or_no(name: &str, value: &str) -> Result<bool, Rejection> {
    value.parse().map_err(|_| Rejection::invalid(name, "must be true or false"))
}

/// A whole number; SDKs that type it as a float write `10.0`.
fn number(name: &str, value: &str, range: std::ops::RangeInclusive<u64>) -> Result<u64, Rejection> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    let plain = !whole.is_empty()
        && whole.bytes().all(|digit| digit.is_ascii_digit())
        && !fraction.is_empty()
        && fraction.bytes().all(|digit| digit == b'0');
    let parsed = if plain { whole.parse::<u64>().ok() } else { None };
    parsed.filter(|number| range.contains(number)).ok_or_else(|| {
        let problem = format!("must be a whole number from {} to {}", range.start(), range.end());
        Rejection::invalid(name, problem)
    })
}
