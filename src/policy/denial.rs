use std::fmt;

use super::{AgentId, Permission};

/// Why the policy refused a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The token's `expires_at` has come.
    TokenExpired,
    /// The request does not come from the host the token is bound to.
    HostnameMismatch {
        /// The bound host, serialised.
        bound: String,
        /// What the request showed, in words.
        seen: String,
    },
    /// The route is not in the table, or closed to client tokens.
    RouteNotAllowed {
        /// The operation, where the table names it.
        operation: Option<Box<str>>,
        /// The table's reason for closing it.
        reason: Option<Box<str>>,
    },
    /// No policy entry names this agent with this permission.
    PermissionDenied {
        /// The operation asked for.
        operation: Box<str>,
        /// The permission it needs.
        permission: Permission,
        /// The agent it was asked for, where one is known. For the operator only: the caller is
        /// not told whose a conversation is.
        agent: Option<AgentId>,
    },
    /// A query key, body field or value that the operation does not admit.
    ParameterNotAllowed {
        /// Where it stands.
        place: Place,
        /// Its name: a query key, or a path of body fields such as `messages[0].role`.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The body of an inspected operation is not strict JSON.
    MalformedBody {
        /// What is wrong with it.
        problem: String,
    },
}

/// Where a refused parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the query.
    Query,
    /// In the path.
    Path,
    /// In the body.
    Body,
}

impl Place {
    /// The word for it in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Path => "path",
            Self::Body => "body",
        }
    }
}

impl Denial {
    /// A body on an operation that has none.
    #[must_use]
    pub fn body_not_admitted() -> Self {
        Self::ParameterNotAllowed {
            place: Place::Body,
            name: "(body)".to_owned(),
            problem: "is not admitted for this operation".to_owned(),
        }
    }

    /// Whether it is for what the policy, the hostname or the route table says, rather than for the
    /// token itself.
    #[must_use]
    pub const fn is_of_policy(&self) -> bool {
        match self {
            Self::TokenExpired => false,
            Self::HostnameMismatch { .. }
            | Self::RouteNotAllowed { .. }
            | Self::PermissionDenied { .. }
            | Self::ParameterNotAllowed { .. }
            | Self::MalformedBody { .. } => true,
        }
    }

    /// The short, stable code of the answer and the log.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TokenExpired => "token_expired",
            Self::HostnameMismatch { .. } => "hostname_mismatch",
            Self::RouteNotAllowed { .. } => "route_not_allowed",
            Self::PermissionDenied { .. } => "permission_denied",
            Self::ParameterNotAllowed { .. } => "parameter_not_allowed",
            Self::MalformedBody { .. } => "malformed_request",
        }
    }
}

/// What the developer who reads the answer should change.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenExpired => {
                f.write_str("the token has expired: have your backend create a new one")
            }
            Self::HostnameMismatch { bound, seen } => write!(
                f,
                "the token is bound to `{bound}`, but the request has {seen}; outside a browser, \
                 send the bound origin yourself, for example default_headers={{\"Origin\": \"{}\"}}",
                if bound.contains("://") { bound.clone() } else { format!("https://{bound}") }
            ),
            Self::RouteNotAllowed { operation: Some(operation), reason: Some(reason) } => {
                write!(f, "`{operation}` is closed to client tokens: {reason}")
            }
            Self::RouteNotAllowed { .. } => {
                f.write_str("this method and path are not open to client tokens")
            }
            Self::PermissionDenied { operation, permission, .. } => write!(
                f,
                "`{operation}` needs the permission `{permission}` for this agent, \
                 which the token's policy does not give"
            ),
            Self::ParameterNotAllowed { place, name, problem } => {
                let place = match place {
                    Place::Query => "query parameter",
                    Place::Path => "path parameter",
                    Place::Body => "body field",
                };
                write!(f, "{place} `{name}` {problem}")
            }
            Self::MalformedBody { problem } => write!(f, "the body is not strict JSON: {problem}"),
        }
    }
}
