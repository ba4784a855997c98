//! Turns raw values into typed ones, key by key.
//!
//! Owns the gathering of problems: a key that cannot be read is reported and its default goes on in
//! its place, so that reading never stops early. Must always hold: a key that nobody asked for is a
//! problem, and no value is shown in a message unless its key holds no secret.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::mem;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::{SpanParser, SpanPrinter};

use super::problem::{Place, Problem, quoted};
use super::raw::{Environment, Node, Table, Value};
use crate::tls::PairFiles;

/// What every section needs while it is read.
pub(super) struct Context {
    pub(super) environment: Environment,
    pub(super) problems: Vec<Problem>,
    /// Every key that was asked for, as `section.key` without indices.
    pub(super) known: BTreeSet<String>,
    /// The files that secrets were read from, or should have been.
    pub(super) files: Vec<PathBuf>,
}

/// One table while it is read.
pub(super) struct Section<'c> {
    /// What stands before its keys in messages: empty, or a path that ends in a dot.
    prefix: String,
    table: Table,
    asked: Vec<&'static str>,
    pub(super) context: &'c mut Context,
}

impl Context {
    pub(super) fn problem(&mut self, place: Place, message: impl Into<String>) {
        self.problems.push(Problem { place, message: message.into() });
    }

    /// Reads `table` with `read`, then reports the keys it did not ask for.
    pub(super) fn read<T>(
        &mut self,
        path: &str,
        table: Table,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
        let mut section = Section { prefix, table, asked: Vec::new(), context: self };
        let value = read(&mut section);
        section.report_leftovers();
        value
    }

    /// Reads a list of tables with `read`.
    pub(super) fn read_each<T>(
        &mut self,
        path: &str,
        list: Node,
        mut read: impl FnMut(&mut Section<'_>, Place) -> T,
    ) -> Vec<T> {
        let Value::List(items) = list.value else {
            let found = list.value.kind();
            self.problem(list.place, format!("`{path}` must be a list of tables, not {found}"));
            return Vec::new();
        };
        let mut values = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            let path = format!("{path}[{at}]");
            match item.value {
                Value::Table(table) => {
                    values.push(self.read(&path, table, |section| read(section, item.place)));
                }
                other => {
                    let found = other.kind();
                    self.problem(item.place, format!("`{path}` must be a table, not {found}"));
                }
            }
        }
        values
    }
}

