use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{AuditLog, verify};

fn write(path: &Path, from: u32, to: u32) {
    let log = AuditLog::open(path).unwrap();
    for number in from..to {
        log.append(&format!(r#"{{"message":"entry {number}","quoted":"a \" ,\"hash\":\" b"}}"#));
    }
    log.flush();
}

fn problems(files: &[PathBuf]) -> Vec<String> {
    verify(files).unwrap().problems
}

/// A log of ten entries, its lines, and where it is.
fn ten() -> (TempDir, PathBuf, Vec<String>) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    write(&path, 0, 10);
    let lines: Vec<String> =
        fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 10);
    (directory, path, lines)
}

fn put(path: &Path, lines: &[String]) {
    let end = if lines.is_empty() { "" } else { "\n" };
    fs::write(path, lines.join("\n") + end).unwrap();
}

#[test]
fn log_that_nobody_touched_verifies_over_restarts() {
    let (_directory, path, _) = ten();
    write(&path, 10, 15);
    let verdict = verify(std::slice::from_ref(&path)).unwrap();
    assert_eq!((verdict.entries, verdict.first), (15, Some(1)));
    assert_eq!(verdict.problems, Vec::<String>::new());
}

#[test]
fn removed_changed_added_and_moved_lines_are_found() {
    let (_directory, path, lines) = ten();
    let files = [path.clone()];
    for at in 0..10 {
        let mut removed = lines.clone();
        removed.remove(at);
        put(&path, &removed);
        // Without its first entry, a log is one that begins later.
        let found = problems(&files);
        assert_eq!(found.is_empty(), at == 0, "removed {at}: {found:?}");

        let mut changed = lines.clone();
        changed[at] = changed[at].replace("entry", "entrie");
        put(&path, &changed);
        assert!(!problems(&files).is_empty(), "changed {at}");

        let mut twice = lines.clone();
        twice.insert(at, lines[at].clone());
        put(&path, &twice);
        assert!(!problems(&files).is_empty(), "twice {at}");

        if at > 0 {
            let mut moved = lines.clone();
            moved.swap(at, at - 1);
            put(&path, &moved);
            assert!(!problems(&files).is_empty(), "moved {at}");
        }
    }
    put(&path, &[]);
    assert!(!problems(&files).is_empty(), "all removed");
    put(&path, &lines);
    assert!(problems(&files).is_empty());
}

/// The place beside the log may be older than its end, and still tells one chain from another.
#[test]
fn chain_that_was_written_anew_is_found_by_the_place_beside_it() {
    let (_directory, path, _) = ten();
    let head = path.with_added_extension("head");
    let kept = fs::read_to_string(&head).unwrap();
    write(&path, 10, 12);
    fs::write(&head, &kept).unwrap();
    assert_eq!(problems(std::slice::from_ref(&path)), Vec::<String>::new(), "a little behind");

    let other = path.with_file_name("other.log");
    write(&other, 100, 112);
    fs::rename(&other, &path).unwrap();
    let found = problems(std::slice::from_ref(&path));
    assert!(found.len() == 1 && found[0].contains("entry 10 is not the one"), "{found:?}");
}

#[test]
fn chain_goes_on_in_a_new_file_when_the_old_one_is_moved_away() {
    let directory = TempDir::new().unwrap();
    let (path, old) = (directory.path().join("audit.log"), directory.path().join("audit.log.1"));
    let log = AuditLog::open(&path).unwrap();
    log.append(r#"{"message":"one"}"#);
    log.flush();
    fs::rename(&path, &old).unwrap();
    log.append(r#"{"message":"two"}"#);
    log.flush();
    assert_eq!(problems(&[old.clone(), path.clone()]), Vec::<String>::new());
    assert_eq!(verify(std::slice::from_ref(&path)).unwrap().first, Some(2));
    assert!(!problems(&[path.clone(), old.clone()]).is_empty());

    // Moved away while nobody had it open.
    fs::remove_file(&old).unwrap();
    fs::rename(&path, &old).unwrap();
    write(&path, 0, 1);
    assert_eq!(problems(&[old, path]), Vec::<String>::new());
}

#[test]
fn line_that_a_crash_cut_short_is_taken_away() {
    let (_directory, path, lines) = ten();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{}", lines[3].split_at(40).0)).unwrap();
    write(&path, 10, 12);
    assert_eq!(problems(&[path]), Vec::<String>::new());
}

#[test]
fn what_is_no_entry_is_counted_as_lost() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    let log = AuditLog::open(&path).unwrap();
    for object in ["", "{}", "text", "{\"a\":1,\n\"b\":2}"] {
        log.append(object);
    }
    log.flush();
    let text = fs::read_to_string(&path).unwrap();
    let lost: u64 = text
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["lost"].as_u64().unwrap()
        })
        .sum();
    assert_eq!(lost, 4, "{text}");
    assert_eq!(problems(&[path]), Vec::<String>::new());
}

/// It is there before the place that the chain has come to is kept beside the log.
#[test]
fn entry_that_is_on_disk_is_not_counted_as_lost() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    let log = AuditLog::open(&path).unwrap();
    // In the way of what is written beside the log.
    fs::create_dir(directory.path().join("audit.log.head.new")).unwrap();
    log.append(r#"{"message":"one"}"#);
    log.flush();
    let verdict = verify(std::slice::from_ref(&path)).unwrap();
    assert_eq!((verdict.entries, verdict.problems), (1, Vec::<String>::new()));
    assert!(!fs::read_to_string(&path).unwrap().contains("lost"));
}

/// A gate ends even if its disk takes nothing more: it tries again and again, and that is not waited for.
#[test]
fn log_that_cannot_be_written_is_not_waited_for_without_end() {
    let directory = TempDir::new().unwrap();
    let folder = directory.path().join("log");
    fs::create_dir(&folder).unwrap();
    let log = AuditLog::open(&folder.join("audit.log")).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    log.append(r#"{"message":"lost"}"#);
    log.flush();
}

/// A gate that drains and the one that has taken over write at the same time.
#[test]
fn logs_that_are_open_twice_make_one_chain() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    let logs = [AuditLog::open(&path).unwrap(), AuditLog::open(&path).unwrap()];
    std::thread::scope(|scope| {
        for log in &logs {
            scope.spawn(|| {
                for number in 0..40 {
                    log.append(&format!(r#"{{"message":"entry {number}"}}"#));
                    log.flush();
                }
            });
        }
    });
    let verdict = verify(std::slice::from_ref(&path)).unwrap();
    assert_eq!((verdict.entries, verdict.problems), (80, Vec::<String>::new()));
}
