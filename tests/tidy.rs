//! Holds the layers, the sizes and the documents in step with the code.
//!
//! Exceptions stand in the tables here, each with its reason; the tables may only get shorter.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ckgate::docs::refusals;

/// What each module of ours may use. No arrow points up, and no two modules use each other.
const MAY_USE: &[(&str, &[&str])] = &[
    ("scan", &[]),
    ("socket", &[]),
    ("policy", &["scan"]),
    ("clock", &[]),
    ("answer", &["policy", "scan"]),
    ("json", &[]),
    ("message", &["scan"]),
    ("telemetry", &[]),
    ("token", &["policy"]),
    ("tls", &[]),
    ("config", &["policy", "tls", "token"]),
    ("activity", &["clock"]),
    ("audit", &["activity", "answer", "policy", "telemetry", "token"]),
    ("audit_log", &[]),
    ("store", &["clock", "policy", "tls", "token"]),
    ("cache", &["clock", "policy", "store", "telemetry", "token"]),
    ("upstream", &["clock", "config", "message", "scan", "socket", "telemetry", "tls"]),
    ("server", &["clock", "config", "message", "scan", "telemetry", "tls"]),
    (
        "proxy",
        &[
            "activity",
            "answer",
            "audit",
            "cache",
            "clock",
            "config",
            "json",
            "message",
            "policy",
            "scan",
            "server",
            "store",
            "telemetry",
            "token",
            "upstream",
        ],
    ),
    ("decision_api", &["answer", "message", "proxy", "server"]),
    ("console", &["activity", "answer", "policy", "proxy", "store", "token", "token_api"]),
    (
        "token_api",
        &[
            "answer",
            "audit",
            "cache",
            "clock",
            "config",
            "json",
            "message",
            "policy",
            "server",
            "store",
            "telemetry",
            "token",
        ],
    ),
    (
        "app",
        &[
            "activity",
            "answer",
            "audit",
            "audit_log",
            "cache",
            "clock",
            "config",
            "console",
            "decision_api",
            "docs",
            "message",
            "policy",
            "proxy",
            "scan",
            "server",
            "socket",
            "store",
            "telemetry",
            "tls",
            "token",
            "token_api",
            "upstream",
        ],
    ),
    ("fuzzing", &["proxy", "server", "token_api", "upstream"]),
    ("docs", &[]),
    ("demo", &["app", "clock", "config", "policy", "token"]),
    (
        "cli",
        &[
            "app",
            "audit_log",
            "clock",
            "config",
            "demo",
            "docs",
            "message",
            "policy",
            "proxy",
            "server",
            "store",
            "tls",
            "token",
        ],
    ),
];

/// Longest source file, in lines.
const LINES_MAX: usize = 400;
/// Longer ones, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// What only one module may do, what to do elsewhere.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("Timestamp::now", &["src/clock.rs"], "take the time from `clock::Clock`"),
    ("SystemTime::now", &[], "take the time from `clock::Clock`"),
    ("env::var", &["src/main.rs"], "`main` passes the environment in"),
    ("println!", &[], "write through `cli`, or log an event"),
    ("unbounded_channel", &[], "every queue has a limit"),
];

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["manager", "helper", "util", "utils", "common", "misc", "info"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The Rust files under `folder`, as paths from the root, with their text.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

/// The module a file belongs to.
fn module_of(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap();
    below.split('/').next().unwrap().trim_end_matches(".rs")
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Lines of code: comments aside.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// The modules of ours that a file uses, by `use crate::…` and by `crate::…` in the code.
fn modules_used(text: &str) -> Vec<String> {
    let mut used = Vec::new();
    for line in code_lines(text) {
        for after in line.split("crate::").skip(1) {
            if let Some(list) = after.strip_prefix('{') {
                let list = list.split('}').next().unwrap();
                used.extend(list.split(',').map(|name| first_name(name.trim())));
            } else {
                used.push(first_name(after));
            }
        }
    }
    used
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn modules_use_only_the_layers_below_them() {
    let table: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let module = module_of(&path);
        let Some(admitted) = table.get(module) else { continue };
        if is_test(&path) {
            continue;
        }
        for used in modules_used(&text) {
            let is_module = table.contains_key(used.as_str());
            if is_module && used != module && !admitted.contains(&used.as_str()) {
                wrong.push(format!("{path} uses {used}"));
            }
        }
    }
    assert_none("arrows that point up", &wrong);
}

#[test]
fn every_module_stands_in_the_table_and_on_the_map() {
    let lib = read("src/lib.rs");
    let map = read("src/ARCHITECTURE.md");
    let listed: Vec<&str> = MAY_USE.iter().map(|(module, _)| *module).collect();
    let declared =
        lib.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    for module in declared.map(|name| name.trim_end_matches(';')) {
        assert!(listed.contains(&module), "{module} is not in the table of layers");
        assert!(map.contains(&format!("`{module}`")), "{module} is not on the map");
    }
}

#[test]
fn no_two_modules_use_each_other() {
    for (module, uses) in MAY_USE {
        for used in *uses {
            let back = MAY_USE.iter().find(|(name, _)| name == used).unwrap().1;
            assert!(!back.contains(module), "{module} and {used} use each other");
        }
    }
}

#[test]
fn no_source_file_is_long() {
    let mut long = Vec::new();
    for (path, text) in sources("src") {
        let lines = text.lines().count();
        if lines > LINES_MAX && !LONG_FILES.iter().any(|(file, _)| *file == path) {
            long.push(format!("{path}: {lines}"));
        }
    }
    assert_none("files with a second idea in them", &long);
    for (file, _) in LONG_FILES {
        assert!(read(file).lines().count() > LINES_MAX, "{file} is short again");
    }
}

#[test]
fn every_module_says_what_it_owns() {
    let mut silent = Vec::new();
    for (path, text) in sources("src") {
        let begins_module = path.ends_with("/mod.rs") || path.matches('/').count() == 1;
        if begins_module && !is_test(&path) && !text.starts_with("//!") {
            silent.push(path);
        }
    }
    assert_none("modules without a header", &silent);
}

#[test]
fn what_has_one_place_is_done_there_only() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        if is_test(&path) {
            continue;
        }
        for (what, places, instead) in ONLY_IN {
            let found = code_lines(&text).any(|line| line.contains(what));
            if found && !places.contains(&path.as_str()) {
                wrong.push(format!("{path}: {what}: {instead}"));
            }
        }
    }
    assert_none("done in the wrong place", &wrong);
}

