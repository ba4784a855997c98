//! What client tokens may do, as tables: every operation under every set of permissions, and every
//! route of the agents API with what becomes of it.

#[path = "../support/judge.rs"]
mod judge;
#[path = "../support/requests.rs"]
mod requests;

mod agents_elsewhere;
mod coverage;
mod matrix;
mod redaction;
mod table_files;
mod traps;

use std::fs;
use std::path::Path;

/// Holds what the code says against the file of this name, which people read and change; on a
/// difference, what the code says is left in the build directory to be looked at.
#[track_caller]
fn check_against_file(name: &str, said: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/routes").join(name);
    let written = fs::read_to_string(&path).unwrap_or_default();
    let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let left = fs::write(&beside, said);
    let line = written.lines().zip(said.lines()).position(|(a, b)| a != b);
    let line = line.unwrap_or_else(|| written.lines().count().min(said.lines().count()));
    assert!(
        written == said,
        "tests/routes/{name} differs from line {}:\n  file: {:?}\n  code: {:?}\nwhat the code says: {} ({left:?})",
        line + 1,
        written.lines().nth(line),
        said.lines().nth(line),
        beside.display(),
    );
}
