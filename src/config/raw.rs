//! What the operator typed: a tree of values, each with the place it was written at.
//!
//! Leaves all meaning to the reader. Must always hold: it never prints, since an operator may have
//! written a secret where none belongs.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};

/// What variables that set a key start with.
const VARIABLE_PREFIX: &str = "CKGATE_";

/// The process environment, or what a test puts in its place.
pub(super) type Environment = BTreeMap<String, String>;

/// A table by key.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and where it was written.
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// A value as it was written.
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// A kind of value that no key takes, by name.
    Other(&'static str),
}

impl Value {
    /// The value as if it had been written at `place`.
    pub(super) fn at(self, place: Place) -> Node {
        Node { place, value: self }
    }

    /// What kind of value it is, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// Parses a file. All its syntax errors are reported, without the text around them: it may hold a
/// secret.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Table {
    let (root, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    problems.extend(errors.iter().map(|error| Problem {
        place: error.span().map_or(Place::Whole, |span| lines.place(span.start)),
        message: format!("not TOML: {}", error.message().lines().next().unwrap_or_default()),
    }));
    table(root.into_inner(), &|at| lines.place(at))
}

/// Lays the variables `CKGATE_SECTION__KEY` over the file. Whether the key exists is for the reader
/// to say, as it is for a key in the file.
pub(super) fn lay_environment_over(
    root: &mut Table,
    environment: &Environment,
    problems: &mut Vec<Problem>,
) {
    for (variable, text) in environment {
        let Some(name) = variable.strip_prefix(VARIABLE_PREFIX) else { continue };
        let place = Place::Variable(variable.clone());
        if name == "ACCOUNTS" {
            root.insert("accounts".to_owned(), environment_value(text, place));
        } else if let Some((section, key)) = name.split_once("__") {
            // Lower case would be a second spelling of the same name.
            if name.bytes().any(|b| b.is_ascii_lowercase()) || section == "ACCOUNTS" {
                let message = "names no key: it is `CKGATE_SECTION__KEY` in upper case, and \
                               `CKGATE_ACCOUNTS` for all accounts as one TOML list";
                problems.push(Problem { place, message: message.to_owned() });
                continue;
            }
            let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
            lay_over(root, &section, key, environment_value(text, place));
        }
    }
}

/// Puts one value in the place of what the file says.
pub(super) fn lay_over(root: &mut Table, section: &str, key: String, node: Node) {
    let held = root
        .entry(section.to_owned())
        .or_insert_with(|| Node { place: node.place.clone(), value: Value::Table(Table::new()) });
    // A section that is no table is a problem of its own, which the reader reports.
    if let Value::Table(table) = &mut held.value {
        table.insert(key, node);
    }
}

/// A variable's value: TOML if it is that, else the text itself.
fn environment_value(text: &str, place: Place) -> Node {
    let value = match DeValue::parse(text) {
        Ok(parsed) => value(parsed.into_inner(), &|_| place.clone()),
        Err(_) => Value::Text(text.to_owned()),
    };
    Node { place, value }
}

fn table(parsed: DeTable<'_>, place: &dyn Fn(usize) -> Place) -> Table {
    parsed
        .into_iter()
        .map(|(key, held)| {
            let place_of_key = place(key.span().start);
            let value = value(held.into_inner(), place);
            (key.into_inner().into_owned(), Node { place: place_of_key, value })
        })
        .collect()
}

fn value(parsed: DeValue<'_>, place: &dyn Fn(usize) -> Place) -> Value {
    match parsed {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Value::Other("an integer beyond 64 bits"), Value::Integer),
        DeValue::Float(_) => Value::Other("a float"),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(items) => {
            let node = |item: Spanned<DeValue<'_>>| Node {
                place: place(item.span().start),
                value: value(item.into_inner(), place),
            };
            Value::List(items.into_iter().map(node).collect())
        }
        DeValue::Table(held) => Value::Table(table(held, place)),
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1).collect())
    }

    fn place(&self, at: usize) -> Place {
        Place::Line(1 + self.0.partition_point(|start| *start <= at))
    }
}
