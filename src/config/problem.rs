use std::fmt;
use std::path::{Path, PathBuf};

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Debug)]
pub struct Problems {
    file: Option<String>,
    found: Vec<Problem>,
    secret_files: Vec<PathBuf>,
}

/// One thing that is wrong. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    pub(super) place: Place,
    pub(super) message: String,
}

/// Where a value was written, in the order in which problems are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// This line of the file, counted from 1.
    Line(usize),
    /// This environment variable.
    Variable(String),
    /// This option of the command line.
    CommandLine(&'static str),
    /// Nowhere: something is missing.
    Whole,
}

impl Problems {
    pub(super) fn new(mut found: Vec<Problem>, secret_files: Vec<PathBuf>) -> Self {
        found.sort();
        Self { file: None, found, secret_files }
    }

    /// The same, of the configuration in this file.
    pub(super) fn of(self, file: Option<&Path>) -> Self {
        Self { file: file.map(|file| file.display().to_string()), ..self }
    }

    /// The files of secrets that the configuration names, whether they are there or not.
    #[must_use]
    pub fn secret_files(&self) -> &[PathBuf] {
        &self.secret_files
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// Each problem as one line of text, without a line feed.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let file = self.file.as_deref();
        self.found.iter().map(move |problem| match (&problem.place, file) {
            (Place::Line(line), Some(file)) => format!("{file}:{line}: {}", problem.message),
            (Place::Line(line), None) => format!("line {line}: {}", problem.message),
            (Place::Variable(name), _) => format!("{name}: {}", problem.message),
            (Place::CommandLine(option), _) => format!("{option}: {}", problem.message),
            (Place::Whole, Some(file)) => format!("{file}: {}", problem.message),
            (Place::Whole, None) => problem.message.clone(),
        })
    }
}

/// One problem a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.lines().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&line)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// What the operator wrote, fit to stand in a message: in backticks, escaped, and cut when long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 100;
    let mut shown: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN_MAX {
        shown.push('…');
    }
    // `escape_debug` also escapes quotes, which are harmless here.
    format!("`{}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}
