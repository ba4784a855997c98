use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::entry::{Entry, Head};

/// Bytes of entries that wait to be written; what comes beyond is counted, and the count is an entry.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// How long entries may gather.
const GATHERING: Duration = Duration::from_millis(10);
/// Longest time to wait for the last entries at the end.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// How much of the file's end is read to find its last entry.
const TAIL_BYTES: u64 = 64 << 10;

/// An open log. Clones append to the same one.
#[derive(Clone)]
pub struct AuditLog(Arc<Waiting>);

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the audit log `{path}` cannot be opened")]
pub struct AuditLogError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

#[derive(Default)]
struct Waiting {
    entries: Mutex<Entries>,
    more: Condvar,
}

#[derive(Default)]
struct Entries {
    /// JSON objects without their braces, one a line.
    fields: String,
    lost: u64,
    writing: bool,
}

/// Where the log is, and where its chain has come to.
struct Chain {
    path: PathBuf,
    /// Held by whoever appends: a gate and the one that takes over from it do so at the same time.
    turn: File,
    head: Head,
}

impl AuditLog {
    /// Opens a log, or makes it, and goes on where its chain has come to. Entries are written by a
    /// thread of their own.
    pub fn open(path: &Path) -> Result<Self, AuditLogError> {
        let failed = |source| AuditLogError { path: path.to_owned(), source };
        let chain = Chain::at(path).map_err(failed)?;
        let waiting = Arc::new(Waiting::default());
        let writer = Arc::clone(&waiting);
        let thread = std::thread::Builder::new().name("ckgate-audit".to_owned());
        thread.spawn(move || writer.write_on(chain)).map_err(failed)?;
        Ok(Self(waiting))
    }

    /// Adds an entry: one JSON object, on one line. What is none, or is too much, is counted as lost.
    /// Never waits for the disk.
    pub fn append(&self, object: &str) {
        let fields = object.trim_end().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let mut entries = self.0.lock();
        let room = WAITING_BYTES_MAX.saturating_sub(entries.fields.len());
        let fits = |fields: &&str| (1..=room).contains(&fields.len()) && !fields.contains('\n');
        match fields.filter(fits) {
            Some(fields) => {
                entries.fields.push_str(fields);
                entries.fields.push('\n');
            }
            None => entries.lost += 1,
        }
        drop(entries);
        self.0.more.notify_all();
    }

    /// Waits until every entry so far is on disk, 5 s at the most.
    pub fn flush(&self) {
        let waited = self.0.more.wait_timeout_while(self.0.lock(), LAST_WAIT, |entries| {
            !entries.fields.is_empty() || entries.lost > 0 || entries.writing
        });
        // Whether they are there or not, nobody waits longer.
        drop(waited);
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_on(&self, mut chain: Chain) {
        let mut failing = false;
        loop {
            let mut entries = self.lock();
            while entries.fields.is_empty() && entries.lost == 0 {
                entries = self.more.wait(entries).unwrap_or_else(PoisonError::into_inner);
            }
            drop(entries);
            std::thread::sleep(GATHERING);
            let mut entries = self.lock();
            let mut fields = std::mem::take(&mut entries.fields);
            let mut lost = std::mem::take(&mut entries.lost);
            entries.writing = true;
            drop(entries);
            let written = chain.write(&mut fields, &mut lost);
            if let Err(error) = &written {
                if !failing {
                    tracing::error!(%error, "the audit log cannot be written");
                }
                let mut entries = self.lock();
                entries.lost += lost + fields.lines().count() as u64;
            }
            failing = written.is_err();
            self.lock().writing = false;
            self.more.notify_all();
            if failing {
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }
}

impl Chain {
    fn at(path: &Path) -> io::Result<Self> {
        let turn = open_file(&path.with_added_extension("lock"))?;
        let mut chain = Self { path: path.to_owned(), turn, head: Head::default() };
        chain.in_turn(Self::catch_up)?;
        Ok(chain)
    }

    /// Appends entries, and the number of those that were lost. What it leaves of both is not there.
    fn write(&mut self, fields: &mut String, lost: &mut u64) -> io::Result<()> {
        self.in_turn(|chain| {
            chain.append(fields, *lost)?;
            fields.clear();
            *lost = 0;
            chain.keep_head()
        })
    }

    /// Does something while nobody else appends.
    fn in_turn<T>(&mut self, act: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        self.turn.lock()?;
        let done = act(self);
        self.turn.unlock()?;
        done
    }

    /// Goes to where the chain is now, wherever the file was moved, and whoever wrote last.
    fn catch_up(&mut self) -> io::Result<File> {
        let kept = match fs::read_to_string(head_path(&self.path)) {
            Ok(text) => Head::from_text(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut file = open_file(&self.path)?;
        let last = last_entry(&mut file)?;
        // Whoever has cut the log short is found out by the number that is missing.
        for found in [kept, last].into_iter().flatten() {
            if found.number >= self.head.number {
                self.head = found;
            }
        }
        Ok(file)
    }

    fn append(&mut self, fields: &str, lost: u64) -> io::Result<()> {
        let mut file = self.catch_up()?;
        let (mut lines, mut head) = (String::with_capacity(fields.len() * 2), self.head.clone());
        for fields in fields.lines() {
            head.append(fields, &mut lines);
        }
        if lost > 0 {
            head.append(&format!(r#""message":"entries lost","lost":{lost}"#), &mut lines);
        }
        let length = file.metadata()?.len();
        let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
        if written.is_err() {
            // All of it counts as lost, so that none of it may stay. If it does, too many are counted.
            let _ = file.set_len(length);
            return written;
        }
        self.head = head;
        Ok(())
    }

    /// Keeps the place that the chain has come to beside the log.
    fn keep_head(&self) -> io::Result<()> {
        let beside = self.path.with_added_extension("head.new");
        fs::write(&beside, self.head.to_text())?;
        fs::rename(beside, head_path(&self.path))
    }
}

/// Where the chain's place is kept.
pub(super) fn head_path(path: &Path) -> PathBuf {
    path.with_added_extension("head")
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// The last entry of a file. The beginning of a line that a crash cut short is taken away: it was
/// never an entry.
fn last_entry(file: &mut File) -> io::Result<Option<Head>> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if whole < tail.len() && (whole > 0 || from == 0) {
        file.set_len(from + whole as u64)?;
    }
    let text = String::from_utf8_lossy(tail.get(..whole).unwrap_or_default()).into_owned();
    Ok(text.lines().rev().find_map(Entry::read).map(|entry| entry.head))
}
