//! Step 2: from a credential to whoever it stands for.

use std::collections::HashMap;
use std::rc::Rc;

use aws_lc_rs::digest;
use http::HeaderValue;
use jiff::Timestamp;

use super::core::Core;
use super::forward::USER_ID;
use super::intake::Bearer;
use super::reject::Refusal;
use crate::cache::{Known, NotKnown, Sources};
use crate::config::Account;
use crate::message::names::AUTHORIZATION;
use crate::policy::Denial;
use crate::token::{AccountName, PREFIX, TextRefusal, TokenDigits};
use crate::upstream::HeaderLines;

/// Who sent a request.
#[derive(Debug)]
pub(super) enum Caller<'g> {
    /// An application's backend, with a server key.
    ServerKey(&'g KnownAccount),
    /// An end user, with a client token that exists.
    Token { known: Rc<Known>, account: &'g KnownAccount },
}

/// The accounts there are, and the digests of their server keys.
#[derive(Debug)]
pub struct Accounts {
    accounts: Vec<KnownAccount>,
    /// SHA-256 of each server key. Looking a digest up tells nothing about the key.
    by_key: HashMap<[u8; 32], usize>,
}

/// An account, as the upstream should see it.
#[derive(Debug)]
pub struct KnownAccount {
    /// Its place among the accounts.
    pub index: usize,
    /// Its name.
    pub name: AccountName,
    /// `Authorization` of its requests to the upstream.
    pub authorization: Option<HeaderValue>,
    /// That, and the acting user, as they are sent.
    pub(super) lines: HeaderLines,
    /// Whether refusals by the policy hold for its tokens.
    pub enforce: bool,
    /// The acting user of its requests to the upstream.
    pub user_id: Option<HeaderValue>,
}

/// A credential in the configuration cannot be sent in a header.
#[derive(Debug, thiserror::Error)]
#[error("the upstream credential or user id of account `{0}` has characters a header cannot carry")]
pub struct UnsendableCredential(AccountName);

impl Accounts {
    /// The accounts of a checked configuration; `credential` is the upstream's, for those that have
    /// none of their own.
    pub fn new(
        accounts: &[Account],
        credential: Option<&crate::token::Secret>,
    ) -> Result<Self, UnsendableCredential> {
        let mut known = Vec::with_capacity(accounts.len());
        let mut by_key = HashMap::new();
        for (index, account) in accounts.iter().enumerate() {
            let unsendable = || UnsendableCredential(account.name.clone());
            let credential = account.credential.as_ref().or(credential);
            let authorization = credential.map(|secret| {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.expose()))?;
                value.set_sensitive(true);
                Ok::<_, http::header::InvalidHeaderValue>(value)
            });
            let authorization = authorization.transpose().map_err(|_| unsendable())?;
            let user_id = account.user_id.as_deref().map(HeaderValue::from_str);
            let user_id = user_id.transpose().map_err(|_| unsendable())?;
            let mut lines = HeaderLines::default();
            for (name, value) in [(AUTHORIZATION, &authorization), (USER_ID, &user_id)] {
                if let Some(value) = value {
                    lines.header(name.as_bytes(), value.as_bytes()).map_err(|_| unsendable())?;
                }
            }
            known.push(KnownAccount {
                index,
                name: account.name.clone(),
                enforce: account.enforce,
                authorization,
                lines,
                user_id,
            });
            for key in &account.server_keys {
                by_key.insert(sha256(key.expose().as_bytes()), index);
            }
        }
        Ok(Self { accounts: known, by_key })
    }

    /// The names of the accounts.
    pub fn names(&self) -> impl Iterator<Item = &AccountName> {
        self.accounts.iter().map(|account| &account.name)
    }

    fn of_key(&self, credential: &[u8]) -> Option<&KnownAccount> {
        self.accounts.get(*self.by_key.get(&sha256(credential))?)
    }

    fn named(&self, name: &AccountName) -> Option<&KnownAccount> {
        self.accounts.iter().find(|account| account.name == *name)
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = digest::digest(&digest::SHA256, bytes);
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}

/// Finds out who sent the request.
pub(super) async fn identify<'g>(
    core: &'g Core,
    bearer: Bearer<'_>,
    now: Timestamp,
) -> Result<Caller<'g>, Refusal> {
    let credential = match bearer {
        Bearer::Absent => return Err(Refusal::TokenMissing),
        Bearer::Unusable => {
            return Err(Refusal::token_invalid("not one bearer credential"));
        }
        Bearer::Credential(credential) => credential,
    };
    if !credential.starts_with(PREFIX.as_bytes()) {
        let account = core.gate.accounts.of_key(credential);
        let unknown = || Refusal::token_invalid("unknown credential");
        return account.map(Caller::ServerKey).ok_or_else(unknown);
    }
    let token = TokenDigits::of(credential);
    let token = token.ok_or_else(|| Refusal::token_invalid(TextRefusal::Malformed.words()))?;
    let known = find_token(core, &token, now).await?;
    let account = core.gate.accounts.named(&known.record.account);
    let gone = || Refusal::token_invalid("its account is no longer configured");
    let account = account.ok_or_else(gone)?;
    Ok(Caller::Token { known, account })
}

/// What is known of a token, wherever this core finds it.
async fn find_token(
    core: &Core,
    token: &TokenDigits,
    now: Timestamp,
) -> Result<Rc<Known>, Refusal> {
    let gate = &*core.gate;
    let sources = Sources {
        front: &core.front,
        keys: &gate.keys,
        records: &gate.records,
        rates: &gate.rates,
        metrics: &gate.metrics,
    };
    sources.find(token, now).await.map_err(|not_known| match not_known {
        NotKnown::Text(TextRefusal::Expired) => Refusal::Denied(Denial::TokenExpired),
        NotKnown::Text(refusal) => Refusal::token_invalid(refusal.words()),
        NotKnown::Gone => Refusal::token_invalid("no such token: deleted, or never made"),
        NotKnown::Unavailable(error) => Refusal::StoreUnavailable(error),
    })
}
