use std::path::PathBuf;

use super::problem::quoted;
use super::reader::Section;

/// Where records are kept. From `store.url`, default `sqlite:ckgate.db`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The embedded store's file; a relative path starts where the program was started.
    pub sqlite_path: PathBuf,
}

impl StoreConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let given = section.parsed("url", parse);
        Self { sqlite_path: given.unwrap_or_else(|| PathBuf::from("ckgate.db")) }
    }
}

fn parse(url: &str) -> Result<PathBuf, String> {
    let Some(path) = url.strip_prefix("sqlite:") else {
        // Only the scheme is shown: the rest of such a URL often holds a password.
        return Err(match url.split_once(':') {
            Some(("postgres" | "postgresql", _)) => {
                "is a PostgreSQL URL, which is not supported yet: use `sqlite:ckgate.db`"
            }
            _ => "must be `sqlite:` and a path, such as `sqlite:ckgate.db`",
        }
        .to_owned());
    };
    let misread = path.starts_with("//") || path.starts_with("file:") || path.contains(['?', '\0']);
    if path.is_empty() || misread {
        return Err(format!("must be `sqlite:` and a plain path, not {}", quoted(url)));
    }
    if path == ":memory:" {
        return Err("must name a file: tokens have to survive a restart".to_owned());
    }
    Ok(PathBuf::from(path))
}
