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
    /// How deep the JSON of an inspected body may nest.
    pub json_depth_max: usize,
}
