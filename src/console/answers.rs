use std::time::Instant;

use http::{Response, StatusCode};
use serde::Serialize;

use super::events::ConsoleBody;
use super::wire::{OpenStream, Overview};
use super::{Console, Present, random_request_id};
use crate::answer;
use crate::policy::RouteRow;

pub(super) fn json(body: &impl Serialize) -> Response<ConsoleBody> {
    answer::json(StatusCode::OK, body).map(ConsoleBody::whole)
}

pub(super) fn empty(status: StatusCode) -> Response<ConsoleBody> {
    answer::empty(status).map(ConsoleBody::whole)
}

/// An error in the one shape that all of the gate's errors have.
pub(super) fn problem(
    status: StatusCode,
    code: &'static str,
    message: &str,
) -> Response<ConsoleBody> {
    answer::error(status, code, message, random_request_id()).map(ConsoleBody::whole)
}

impl Console {
    /// The state of the gate now.
    pub(super) fn overview(&self, present: &Present) -> Overview {
        let Present { gate, activity, .. } = present;
        let streams = gate.streams.open_now();
        let (freshness, at) = (gate.records.freshness(), Instant::now());
        let feed_fresh = freshness.is_fresh(at);
        let feed_age = freshness.age(at).map(|age| age.as_millis().try_into().unwrap_or(u64::MAX));
        let mut seconds = activity.seconds();
        let surplus = seconds.len().saturating_sub(120);
        seconds.drain(..surplus);
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            now: gate.clock.now().to_string(),
            up_seconds: self.began.elapsed().as_secs(),
            ready: feed_fresh && !*self.draining.borrow(),
            feed_fresh,
            feed_age_ms: feed_age,
            connections: gate.metrics.connections.get(),
            store_failures: gate.metrics.store_failures.get(),
            feed_failures: gate.metrics.feed_failures.get(),
            tokens_created: gate.metrics.tokens_created.get(),
            tokens_deleted: gate.metrics.tokens_deleted.get(),
            accounts: gate.accounts.names().map(ToString::to_string).collect(),
            streams: streams
                .into_iter()
                .map(|(token, open)| OpenStream { token: token.to_string(), open })
                .collect(),
            seconds,
        }
    }
}

impl Present {
    /// The route table, row by row.
    pub(super) fn routes(&self) -> Vec<RouteRow<'_>> {
        self.gate.routes.operations().iter().map(RouteRow::of).collect()
    }
}
