//! The audit log: what was refused, and what was done with tokens, one line each, in a file that is
//! only ever appended to.
//!
//! Each entry has a number, and the hash of the one before: a line that was removed, changed or moved
//! shows. The hash has no key: whoever writes everything anew from a line on is found out by a hash that
//! was kept elsewhere, and by nothing else. Owns the file, its rotation and its verification; leaves what
//! an entry says to `audit`. Must always hold: entries are numbered without gaps over all files and
//! restarts, and what could not be kept is itself an entry.

mod entry;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use verify::{Verdict, verify};
pub use writer::{AuditLog, AuditLogError};
