//! Recently seen records, and revocation that is felt at once.
//!
//! Owns what a gate remembers between requests: records, deleted ids, open streams, bound origins,
//! and how fresh its knowledge of the feed is. Leaves durability to `store`. Must always hold: the
//! set of deleted ids is read after every cache hit, so a deletion cannot be undone by a look-up
//! that was under way when it happened.

mod by_id;
mod deleted;
mod follower;
mod freshness;
mod front;
mod interner;
mod keeper;
mod known;
mod origins;
mod rates;
mod records;
mod streams;
mod usage;

#[cfg(test)]
mod tests;

pub use deleted::DeletedIds;
pub use follower::Follower;
pub use freshness::Freshness;
pub use front::{Found, Front, Known};
pub use keeper::StreamKeeper;
pub use known::{NotKnown, Sources};
pub use origins::BoundOrigins;
pub use rates::{Limits, RateLimited, Rates, TokenRate};
pub use records::{CacheSettings, Records, Unavailable};
pub use streams::{Cut, NewStream, OpenStreams, StreamLease, TooManyStreams};
pub use usage::{CoreUsage, UsageBook};
