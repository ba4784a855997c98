use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::arguments::Routes;
use super::{Outcome, print_line};
use crate::policy::{Operation, RouteRow, RouteTable, Verdict};

/// Most bytes of a route table's file.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// What the built-in table is called where lines of it are named.
const BUILT_IN: &str = "config/routes/letta.toml";

/// A route table and what its file is called.
pub(super) struct Table {
    pub(super) routes: RouteTable,
    pub(super) file: String,
}

/// Prints the table.
pub(super) fn execute(options: &Routes) -> Outcome {
    let table = read(options.file.as_deref())?;
    let rows = table.routes.operations();
    if options.json {
        let rows: Vec<RouteRow<'_>> = rows.iter().map(RouteRow::of).collect();
        return print_line(&serde_json::to_string(&rows)?);
    }
    print_line(text(rows, &table.file).trim_end())
}

/// Reads the table of this file, or the built-in one; on failure, every problem, with its line.
pub(super) fn read(file: Option<&Path>) -> Result<Table, Box<dyn Error>> {
    let (text, name) = match file {
        None => (RouteTable::built_in_text().to_owned(), BUILT_IN.to_owned()),
        Some(path) => {
            let name = path.display().to_string();
            let text = read_file(path, FILE_BYTES_MAX);
            (text.map_err(|error| format!("{name}: cannot be read: {error}"))?, name)
        }
    };
    match RouteTable::parse(&text) {
        Ok(routes) => Ok(Table { routes, file: name }),
        Err(problems) => {
            let lines: Vec<String> = problems
                .iter()
                .map(|problem| format!("{name}:{}: {}", problem.line, problem.problem))
                .collect();
            Err(lines.join("\n").into())
        }
    }
}

/// The text of a file that is not larger than it should be.
pub(super) fn read_file(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(text)
}

fn text(rows: &[Operation], file: &str) -> String {
    let mut text = String::new();
    let open = rows.iter().filter(|row| row.is_open()).count();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{open} operations are open to client tokens, {} are closed by name; all else is refused.\n",
        rows.len() - open
    );
    for row in rows.iter().filter(|row| row.is_open()) {
        let _ = describe(&mut text, row, file);
    }
    let _ = writeln!(text, "closed to client tokens:\n");
    for row in rows {
        if let Verdict::Refused { reason } = &row.verdict {
            let _ = writeln!(text, "{}  {}\n    {reason}", row.name, asked_for(row));
        }
    }
    text
}

fn describe(text: &mut String, row: &Operation, file: &str) -> std::fmt::Result {
    let Verdict::Open { permission } = row.verdict else { return Ok(()) };
    writeln!(text, "{}  {}", row.name, asked_for(row))?;
    writeln!(text, "    needs {permission}; agent in {}; {file}:{}", row.agent, row.lines.entry)?;
    let query: Vec<String> =
        row.query.entries().map(|(key, values)| format!("{key}={values}")).collect();
    if !query.is_empty() {
        writeln!(text, "    query   {}", query.join(" "))?;
    }
    if let Some(body) = &row.body {
        let fields: Vec<String> =
            body.fields().map(|(name, shape)| format!("{name}:{shape}")).collect();
        let fields = if fields.is_empty() { "{}".to_owned() } else { fields.join(" ") };
        writeln!(text, "    body    {fields}")?;
    }
    if !row.redact.is_empty() {
        writeln!(text, "    without {}", row.redact.join(" "))?;
    }
    if row.streams {
        writeln!(text, "    streams")?;
    }
    writeln!(text)
}

fn asked_for(row: &Operation) -> String {
    let methods: Vec<&str> = row.methods.iter().map(http::Method::as_str).collect();
    format!("{} {}", methods.join("|"), row.path())
}
