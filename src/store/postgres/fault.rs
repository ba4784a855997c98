use deadpool::managed::{PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

use crate::store::StoreError;
use crate::token::TokenId;

/// What kept the shared store from doing what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// PostgreSQL said no, or its connection broke.
    #[error("PostgreSQL: {}", said(.0))]
    Engine(#[from] tokio_postgres::Error),
    /// No connection could be had.
    #[error("no connection to PostgreSQL: {0}")]
    Pool(String),
    /// Every connection is busy.
    #[error("every connection to PostgreSQL is busy")]
    Busy,
    /// It has not answered.
    #[error("PostgreSQL did not answer in time")]
    Late,
    /// The configuration names no host.
    #[error("no host is configured")]
    NoHost,
    /// A row is not one of ours.
    #[error("a stored value is not what this version writes: {0}")]
    Damaged(&'static str),
    /// A record cannot be read.
    #[error("a record cannot be read")]
    Unreadable { id: TokenId, problem: &'static str },
    /// A value cannot be written.
    #[error("a value cannot be written")]
    Unwritable(#[from] serde_json::Error),
    /// Its thread is gone.
    #[error("the store's thread has stopped")]
    Stopped,
}

impl Fault {
    /// Whether the session cannot be used any more. When in doubt it is not.
    pub(super) fn spoils_session(&self) -> bool {
        match self {
            Self::Engine(error) => match error.code() {
                // Another became the one that takes writes, or the server is going down.
                Some(code) => {
                    *code == SqlState::READ_ONLY_SQL_TRANSACTION
                        || code.code().starts_with("57")
                        || code.code().starts_with("08")
                }
                None => true,
            },
            Self::Late => true,
            _ => false,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unreadable { id, problem } => Self::Unreadable { id, problem },
            Fault::Busy => Self::Overloaded,
            fault => Self::Unavailable(Box::new(fault)),
        }
    }
}

impl From<PoolError<Self>> for Fault {
    fn from(error: PoolError<Self>) -> Self {
        match error {
            PoolError::Backend(fault) => fault,
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy,
            PoolError::Timeout(_) => Self::Late,
            other => Self::Pool(other.to_string()),
        }
    }
}

/// What the server said, or how the connection broke: the driver's own words leave it out.
fn said(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
