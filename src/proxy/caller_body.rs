use bytes::Bytes;

use super::body::{BodyLimits, collect};
use super::intake::announces_body;
use super::reject::Refusal;
use crate::message::Fields;
use crate::policy::Denial;
use crate::server::RequestBody;

/// The body of a request that is judged: one that arrives on the caller's connection, or what
/// another proxy tells of one. The decision reads both by the same rules.
pub(super) trait CallerBody {
    /// Whether there is one, as far as anybody says.
    fn is_announced(&self, fields: &Fields) -> bool;

    /// For an operation without a body: that there is none.
    fn admit_none(&self, fields: &Fields) -> Result<(), Refusal>;

    /// For an operation that inspects its body: all of it, empty if there is none.
    async fn whole(self, limits: BodyLimits) -> Result<Bytes, Refusal>;
}

/// What another proxy tells of the body of the request it asks about.
#[derive(Clone, Debug)]
pub enum GivenBody {
    /// There is none.
    Absent,
    /// All of it.
    Whole(Bytes),
    /// There is one, and it is not shown.
    Withheld,
    /// Nobody says whether there is one.
    Unsaid,
}

impl CallerBody for RequestBody {
    fn is_announced(&self, fields: &Fields) -> bool {
        announces_body(fields)
    }

    fn admit_none(&self, fields: &Fields) -> Result<(), Refusal> {
        if announces_body(fields) { Err(not_admitted()) } else { Ok(()) }
    }

    async fn whole(self, limits: BodyLimits) -> Result<Bytes, Refusal> {
        collect(self, limits).await.map_err(Refusal::Body)
    }
}

impl CallerBody for GivenBody {
    fn is_announced(&self, _: &Fields) -> bool {
        !matches!(self, Self::Absent)
    }

    fn admit_none(&self, _: &Fields) -> Result<(), Refusal> {
        match self {
            Self::Absent => Ok(()),
            Self::Whole(bytes) if bytes.is_empty() => Ok(()),
            Self::Whole(_) | Self::Withheld => Err(not_admitted()),
            Self::Unsaid => Err(Refusal::ProxyRequired(
                "the asking proxy does not say that the request has no body",
            )),
        }
    }

    async fn whole(self, limits: BodyLimits) -> Result<Bytes, Refusal> {
        match self {
            Self::Absent => Ok(Bytes::new()),
            Self::Whole(bytes) => limits.admit(bytes).map_err(Refusal::Body),
            Self::Withheld | Self::Unsaid => Err(Refusal::ProxyRequired(
                "the body decides on this operation, and the asking proxy does not give it",
            )),
        }
    }
}

fn not_admitted() -> Refusal {
    Refusal::Denied(Denial::body_not_admitted())
}
