//! Whose a conversation or a run is. The upstream tells, and no update there can change it: what was
//! told once is kept for good.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use moka::future::Cache;
use serde::Deserialize;

use super::core::Core;
use super::forward::{JSON, SDK_VERSION, SDK_VERSION_STAND_IN};
use super::identify::KnownAccount;
use crate::answer::RequestId;
use crate::json::Object;
use crate::message::names::{ACCEPT, X_REQUEST_ID};
use crate::policy::{AgentId, OwnedId};
use crate::upstream::{OutgoingBody, OutgoingRequest, Unsendable, UpstreamError};

/// The owners that are known, for each account: another account may see another upstream user.
#[derive(Debug)]
pub struct Owners {
    known: Cache<(usize, OwnedId), AgentId>,
}

/// Why the owner is not known now. Never a reason to let a request pass.
#[derive(Debug, thiserror::Error)]
pub(super) enum OwnerUnknown {
    /// The upstream has no such thing, or the account does not see it.
    #[error("the upstream knows no such thing")]
    NotThere,
    /// The upstream did not answer.
    #[error("the upstream did not tell the owner")]
    Unanswered(#[source] UpstreamError),
    /// The upstream did not answer in time.
    #[error("the upstream did not tell the owner in time")]
    TooSlow,
    /// The upstream answered, but did not tell.
    #[error("the upstream answered {0} instead of telling the owner")]
    Status(StatusCode),
    /// The answer broke off, is too large, or is not what it should be.
    #[error("the upstream's word on the owner cannot be read")]
    Unreadable,
}

/// Most owners that are kept.
const OWNERS_MAX: u64 = 100_000;
/// Longest time for the upstream to tell an owner.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read for it: a conversation lists the ids of its messages.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The part of a conversation or a run that says whose it is.
#[derive(Deserialize)]
struct Owned {
    id: String,
    agent_id: String,
}

impl Default for Owners {
    fn default() -> Self {
        Self { known: Cache::new(OWNERS_MAX) }
    }
}

impl Owners {
    /// The agent that owns `id`; `None` when there is no such thing for this account. Requests
    /// that ask for the same at once share one look-up.
    pub(super) async fn find(
        &self,
        core: &Core,
        account: &KnownAccount,
        id: OwnedId,
        request_id: RequestId,
    ) -> Result<Option<AgentId>, Arc<OwnerUnknown>> {
        let key = (account.index, id);
        if let Some(owner) = self.known.get(&key).await {
            return Ok(Some(owner));
        }
        let asked = async {
            core.gate.metrics.owner_lookups.inc();
            let asked = tokio::time::timeout(LOOKUP_TIMEOUT, ask(core, account, id, request_id));
            asked.await.unwrap_or(Err(OwnerUnknown::TooSlow))
        };
        match self.known.try_get_with(key, asked).await {
            Ok(owner) => Ok(Some(owner)),
            Err(unknown) if matches!(*unknown, OwnerUnknown::NotThere) => Ok(None),
            Err(unknown) => Err(unknown),
        }
    }
}

/// Asks the upstream, as the account. Whatever is not a plain answer is no answer.
async fn ask(
    core: &Core,
    account: &KnownAccount,
    id: OwnedId,
    request_id: RequestId,
) -> Result<AgentId, OwnerUnknown> {
    let request = question(core, account, id, request_id).map_err(|_| OwnerUnknown::Unreadable)?;
    let answer = core.upstream.send(request, |_| false).await.map_err(OwnerUnknown::Unanswered)?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Err(OwnerUnknown::NotThere),
        status => return Err(OwnerUnknown::Status(status)),
    }
    let body = Limited::new(answer.body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|_| OwnerUnknown::Unreadable)?.to_bytes();
    let owned = serde_json::from_slice::<Object<Owned>>(&body);
    let Object(owned) = owned.map_err(|_| OwnerUnknown::Unreadable)?;
    if OwnedId::parse(&owned.id) != Some(id) {
        return Err(OwnerUnknown::Unreadable);
    }
    AgentId::parse(&owned.agent_id).map_err(|_| OwnerUnknown::Unreadable)
}

fn question(
    core: &Core,
    account: &KnownAccount,
    id: OwnedId,
    request_id: RequestId,
) -> Result<OutgoingRequest, Unsendable> {
    let authority = core.upstream.authority();
    let mut request =
        OutgoingRequest::new(&Method::GET, &id.path(), authority, OutgoingBody::Nothing)?;
    request.own_header(ACCEPT, JSON.as_bytes())?;
    request.own_header(SDK_VERSION, SDK_VERSION_STAND_IN.as_bytes())?;
    request.lines(&account.lines);
    request.own_header(X_REQUEST_ID, request_id.as_bytes())?;
    Ok(request)
}
