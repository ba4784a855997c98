//! Reads the route table from its TOML file and reports every problem at once.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use toml::Spanned;

use super::Permission;
use super::body::BodyRule;
use super::query_rule::{QueryRule, Values};
use super::route::{Operation, RouteTable, Verdict};

/// The table that is compiled in.
const BUILT_IN: &str = include_str!("../../config/routes/letta.toml");

/// One thing wrong with a route table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct RouteProblem {
    /// Where in the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    operations: Vec<Spanned<toml::Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOperation {
    name: String,
    methods: Vec<String>,
    path: String,
    permission: Option<String>,
    refuse: Option<String>,
    #[serde(default)]
    query: BTreeMap<Box<str>, RawValues>,
    body: Option<BTreeMap<Box<str>, String>>,
    #[serde(default)]
    redact: Vec<Box<str>>,
    #[serde(default)]
    streams: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawValues {
    Word(String),
    Words(Vec<Box<str>>),
}

impl RouteTable {
    /// The table that is compiled in: `config/routes/letta.toml`.
    pub fn built_in() -> Result<Self, Vec<RouteProblem>> {
        Self::parse(BUILT_IN)
    }

    /// Reads a table; on failure, everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<RouteProblem>> {
        let raw: RawTable = toml::from_str(text).map_err(|e| {
            let line = line_of(text, e.span().map_or(0, |span| span.start));
            vec![RouteProblem { line, problem: e.message().to_owned() }]
        })?;
        let mut problems = Vec::new();
        let mut operations: Vec<Operation> = Vec::with_capacity(raw.operations.len());
        for table in raw.operations {
            let line = line_of(text, table.span().start);
            match read_operation(table.into_inner(), line) {
                Ok(operation) => operations.push(operation),
                Err(problem) => problems.push(RouteProblem { line, problem }),
            }
        }
        problems.extend(duplicates_among(&operations));
        let lines: Vec<usize> = operations.iter().map(|operation| operation.line).collect();
        match Self::assemble(operations) {
            Ok(table) if problems.is_empty() => return Ok(table),
            Ok(_) => {}
            Err(conflicts) => problems.extend(conflicts.into_iter().map(|(index, problem)| {
                RouteProblem { line: lines.get(index).copied().unwrap_or(0), problem }
            })),
        }
        problems.sort_by_key(|problem| problem.line);
        Err(problems)
    }
}

fn read_operation(table: toml::Table, line: usize) -> Result<Operation, String> {
    let raw = RawOperation::deserialize(table).map_err(|e| e.message().to_owned())?;
    let named = |problem: String| format!("`{}`: {problem}", raw.name);
    let valid_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.';
    if raw.name.is_empty() || raw.name.len() > 80 || !raw.name.bytes().all(valid_name) {
        return Err(named("a name is 1 to 80 of a-z, 0-9, `_` and `.`".to_owned()));
    }
    let verdict = match (&raw.permission, &raw.refuse) {
        (Some(word), None) => Verdict::Open {
            permission: word.parse::<Permission>().map_err(|e| named(e.to_string()))?,
        },
        (None, Some(reason)) => Verdict::Refused { reason: reason.as_str().into() },
        _ => return Err(named("needs either `permission` or `refuse`".to_owned())),
    };
    let methods = raw.methods.iter().map(|word| method(word)).collect::<Result<Vec<_>, _>>();
    let methods = methods.map_err(&named)?;
    if methods.is_empty() {
        return Err(named("needs at least one method".to_owned()));
    }
    let is_open = raw.permission.is_some();
    let mut operation = Operation::new(&raw.name, methods, &raw.path, verdict).map_err(&named)?;
    if is_open && !operation.names_agent_in_path() {
        return Err(named("an open operation must name the agent in its path".to_owned()));
    }
    operation.line = line;
    let query =
        raw.query.into_iter().map(|(key, values)| values.read().map(|values| (key, values)));
    operation.query = QueryRule(query.collect::<Result<_, _>>().map_err(&named)?);
    operation.body = raw.body.as_ref().map(BodyRule::parse).transpose().map_err(&named)?;
    operation.redact = raw.redact;
    operation.streams = raw.streams;
    Ok(operation)
}

impl RawValues {
    fn read(self) -> Result<Values, String> {
        match self {
            Self::Word(word) if word == "one" => Ok(Values::One),
            Self::Word(word) if word == "many" => Ok(Values::Many),
            Self::Word(word) => {
                Err(format!("`{word}` is neither `one` nor `many` nor a list of words"))
            }
            Self::Words(words) => Ok(Values::Words(words)),
        }
    }
}

fn method(word: &str) -> Result<Method, String> {
    const KNOWN: [Method; 5] =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    KNOWN
        .into_iter()
        .find(|known| known.as_str() == word)
        .ok_or_else(|| format!("`{word}` is not one of GET, POST, PUT, PATCH and DELETE"))
}

fn duplicates_among(operations: &[Operation]) -> Vec<RouteProblem> {
    let mut problems = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        let clash = operations.iter().take(index).find(|earlier| {
            earlier.name == operation.name
                || (earlier.path().trim_end_matches('/') == operation.path().trim_end_matches('/')
                    && earlier.methods.iter().any(|m| operation.methods.contains(m)))
        });
        problems.extend(clash.map(|earlier| RouteProblem {
            line: operation.line,
            problem: format!(
                "`{}` has the name, or the path and method, of the operation at line {}",
                operation.name, earlier.line
            ),
        }));
    }
    problems
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
