use std::time::Duration;

use super::problem::Place;
use super::reader::Section;
use super::{hours, millis, minutes, seconds};
use crate::policy::Bounds;
use crate::token::TokenLimits;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What a caller may ask of the gate's memory and patience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head: its first line and headers. Default 32 KiB.
    pub head_bytes_max: usize,
    /// Headers of a request. Default 64.
    pub headers_max: usize,
    /// Bytes of a request's target. Default 8 KiB.
    pub target_bytes_max: usize,
    /// Longest time for a head to arrive whole. Default 10 s.
    pub header_timeout: Duration,
    /// How long a connection may be idle between two requests. Default 75 s.
    pub keep_alive_timeout: Duration,
    /// How long a client may take none of an answer that is ready for it. Default 30 s.
    pub write_stall_timeout: Duration,
    /// Longest time for an inspected body to arrive whole. Default 60 s.
    pub body_timeout: Duration,
    /// Bytes a second below which a body is too slow; 0 = any. Default 240.
    pub body_rate_min: u32,
    /// Bytes of a body that is inspected. Default 8 MiB.
    pub inspected_body_bytes_max: usize,
    /// Bytes of a body that is passed through. Default 64 MiB.
    pub body_bytes_max: u64,
    /// Bytes of an answer out of which something is taken. Default 8 MiB.
    pub redacted_answer_bytes_max: usize,
    /// Levels of an inspected body's JSON. Default 32.
    pub json_depth_max: usize,
    /// Values in an inspected body's JSON, at any level. Default 20 000.
    pub json_values_max: usize,
    /// Pairs of a client token's query. Default 64.
    pub query_pairs_max: usize,
    /// Connections open at once. Default 10 000.
    pub connections_max: usize,
    /// Requests under way at once on one HTTP/2 connection. Default 100.
    pub connection_streams_max: u32,
    /// Requests a minute for one token; 0 = any number. Default 600.
    pub requests_per_minute_per_token: u32,
    /// Who shares a token's requests a minute and its streams. Default all gates on one store.
    pub shared_by: SharedBy,
}

/// Who shares what a token may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedBy {
    /// All gates on one store: each has an equal part.
    Cluster,
    /// Nobody: each gate admits all of it.
    Gate,
}

impl Limits {
    /// Those of the policy.
    #[must_use]
    pub const fn policy_bounds(&self) -> Bounds {
        Bounds {
            json_depth_max: self.json_depth_max,
            json_values_max: self.json_values_max,
            query_pairs_max: self.query_pairs_max,
        }
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Bounds::default();
        let limits = Self {
            // The HTTP library's buffers do not go below 8 KiB.
            head_bytes_max: section.integer("head_bytes_max", 32 * KIB, 8 * KIB..=MIB),
            headers_max: section.integer("headers_max", 64, 16..=1000),
            // The HTTP library refuses longer ones itself.
            target_bytes_max: section.integer("target_bytes_max", 8 * KIB, 256..=65_534),
            header_timeout: section.duration(
                "header_timeout",
                seconds(10),
                millis(100)..=minutes(10),
            ),
            keep_alive_timeout: section.duration(
                "keep_alive_timeout",
                seconds(75),
                seconds(1)..=hours(1),
            ),
            write_stall_timeout: section.duration(
                "write_stall_timeout",
                seconds(30),
                seconds(1)..=hours(1),
            ),
            body_timeout: section.duration("body_timeout", seconds(60), millis(100)..=hours(1)),
            body_rate_min: section.integer("body_rate_min", 240, 0..=1_000_000_000),
            inspected_body_bytes_max: section.integer(
                "inspected_body_bytes_max",
                8 * MIB,
                KIB..=256 * MIB,
            ),
            body_bytes_max: section.integer("body_bytes_max", 64 << 20, 1 << 10..=1 << 40),
            redacted_answer_bytes_max: section.integer(
                "redacted_answer_bytes_max",
                8 * MIB,
                KIB..=256 * MIB,
            ),
            // The JSON library itself stops at 128.
            json_depth_max: section.integer("json_depth_max", default.json_depth_max, 4..=127),
            json_values_max: section.integer(
                "json_values_max",
                default.json_values_max,
                100..=10_000_000,
            ),
            query_pairs_max: section.integer("query_pairs_max", default.query_pairs_max, 8..=1000),
            connections_max: section.integer("connections_max", 10_000, 1..=1_000_000),
            connection_streams_max: section.integer("connection_streams_max", 100, 1..=10_000),
            requests_per_minute_per_token: section.integer(
                "requests_per_minute_per_token",
                600,
                0..=TokenLimits::REQUESTS_PER_MINUTE_MAX,
            ),
            shared_by: section.word(
                "shared_by",
                SharedBy::Cluster,
                &[("cluster", SharedBy::Cluster), ("gate", SharedBy::Gate)],
            ),
        };
        if limits.target_bytes_max > limits.head_bytes_max {
            let message = "`limits.target_bytes_max` is more than `limits.head_bytes_max`, which \
                           holds the target";
            section.context.problem(Place::Whole, message);
        }
        limits
    }
}