#[test]
fn names_of_files_say_something() {
    for path in sources("src").keys() {
        let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
        assert!(!EMPTY_NAMES.contains(&stem), "{path}");
    }
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = read("Cargo.toml");
    let mut in_dependencies = false;
    let mut reason = false;
    let mut silent = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies]");
        } else if line.starts_with('#') {
            reason = true;
            continue;
        } else if in_dependencies && line.contains('=') && !reason {
            silent.push(line.to_owned());
        }
        reason = false;
    }
    assert_none("dependencies without a reason", &silent);
}

#[test]
fn every_metric_is_documented() {
    let readme = read("README.md");
    let telemetry = read("src/telemetry/mod.rs");
    let mut missing = Vec::new();
    let registrations = telemetry.split("r.register").skip(1);
    let names = registrations.filter_map(|call| call.split('"').nth(1));
    for name in names {
        if !readme.contains(&format!("`ckgate_{name}")) {
            missing.push(name.to_owned());
        }
    }
    assert_none("metrics that the README does not name", &missing);
}

#[test]
fn every_refusal_code_is_documented() {
    let readme = read("README.md");
    let mut missing = Vec::new();
    for file in [
        "src/policy/denial.rs",
        "src/proxy/reject.rs",
        "src/token_api/reject.rs",
        "src/cache/streams.rs",
        "src/console/mod.rs",
        "src/decision_api/http.rs",
    ] {
        let text = read(file);
        let arms = text.split("=> \"").skip(1).chain(text.split(", \"").skip(1));
        for code in arms.filter_map(|arm| arm.split('"').next()) {
            let is_code =
                code.contains('_') && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if is_code && !readme.contains(&format!("`{code}`")) {
                missing.push(format!("{code} of {file}"));
            }
            if is_code && !root().join(format!("src/docs/refusals/{code}.md")).is_file() {
                missing.push(format!("a page for {code} of {file} in src/docs/refusals"));
            }
        }
    }
    assert_none("codes that the README does not explain", &missing);
}

#[test]
fn every_page_of_a_refusal_can_be_asked_for_and_says_what_to_change() {
    let files = fs::read_dir(root().join("src/docs/refusals")).unwrap();
    let mut files: Vec<String> = files
        .map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let mut pages: Vec<&str> = refusals::PAGES.iter().map(|(code, _)| *code).collect();
    pages.sort_unstable();
    assert_eq!(files, pages);
    for (code, page) in refusals::PAGES {
        let whole = page.starts_with(&format!("# `{code}`\n\nStatus "))
            && page
                .split_once("\n## What to change\n")
                .is_some_and(|(_, help)| !help.trim().is_empty());
        assert!(whole, "{code}");
    }
}

#[test]
fn nothing_is_left_open() {
    let mut open = Vec::new();
    for folder in ["src", "benches"] {
        for (path, text) in sources(folder) {
            for mark in ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "TODO", "FIXME", "XXX"] {
                if text.contains(mark) {
                    open.push(format!("{path}: {mark}"));
                }
            }
        }
    }
    assert_none("left open", &open);
}
