//! What gates wrote and answered during a run, kept for a search through all of it (`tests/hostile/leaks`)
//! when `CKGATE_KEEP_WRITTEN` names a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Files that hold a secret because they are there for it; a number may stand behind the name.
const SECRETS: [&str; 4] = ["server-key", "other-server-key", "upstream-credential", "ckgate.key"];

fn folder() -> Option<PathBuf> {
    std::env::var_os("CKGATE_KEEP_WRITTEN").map(PathBuf::from)
}

/// A text that must stand nowhere in what is kept.
pub(crate) fn note_secret(text: &str) {
    append("secrets", format!("{}\n", text.trim()).as_bytes());
}

/// The body of an error.
pub(crate) fn note_error(body: &[u8]) {
    append("errors", &[body, b"\n"].concat());
}

/// What a gate's metrics say, while it still runs.
pub(crate) fn note_metrics(admin: SocketAddr) {
    if folder().is_none() {
        return;
    }
    let patience = Duration::from_secs(2);
    let Ok(mut stream) = TcpStream::connect_timeout(&admin, patience) else { return };
    let _ = stream.set_read_timeout(Some(patience));
    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut metrics = Vec::new();
    let _ = stream.read_to_end(&mut metrics);
    append("metrics", &metrics);
}

/// The log of a gate that has ended, and its files.
pub(crate) fn note_gate(directory: &Path, log: &[String]) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let Some(folder) = folder() else { return };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let kept = folder.join(format!("{}-{number}", std::process::id()));
    fs::create_dir_all(&kept).unwrap();
    fs::write(kept.join("log"), log.join("\n")).unwrap();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Ok(bytes) = fs::read(entry.path()) else { continue };
        let unnumbered = name.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit());
        if SECRETS.contains(&unnumbered) {
            note_secret(&String::from_utf8_lossy(&bytes));
        } else {
            fs::write(kept.join(name), bytes).unwrap();
        }
    }
}

fn append(name: &str, bytes: &[u8]) {
    let Some(folder) = folder() else { return };
    fs::create_dir_all(&folder).unwrap();
    let file: File = OpenOptions::new().create(true).append(true).open(folder.join(name)).unwrap();
    // In one call, so that what two tests write does not mix.
    (&file).write_all(bytes).unwrap();
}