impl Section<'_> {
    /// The full name of one of this section's keys.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Whether a key has a value that nobody took yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Removes a key's value and remembers that the key exists.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        self.context.known.insert(without_indices(&self.path(key)));
        self.table.remove(key)
    }

    /// Reads a table inside this one; an absent one is read as empty.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let path = self.path(key);
        let table = match self.take(key) {
            None => Table::new(),
            Some(Node { value: Value::Table(table), .. }) => table,
            Some(Node { place, value }) => {
                let found = value.kind();
                self.context.problem(place, format!("`{path}` must be a table, not {found}"));
                Table::new()
            }
        };
        self.context.read(&path, table, read)
    }

    /// A string, and where it stands.
    pub(super) fn text(&mut self, key: &'static str) -> Option<(String, Place)> {
        let node = self.take(key)?;
        if let Value::Text(text) = node.value {
            return Some((text, node.place));
        }
        let message = format!("`{}` must be a string, not {}", self.path(key), node.value.kind());
        self.context.problem(node.place, message);
        None
    }

    /// A string that `parse` understands. Its error ends the sentence "`key` …" and shows of the
    /// value what may be shown.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (text, place) = self.text(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                let message = format!("`{}` {error}", self.path(key));
                self.context.problem(place, message);
                None
            }
        }
    }

    /// An integer within `range`.
    pub(super) fn integer<N>(
        &mut self,
        key: &'static str,
        default: N,
        range: RangeInclusive<N>,
    ) -> N
    where
        N: TryFrom<i64> + PartialOrd + Display,
    {
        let Some(node) = self.take(key) else { return default };
        let shown = match node.value {
            Value::Integer(integer) => match N::try_from(integer) {
                Ok(number) if range.contains(&number) => return number,
                _ => format!("`{integer}`"),
            },
            other => other.kind().to_owned(),
        };
        let (path, start, end) = (self.path(key), range.start(), range.end());
        let message = format!("`{path}` must be an integer from {start} to {end}, not {shown}");
        self.context.problem(node.place, message);
        default
    }

    /// A path.
    pub(super) fn file(&mut self, key: &'static str) -> Option<PathBuf> {
        self.parsed(key, super::path)
    }

    /// The paths under `certificate` and `key`, of which one is nothing without the other.
    pub(super) fn pair(&mut self) -> Option<PairFiles> {
        let place = ["certificate", "key"].map(|key| self.place(key));
        match (self.file("certificate"), self.file("key"), place) {
            (Some(certificate), Some(key), _) => Some(PairFiles { certificate, key }),
            (_, _, [Some(place), None] | [None, Some(place)]) => {
                let path = self.path("certificate");
                let message = format!("`{path}` and `{}` come together", self.path("key"));
                self.context.problem(place, message);
                None
            }
            _ => None,
        }
    }

    /// Where a key that nobody took yet was written.
    fn place(&self, key: &str) -> Option<Place> {
        self.table.get(key).map(|node| node.place.clone())
    }

    /// A list of IP addresses, in their canonical form; an absent one is read as empty.
    pub(super) fn addresses(&mut self, key: &'static str) -> BTreeSet<IpAddr> {
        let path = self.path(key);
        let Some(node) = self.take(key) else { return BTreeSet::new() };
        let Value::List(items) = node.value else {
            let found = node.value.kind();
            self.context.problem(node.place, format!("`{path}` must be a list, not {found}"));
            return BTreeSet::new();
        };
        let mut addresses = BTreeSet::new();
        for (at, item) in items.into_iter().enumerate() {
            let found = match &item.value {
                Value::Text(text) => text.parse::<IpAddr>().map_err(|_| quoted(text)),
                other => Err(other.kind().to_owned()),
            };
            match found {
                Ok(address) => {
                    addresses.insert(address.to_canonical());
                }
                Err(found) => {
                    let message = format!("`{path}[{at}]` must be an IP address, not {found}");
                    self.context.problem(item.place, message);
                }
            }
        }
        addresses
    }

    /// A duration within `range`, such as `"250ms"` or `"30d"`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let limits = format!("{} to {}", shown(*range.start()), shown(*range.end()));
        self.parsed(key, |text| match parse_duration(text) {
            Some(duration) if range.contains(&duration) => Ok(duration),
            Some(_) => Err(format!("must be from {limits}, not {}", quoted(text))),
            None => Err(format!("must be a duration such as \"30s\", not {}", quoted(text))),
        })
        .unwrap_or(default)
    }

    /// An integer within `range`, if there is one.
    pub(super) fn integer_or_none<N>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<N>,
    ) -> Option<N>
    where
        N: TryFrom<i64> + PartialOrd + Display + Copy,
    {
        let least = *range.start();
        if self.has(key) {
            return Some(self.integer(key, least, range));
        }
        self.take(key);
        None
    }

    /// Yes or no.
    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        let Some(node) = self.take(key) else { return default };
        if let Value::Boolean(value) = node.value {
            return value;
        }
        let found = node.value.kind();
        let message = format!("`{}` must be true or false, not {found}", self.path(key));
        self.context.problem(node.place, message);
        default
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        words: &[(&str, T)],
    ) -> T {
        self.parsed(key, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let known = list(words.iter().map(|(word, _)| *word), "or");
                format!("must be {known}, not {}", quoted(text))
            })
        })
        .unwrap_or(default)
    }

    fn report_leftovers(self) {
        let Self { prefix, table, asked, context } = self;
        for (key, node) in table {
            let path = quoted(&format!("{prefix}{key}"));
            let message =
                format!("unknown key {path}: the keys here are {}", list(asked.iter(), "and"));
            if let Value::Table(children) = node.value {
                // A variable that reaches into an unknown section is no better than the section.
                let variables = children.into_values().map(|child| child.place);
                for place in variables.filter(|p| !matches!(p, Place::Line(_)) && *p != node.place)
                {
                    context.problem(place, message.clone());
                }
            }
            context.problem(node.place, message);
        }
    }
}

/// Parses a duration in jiff's friendly format, where a day has 24 hours.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text).ok()?;
    span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?.try_into().ok()
}

fn shown(duration: Duration) -> String {
    SpanPrinter::new().unsigned_duration_to_string(&duration)
}

/// `a`, `b` and `c`, in backticks.
fn list<S: Display>(words: impl Iterator<Item = S>, last: &str) -> String {
    let mut quoted: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    let Some(end) = quoted.pop() else { return "none".to_owned() };
    if quoted.is_empty() { end } else { format!("{} {last} {end}", quoted.join(", ")) }
}

/// `accounts[0].name` as `accounts.name`.
fn without_indices(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| match c {
            '[' => {
                inside = true;
                false
            }
            ']' => !mem::replace(&mut inside, false),
            _ => !inside,
        })
        .collect()
}
