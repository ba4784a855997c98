use std::sync::Arc;

use crate::store::StoreError;

/// What kept the embedded store from doing what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// `SQLite` said no.
    #[error("SQLite refused")]
    Engine(#[from] rusqlite::Error),
    /// The path names another file than the one that is open, or none: what is written to the open
    /// one would be lost.
    #[error("the store file was moved, replaced or deleted while it was open")]
    Moved,
    /// A row has an id that is none.
    #[error("a stored id is not an id")]
    DamagedId,
    /// A row of what is counted is not one of ours.
    #[error("a stored count is not what this version writes")]
    DamagedUsage,
    /// The thread is gone.
    #[error("the store's thread has stopped")]
    Stopped,
    /// The thread is there, and has not answered.
    #[error("the store did not answer in time")]
    Late,
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable(Box::new(fault))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Engine(error).into()
    }
}

/// One fault that many callers are told of.
impl From<Arc<Fault>> for StoreError {
    fn from(fault: Arc<Fault>) -> Self {
        Self::Unavailable(Box::new(fault))
    }
}
