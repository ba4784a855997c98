use bytes::Bytes;
use http::Response;
use jiff::{SignedDuration, Timestamp};

use super::reject::Rejection;
use super::{Asked, TokenApi, ok};
use crate::answer::RequestId;
use crate::audit;
use crate::cache::Cut;
use crate::store::{DeleteOutcome, Deletion};
use crate::token::{Record, TEXT_LENGTH, TokenBytes};

impl TokenApi {
    /// `DELETE`: 200 `{}` once the deletion is durable and this gate refuses the token. The
    /// published description says 204, which older SDKs cannot read (measured).
    pub(super) async fn delete(
        &self,
        asked: &Asked<'_>,
        segment: &str,
    ) -> Result<Response<Bytes>, Rejection> {
        let token = decode(segment).ok_or(Rejection::NoSuchToken)?;
        let token = self.keys.verify_genuine(&token).map_err(|_| Rejection::NoSuchToken)?;
        let expires_at = Timestamp::from_second(token.expiry_seconds).unwrap_or(Timestamp::MAX);
        let deletion =
            Deletion { account: asked.account.clone(), id: token.id, expires_at, now: asked.now };
        self.carry_out(deletion, asked.request_id).await
    }

    /// Deletes the token of a record that somebody else found; the answer is that of `DELETE`.
    pub async fn delete_known(
        &self,
        record: &Record,
        request_id: RequestId,
        now: Timestamp,
    ) -> Response<Bytes> {
        let deletion = Deletion {
            account: record.account.clone(),
            id: record.id,
            // The text's own expiry is rounded up to the second.
            expires_at: record
                .grant
                .expires_at
                .saturating_add(SignedDuration::from_secs(1))
                .unwrap_or(Timestamp::MAX),
            now,
        };
        let deleted = self.carry_out(deletion, request_id).await;
        deleted.unwrap_or_else(|rejection| rejection.answer(request_id))
    }

    async fn carry_out(
        &self,
        deletion: Deletion,
        request_id: RequestId,
    ) -> Result<Response<Bytes>, Rejection> {
        let (account, id) = (deletion.account.clone(), deletion.id);
        match self.records.delete(deletion).await? {
            DeleteOutcome::NotYours => return Err(Rejection::NoSuchToken),
            DeleteOutcome::Deleted => {
                self.metrics.tokens_deleted.inc();
                audit::token_deleted(request_id, &account, id);
            }
            DeleteOutcome::AlreadyGone => {}
        }
        self.streams.cut(id, Cut::TokenRevoked);
        Ok(ok(&serde_json::json!({})))
    }
}

/// The token in a path segment. No SDK escapes its characters today; one that did would be read.
fn decode(segment: &str) -> Option<TokenBytes> {
    let mut text = Vec::with_capacity(TEXT_LENGTH);
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?].map(char::from);
            let [high, low] = digits.map(|digit| digit.to_digit(16));
            text.push(u8::try_from(high? << 4 | low?).ok()?);
        } else {
            text.push(byte);
        }
    }
    TokenBytes::decode(&text)
}
