//! Secrets, which come from the environment or from files that only their owner can read.
//!
//! Must always hold: a secret never stands in the configuration itself, and no message shows one.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::problem::{Place, quoted};
use super::raw::{Node, Value};
use super::reader::{Context, Section};
use crate::token::Secret;

/// Longest secret that is read, in bytes.
const SECRET_BYTES_MAX: usize = 4096;

/// Where a secret is to be read from.
pub(super) enum Source {
    /// This environment variable.
    Variable(String),
    /// This file.
    File(String),
}

/// Reads `{ env = "NAME" }` or `{ file = "PATH" }` and fetches what it names.
pub(super) fn read(context: &mut Context, path: &str, node: Node) -> Option<Secret> {
    let place = node.place;
    let table = match node.value {
        Value::Table(table) => table,
        Value::Text(_) => {
            context.problem(place, format!("`{path}` holds a secret in clear: {HOW}"));
            return None;
        }
        other => {
            let found = other.kind();
            context.problem(place, format!("`{path}` must not be {found}: {HOW}"));
            return None;
        }
    };
    let at = place.clone();
    let source = context.read(path, table, |section| source(section, at))?;
    match fetch(context, &source) {
        Ok(secret) => Some(secret),
        Err(error) => {
            context.problem(place, format!("`{path}`: {error}"));
            None
        }
    }
}

const HOW: &str = "write `{ env = \"NAME\" }` or `{ file = \"PATH\" }`";

/// The keys `env` and `file` of a table, of which there must be one.
pub(super) fn source(section: &mut Section<'_>, place: Place) -> Option<Source> {
    let both_or_none = section.has("env") == section.has("file");
    let variable = section.text("env");
    let file = section.text("file");
    let message = match (variable, file) {
        _ if both_or_none => "must have one of `env` and `file`".to_owned(),
        (Some((name, _)), _) if is_variable_name(&name) => return Some(Source::Variable(name)),
        // Not shown: whoever takes the name for the value has written the secret here.
        (Some(_), _) => "must name a variable in `A-Z`, `0-9` and `_` only".to_owned(),
        (None, Some((file, _))) if !file.is_empty() => return Some(Source::File(file)),
        (None, Some(_)) => "must name a file".to_owned(),
        // Not a string, which has been reported.
        (None, None) => return None,
    };
    let path = section.path("");
    let message = format!("`{}` {message}", path.trim_end_matches('.'));
    section.context.problem(place, message);
    None
}

/// Fetches the secret a source names.
pub(super) fn fetch(context: &mut Context, source: &Source) -> Result<Secret, String> {
    let text = match source {
        Source::Variable(name) => match context.environment.get(name) {
            Some(text) => Zeroizing::new(text.clone()),
            None => return Err(format!("the variable `{name}` is not set")),
        },
        Source::File(file) => {
            context.files.push(file.into());
            fetch_file(Path::new(file))?
        }
    };
    let trimmed = text.trim_end_matches(['\n', '\r']);
    if trimmed.is_empty() {
        return Err(match source {
            Source::Variable(name) => format!("the variable `{name}` is empty"),
            Source::File(file) => format!("the file {} is empty", quoted(file)),
        });
    }
    Ok(Secret::new(trimmed.to_owned()))
}

/// Reads a secret's file. A symbolic link is followed; what counts is the mode of its target.
fn fetch_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let name = quoted(&path.to_string_lossy());
    let failed = |error: io::Error| format!("the file {name} cannot be read: {error}");

    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("{name} is not a regular file"));
    }
    let file = File::open(path).map_err(failed)?;
    // The mode of what was opened, which nobody can exchange any more.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "the file {name} has mode {mode:04o}: only its owner may have access, as with `chmod 600`"
        ));
    }
    // Room for all of it, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(2 * SECRET_BYTES_MAX));
    file.take(SECRET_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() > SECRET_BYTES_MAX {
        return Err(format!("the file {name} has more than {SECRET_BYTES_MAX} bytes"));
    }
    Ok(text)
}

fn is_variable_name(name: &str) -> bool {
    let admitted = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    !name.is_empty()
        && name.bytes().all(admitted)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}
