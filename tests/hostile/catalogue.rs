//! Every row of the catalogue is tested or owed, never both and never neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const CATALOGUE: &str = include_str!("catalogue.txt");
const OWED: &str = include_str!("owed.txt");
/// How many rows there are. A row may be added, and none may go.
const ROWS_MIN: usize = 136;

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// `P-01`, `H2-13`.
fn is_id(word: &str) -> bool {
    const CLASSES: [&str; 15] =
        ["P", "H", "I", "S", "H2", "U", "R", "D", "M", "C", "O", "X", "L", "A", "G"];
    word.split_once('-').is_some_and(|(class, number)| {
        CLASSES.contains(&class)
            && number.len() == 2
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn catalogue() -> BTreeMap<&'static str, &'static str> {
    let mut rows = BTreeMap::new();
    for line in lines(CATALOGUE) {
        let mut words = line.splitn(3, ' ');
        let (id, weight, what) =
            (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        assert!(is_id(id) && matches!(weight, "1" | "2" | "3") && !what.is_empty(), "{line}");
        assert!(rows.insert(id, what).is_none(), "{id} is there twice");
    }
    rows
}

/// The rows that tests name in their doc comments; `P-01 to P-04` names all between.
fn tested() -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let mut folders =
        ["src", "tests"].map(|f| Path::new(env!("CARGO_MANIFEST_DIR")).join(f)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "rs" || extension == "mjs")
            {
                named_in(&fs::read_to_string(&path).unwrap(), &mut named);
            }
        }
    }
    named
}

fn named_in(text: &str, named: &mut BTreeSet<String>) {
    let mut comment = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(said) = line.strip_prefix("///") {
            comment.push_str(said);
            continue;
        }
        // A test, one that runs in a browser, or a case of a contract that is written once and run by
        // a test for each store.
        let tests = ["#[test]", "#[tokio::test", "await check("];
        let is_test = tests.iter().any(|test| line.starts_with(test));
        if is_test || line.starts_with("pub(in crate::store) async fn") {
            add_ids(&comment, named);
        }
        comment.clear();
    }
}

fn add_ids(comment: &str, named: &mut BTreeSet<String>) {
    let words: Vec<&str> = comment
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|w| !w.is_empty())
        .collect();
    for (at, word) in words.iter().enumerate() {
        if !is_id(word) {
            continue;
        }
        named.insert((*word).to_owned());
        if let (Some(&"to"), Some(end)) = (words.get(at + 1), words.get(at + 2)) {
            let (class, first) = word.split_once('-').unwrap();
            let first: u32 = first.parse().unwrap();
            let last = end.rsplit('-').next().unwrap().parse().unwrap_or(first);
            for number in first..=last {
                named.insert(format!("{class}-{number:02}"));
            }
        }
    }
}

#[test]
fn every_row_is_tested_or_owed_and_never_both() {
    let catalogue = catalogue();
    assert!(catalogue.len() >= ROWS_MIN, "{} rows", catalogue.len());
    let tested = tested();
    let mut wrong = Vec::new();
    let (mut owed, mut partly) = (BTreeSet::new(), BTreeSet::new());
    for line in lines(OWED) {
        let (id, issue) = line.split_once(' ').unwrap();
        assert!(!issue.is_empty() && catalogue.contains_key(id), "{line}");
        if issue.starts_with('(') {
            partly.insert(id);
        } else {
            owed.insert(id);
        }
    }
    for (id, what) in &catalogue {
        match (tested.contains(*id), owed.contains(id)) {
            (true, true) => wrong.push(format!("{id} is tested and owed: {what}")),
            (false, false) => wrong.push(format!("{id} is neither tested nor owed: {what}")),
            (false, true) | (true, false) => {}
        }
        if partly.contains(id) && !tested.contains(*id) {
            wrong.push(format!("{id} is owed in part, and no part is tested: {what}"));
        }
    }
    // `P-01 to P-04` may run over numbers that are no rows; one that is named alone is a mistake.
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
