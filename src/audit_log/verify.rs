use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::entry::{Entry, Head};
use super::writer::head_path;

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How many entries were read.
    pub entries: u64,
    /// The number of the first one.
    pub first: Option<u64>,
    /// Everything that is not as it was written, with its place.
    pub problems: Vec<String>,
}

/// Reads the files of a log, oldest first, and follows the chain through all of them to the place that
/// is kept beside the last one.
pub fn verify(files: &[PathBuf]) -> io::Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut head: Option<Head> = None;
    for path in files {
        for (at, line) in BufReader::new(File::open(path)?).split(b'\n').enumerate() {
            let line = line?;
            let entry = std::str::from_utf8(&line).ok().and_then(Entry::read);
            let place = format!("{}:{}", path.display(), at + 1);
            let Some(entry) = entry else {
                verdict.problems.push(format!("{place}: not an entry, or changed"));
                continue;
            };
            verdict.entries += 1;
            let number = entry.head.number;
            match &head {
                None => {
                    verdict.first = Some(number);
                    if number == 1 && !entry.follows(&Head::default()) {
                        verdict.problems.push(format!("{place}: the first entry is not the first"));
                    }
                }
                Some(head) if entry.follows(head) => {}
                Some(head) => verdict.problems.push(format!(
                    "{place}: entry {number} does not follow entry {}: something in between was removed, changed or moved",
                    head.number
                )),
            }
            head = Some(entry.head);
        }
    }
    if let Some(last) = files.last() {
        check_end(last, &head.unwrap_or_default(), &mut verdict)?;
    }
    Ok(verdict)
}

/// Holds the end against the place that is kept beside the log: entries removed from the end show
/// there only. It may be a little behind, when the gate was killed.
fn check_end(path: &Path, head: &Head, verdict: &mut Verdict) -> io::Result<()> {
    let text = match fs::read_to_string(head_path(path)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let place = path.display();
    match Head::from_text(&text) {
        None => verdict.problems.push(format!("{place}.head: cannot be read")),
        Some(kept) if kept.number > head.number => verdict.problems.push(format!(
            "{place}: ends with entry {}, and there was an entry {}",
            head.number, kept.number
        )),
        Some(kept) if kept.number == head.number && kept != *head => {
            verdict
                .problems
                .push(format!("{place}: the last entry is not the one that was written"));
        }
        Some(_) => {}
    }
    Ok(())
}
