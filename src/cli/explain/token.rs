use std::error::Error;
use std::path::Path;

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;

use super::Bench;
use super::account::Account;
use crate::app;
use crate::cli::arguments::Explain;
use crate::cli::gate_client::{GateClient, Question};
use crate::cli::routes::read_file;
use crate::cli::{Environment, secret_in};
use crate::config::Config;
use crate::policy::{
    AgentId, BoundHost, Grant, Permission, Permissions, PolicyEntries, PolicyEntry,
};
use crate::proxy::TOKEN_API_PATH;
use crate::store::TokenStore as _;
use crate::token::{Record, Secret, TextRefusal, TokenBytes, TokenId};

/// Most bytes of a policy's file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A token's policy, as the token API takes it (a list) or returns it (an object).
#[derive(Deserialize)]
struct RawToken {
    policy: RawPolicy,
    hostname: String,
    #[serde(default, alias = "expiresAt")]
    expires_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPolicy {
    List(Vec<RawEntry>),
    Object { data: Vec<RawEntry> },
}

#[derive(Deserialize)]
struct RawEntry {
    id: String,
    access: Vec<Permission>,
}

/// Tokens in one answer of a gate.
const PAGE: usize = 1000;

/// A page of the tokens of an account, as the token API lists them.
#[derive(Deserialize)]
struct RawPage {
    tokens: Vec<RawListed>,
    #[serde(rename = "hasNextPage")]
    has_next_page: bool,
}

#[derive(Deserialize)]
struct RawListed {
    token: String,
    #[serde(flatten)]
    grant: RawToken,
}

/// What the token grants; `None` when a step up to here refused.
pub(super) fn grant(
    options: &Explain,
    bench: &Bench,
    environment: &Environment,
    account: &mut Account,
) -> Result<Option<Grant>, Box<dyn Error>> {
    if let (Some(gate), Some(name)) = (&options.gate, &options.token_env) {
        let server_key = secret_in(environment, &options.server_key_env)?;
        let gate = GateClient::new(gate, options.gate_ca.as_deref(), server_key)?;
        return listed(&gate, &secret_in(environment, name)?, account);
    }
    let id = match &options.token_env {
        None => None,
        Some(name) => {
            let config = bench.config.as_ref();
            let config = config.ok_or("a token's text needs --config or --gate")?;
            let text = secret_in(environment, name)?;
            match verify(text.expose(), config, bench.now, account) {
                Some(id) => Some((id, config)),
                None => return Ok(None),
            }
        }
    };
    match (&options.policy, id) {
        (Some(file), _) => read_policy(file, bench.now).map(Some),
        (None, Some((id, config))) => {
            let Some(record) = record_of(id, config)? else {
                let says = format!("the store has no record {id}: deleted, or never made");
                account.refuse("record", says, "token_invalid", None);
                return Ok(None);
            };
            account.pass("record", format!("the store has the record {id}"), None);
            Ok(Some(record.grant))
        }
        (None, None) => Err("say what the token may do: --token-env or --policy".into()),
    }
}

/// What a running gate says of the token: whether it is among the live ones of the account.
fn listed(
    gate: &GateClient,
    token: &Secret,
    account: &mut Account,
) -> Result<Option<Grant>, Box<dyn Error>> {
    for page in 0.. {
        let offset = page * PAGE;
        let target = format!("{TOKEN_API_PATH}?limit={PAGE}&offset={offset}");
        let answer = gate.ask(Question { method: Method::GET, target, body: None })?;
        if answer.status != StatusCode::OK {
            return Err(format!("the gate answers {} to the list of tokens", answer.status).into());
        }
        let tokens: RawPage = serde_json::from_slice(&answer.body)?;
        let found = tokens.tokens.into_iter().find(|listed| listed.token == token.expose());
        if let Some(found) = found {
            account.pass("record", "the gate lists it among the live tokens".to_owned(), None);
            return found.grant.into_grant(None).map(Some).map_err(Into::into);
        }
        if !tokens.has_next_page {
            break;
        }
    }
    let says = "the gate does not list it among the live tokens of the account: expired, deleted, \
                mistyped, or another account's";
    account.refuse("record", says.to_owned(), "token_invalid", None);
    Ok(None)
}

/// Checks a token's text with the keys of the configuration.
fn verify(text: &str, config: &Config, now: Timestamp, account: &mut Account) -> Option<TokenId> {
    let Some(bytes) = TokenBytes::decode(text.as_bytes()) else {
        account.refuse("token", "this is not the text of a token".into(), "token_invalid", None);
        return None;
    };
    match config.tokens.keys.verify(&bytes, now) {
        Ok(verified) => {
            let says = format!("the tag verifies; the token's id is {}", verified.id);
            account.pass("token", says, Some("tokens.keys".to_owned()));
            Some(verified.id)
        }
        Err(refusal) => {
            let code = match refusal {
                TextRefusal::Expired => "token_expired",
                _ => "token_invalid",
            };
            account.refuse("token", refusal.to_string(), code, Some("tokens.keys".to_owned()));
            None
        }
    }
}

/// The record, from the configured store. Only a store that is there is opened.
fn record_of(id: TokenId, config: &Config) -> Result<Option<Record>, Box<dyn Error>> {
    if let Some(path) = config.store.sqlite_path()
        && !path.exists()
    {
        let problem = format!("there is no store at `{}`: give the policy", path.display());
        return Err(problem.into());
    }
    let store = app::open_store(&config.store)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(store.get(id))?)
}

fn read_policy(file: &Path, now: Timestamp) -> Result<Grant, Box<dyn Error>> {
    let name = file.display();
    let text =
        read_file(file, FILE_BYTES_MAX).map_err(|e| format!("{name}: cannot be read: {e}"))?;
    let raw: RawToken = serde_json::from_str(&text).map_err(|e| format!("{name}: {e}"))?;
    let expires_at = now.saturating_add(jiff::SignedDuration::from_mins(5))?;
    raw.into_grant(Some(expires_at)).map_err(|e| format!("{name}: {e}").into())
}

impl RawToken {
    /// What it says, checked. Without an expiry of its own, it has this one.
    fn into_grant(self, expires_at: Option<Timestamp>) -> Result<Grant, String> {
        let (RawPolicy::List(raw_entries) | RawPolicy::Object { data: raw_entries }) = self.policy;
        let mut entries = PolicyEntries::with_capacity(raw_entries.len());
        for entry in raw_entries {
            let agent = AgentId::parse(&entry.id).map_err(|e| format!("`{}`: {e}", entry.id))?;
            let access: Permissions = entry.access.into_iter().collect();
            entries.push(PolicyEntry { agent, access });
        }
        let expires_at = match self.expires_at {
            Some(text) => text.parse().map_err(|e| format!("`expires_at`: {e}"))?,
            None => expires_at.ok_or("`expires_at` is missing")?,
        };
        let host = BoundHost::parse(&self.hostname).map_err(|e| e.to_string())?;
        Ok(Grant { host, expires_at, entries })
    }
}
