//! Pieces of targets that other people have found to matter.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// Ways of writing a path that proxies and servers have read differently.
pub(crate) const PIECES: &[&str] = &[
    "/",
    "//",
    "/.",
    "/./",
    "/..",
    "/../",
    "/%2e",
    "/%2e%2e/",
    "/.%2e/",
    "/%2E./",
    "/..;/",
    "/;/",
    ";x=1",
    ";",
    "%3B",
    "%2f",
    "%2F",
    "%5c",
    "%5C",
    "\\",
    "\\..\\",
    "/..\\",
    "%252f",
    "%252e%252e",
    "%00",
    "%0a",
    "%0d%0a",
    "%09",
    "%20",
    "%7f",
    "+",
    "%2B",
    "*",
    "**",
    "%2A",
    "?",
    "%3f",
    "%3F",
    "#",
    "%23",
    "&",
    "%26",
    "=",
    "%3D",
    ":",
    "%3A",
    "@",
    "%40",
    "!",
    "$",
    "'",
    "(",
    ")",
    ",",
    "~",
    "%7E",
    "|",
    "^",
    "`",
    "{",
    "}",
    "<",
    ">",
    "\"",
    "%",
    "%2",
    "%zz",
    "%u002f",
    "%c0%ae",
    "%c0%af",
    "%e0%80%ae",
    "%ff",
    "%C3%A9",
    "%E2%80%AE",
    "%F0%9F%98%80",
    "%EF%BC%8F",
    "%E3%80%82",
    "\u{e9}",
    "\u{ff0f}",
    "http://evil.test/",
    "//evil.test/",
    "/latest",
    "/v1",
    "/V1",
    "/v1%2f",
    "....//",
    "/%2e%2e%2e%2e//",
    "%61",
    "%41",
    "%2d",
    "%5F",
    "%30",
    ".json",
    "/default",
    "/messages",
    "/attach",
    "/count",
    "/search",
];

/// Names of blocks, and other free text.
pub(crate) const TEXTS: &[&str] = &[
    "human",
    "persona",
    "attach",
    "detach",
    "a.b",
    "...",
    "a~b",
    "x%20y",
    "%C3%A9t%C3%A9",
    "%F0%9F%98%80",
    "a:b",
    "a@b",
    "a,b",
    "a=b",
    "a&b",
    "(x)",
    "$1",
    "!",
    "'",
    "*",
    "%22x%22",
    "%3Cb%3E",
    "100%25",
    "%5Bx%5D",
    "a+b",
    "a%2Bb",
    "%7Bx%7D",
    "%E2%80%8B",
    "%C2%A0",
    "default",
    "agent-1",
    "messages",
    "%60",
    "%5E",
    "%7C",
];

/// Inputs and paths of the WHATWG URL vectors, and the names of the IDNA vectors, as the crates
/// `url` and `idna` ship them; none where their sources are not unpacked.
pub(crate) fn vectors() -> Vec<String> {
    let mut vectors = Vec::new();
    for path in shipped("url-", "tests/urltestdata.json") {
        let cases: Value = fs::read_to_string(path)
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        for case in cases.as_array().into_iter().flatten() {
            let texts =
                ["input", "pathname", "search", "href"].iter().filter_map(|key| case[key].as_str());
            vectors.extend(texts.map(str::to_owned));
        }
    }
    for path in shipped("idna-", "tests/IdnaTestV2.txt") {
        let text = fs::read_to_string(path).unwrap_or_default();
        let cases = text.lines().filter(|line| !line.starts_with('#'));
        vectors.extend(cases.filter_map(|line| Some(line.split(';').next()?.trim().to_owned())));
    }
    vectors.retain(|vector| !vector.is_empty());
    vectors
}

/// A file of every unpacked version of a crate.
fn shipped(name: &str, file: &str) -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let Some(home) = home else { return Vec::new() };
    let registries = fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
    let crates = registries.filter_map(|registry| fs::read_dir(registry.path()).ok()).flatten();
    let named =
        crates.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(name));
    named.map(|entry| entry.path().join(file)).filter(|path| path.exists()).collect()
}
