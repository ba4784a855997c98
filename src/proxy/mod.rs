//! The data path: from a request's head to the last byte of its answer.
//!
//! One straight line, see [`handle`]: intake, identify, authorize, forward, relay, audit. Leaves
//! what is permitted to `policy` and what is remembered to `cache`. Must always hold: nothing goes
//! upstream but what a permit was given for, and every answer leaves through one place.

mod authorize;
mod body;
mod caller_body;
mod connection;
mod core;
mod cors;
mod events;
mod forward;
mod handle;
mod identify;
mod intake;
mod judge;
mod owners;
mod reject;
mod relay;
mod reply;

#[cfg(test)]
mod tests;

pub use self::core::{Core, Gate, Rules};
pub use body::{BodyLimits, BodyProblem, MeteredBody, collect};
pub use caller_body::GivenBody;
pub use connection::{Attention, Connection};
#[cfg(feature = "fuzzing")]
pub(crate) use events::EventBoundary;
pub use handle::{OwnRequest, TOKEN_API_PATH, handle};
pub use identify::{Accounts, KnownAccount};
pub use intake::{HeadRefusal, admits_coding, asked_of};
pub use judge::{
    AskingProxy, HeadersRemoved, Judgement, Permitted, StreamsHere, TargetSent, judge,
};
pub use owners::Owners;
pub use relay::ReplyBody;
