use std::rc::Rc;

use crate::telemetry::{OperationCounters, UNKNOWN};

/// The name of an operation: of the route table, or one of the gate's own.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Not known, or not in the table.
    Unknown,
    /// One of the gate's own.
    Own(&'static str),
    /// One of the route table.
    Routed(Rc<OperationCounters>),
}

impl Operation {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unknown => UNKNOWN,
            Self::Own(name) => name,
            Self::Routed(counters) => counters.name(),
        }
    }

    /// Its path template, if it is one of the route table.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        match self {
            Self::Unknown | Self::Own(_) => None,
            Self::Routed(counters) => Some(counters.route()),
        }
    }
}
