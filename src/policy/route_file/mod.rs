//! Reads the route table from its TOML file and reports every problem at once, with its line.

mod entry;
mod fields;
mod whole;

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::body::BodyRule;
use super::query_rule::QueryRule;
use super::route::{Operation, RouteTable};
use fields::{Fields, Lines, Located};

/// The table that is compiled in.
const BUILT_IN: &str = include_str!("../../../config/routes/letta.toml");

/// One thing wrong with a route table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct RouteProblem {
    /// Where in the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

/// What is wrong so far.
#[derive(Default)]
struct Problems(Vec<RouteProblem>);

impl Problems {
    fn add(&mut self, line: usize, problem: impl Into<String>) {
        self.0.push(RouteProblem { line, problem: problem.into() });
    }
}

/// Sets of query keys and body fields that operations refer to by name.
#[derive(Default)]
struct Sets {
    queries: BTreeMap<String, Set<QueryRule>>,
    bodies: BTreeMap<String, Set<BodyRule>>,
}

struct Set<R> {
    rule: R,
    line: usize,
    used: bool,
}

impl RouteTable {
    /// The table that is compiled in: `config/routes/letta.toml`.
    pub fn built_in() -> Result<Self, Vec<RouteProblem>> {
        Self::parse(BUILT_IN)
    }

    /// The text of the table that is compiled in.
    #[must_use]
    pub const fn built_in_text() -> &'static str {
        BUILT_IN
    }

    /// Reads a table; on failure, everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<RouteProblem>> {
        let lines = Lines::of(text);
        let table = DeTable::parse(text).map_err(|error| {
            let line = lines.line(error.span().map_or(0, |span| span.start));
            vec![RouteProblem { line, problem: error.message().to_owned() }]
        })?;
        let mut problems = Problems::default();
        let mut file = Fields::of(table, &lines);
        let mut sets = Sets::default();
        for (name, set) in file.tables("queries", &mut problems) {
            let line = set.line;
            let rule = entry::query_rule(set, &mut problems);
            sets.queries.insert(name, Set { rule, line, used: false });
        }
        for (name, set) in file.tables("bodies", &mut problems) {
            let line = set.line;
            let rule = entry::body_rule(set, &mut problems);
            sets.bodies.insert(name, Set { rule, line, used: false });
        }
        let mut operations: Vec<Operation> = Vec::new();
        for entry in file.list_of_tables("operations", &mut problems) {
            operations.extend(entry::operation(entry, &mut sets, &mut problems));
        }
        for group in file.list_of_tables("closed", &mut problems) {
            entry::closed(group, &mut operations, &mut problems);
        }
        file.refuse_others(&mut problems);
        sets.refuse_unused(&mut problems);
        whole::check(&operations, &mut problems);
        let entries: Vec<usize> =
            operations.iter().map(|operation| operation.lines.entry).collect();
        match Self::assemble(operations) {
            Ok(table) if problems.0.is_empty() => return Ok(table),
            Ok(_) => {}
            Err(conflicts) => {
                for (index, conflict) in conflicts {
                    problems.add(entries.get(index).copied().unwrap_or(0), conflict);
                }
            }
        }
        problems.0.sort_by_key(|problem| problem.line);
        Err(problems.0)
    }
}

impl Sets {
    fn refuse_unused(&self, problems: &mut Problems) {
        let queries = self.queries.iter().map(|(name, set)| ("queries", name, set.line, set.used));
        let bodies = self.bodies.iter().map(|(name, set)| ("bodies", name, set.line, set.used));
        for (kind, name, line, used) in queries.chain(bodies) {
            if !used {
                problems.add(line, format!("no operation uses `{kind}.{name}`"));
            }
        }
    }
}

fn text_of(located: Option<Located<String>>) -> Option<String> {
    located.map(|located| located.value)
}
