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

/// Reads the files of a log, oldest first, and follows the chain through all of them. Holds it against
/// the place that is kept beside the last one: entries removed from the end, and a chain that was written
/// anew, show there only. That place may be a little behind, when the gate was killed.
pub fn verify(files: &[PathBuf]) -> io::Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut head: Option<Head> = None;
    // Before the log itself, which a running gate goes on with.
    let kept = match files.last() {
        Some(last) => kept_beside(last, &mut verdict)?,
        None => None,
    };
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
            if kept.as_ref().is_some_and(|kept| kept.number == number && *kept != entry.head) {
                let problem = format!("{place}: entry {number} is not the one that was written");
                verdict.problems.push(problem);
            }
            head = Some(entry.head);
        }
    }
    let end = head.unwrap_or_default().number;
    if let (Some(last), Some(kept)) = (files.last(), kept)
        && kept.number > end
    {
        let (place, number) = (last.display(), kept.number);
        let problem = format!("{place}: ends with entry {end}, and there was an entry {number}");
        verdict.problems.push(problem);
    }
    Ok(verdict)
}

/// The place that is kept beside a file, if there is one.
fn kept_beside(path: &Path, verdict: &mut Verdict) -> io::Result<Option<Head>> {
    let text = match fs::read_to_string(head_path(path)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kept = Head::from_text(&text);
    if kept.is_none() {
        verdict.problems.push(format!("{}.head: cannot be read", path.display()));
    }
    Ok(kept)
}
