use http::Method;

use super::host::{Authority, WebOrigin};
use super::{CanonicalPath, Query, RouteTable};

/// Where a request says it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Whence<'r> {
    /// Its `Origin`.
    pub origin: OriginHeader<'r>,
    /// Its `Host`.
    pub host: Authority<'r>,
    /// Whether it carries `Sec-Fetch-Site`, which browsers always send and scripts cannot set.
    pub from_browser: bool,
}

/// The `Origin` header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginHeader<'r> {
    /// There is none.
    Absent,
    /// One web origin.
    Web(WebOrigin<'r>),
    /// `null`, or anything else that is not one web origin.
    Opaque,
}

/// What to do with a request that shows neither a matching `Origin` nor a matching `Host`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithoutOrigin {
    /// Refuse it.
    #[default]
    Refuse,
    /// Let it pass when it comes from no browser: no `Origin`, no `Sec-Fetch-Site`.
    Allow,
}

/// A request, as far as the policy looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Its path.
    pub path: CanonicalPath<'r>,
    /// Its query.
    pub query: Query<'r>,
    /// Where it comes from.
    pub whence: Whence<'r>,
}

/// The rules a request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'t> {
    /// The operations there are.
    pub routes: &'t RouteTable,
    /// What to do without an `Origin`.
    pub without_origin: WithoutOrigin,
    /// How much of a request is looked at.
    pub bounds: Bounds,
}

/// How much of a request the policy looks at: bounds on the work that few bytes can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How deep the JSON of an inspected body may nest. Default 32.
    pub json_depth_max: usize,
    /// Values in the JSON of an inspected body, at any depth. Default 20 000.
    pub json_values_max: usize,
    /// Pairs of a query. Default 64.
    pub query_pairs_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { json_depth_max: 32, json_values_max: 20_000, query_pairs_max: 64 }
    }
}
