use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problems;

/// Where the lines of a text begin.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1).collect())
    }

    /// The line, from 1, on which the byte `at` stands.
    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.0.partition_point(|start| *start <= at)
    }
}

/// A value and its line.
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// The fields of a TOML table that have not been read yet. What nobody reads is a problem.
pub(super) struct Fields<'a> {
    /// The line on which the table begins.
    pub(super) line: usize,
    held: BTreeMap<String, Located<DeValue<'a>>>,
    lines: &'a Lines,
}

impl<'a> Fields<'a> {
    pub(super) fn of(table: Spanned<DeTable<'a>>, lines: &'a Lines) -> Self {
        let line = lines.line(table.span().start);
        Self::inner(line, table.into_inner(), lines)
    }

    fn inner(line: usize, table: DeTable<'a>, lines: &'a Lines) -> Self {
        let field = |(key, value): (Spanned<_>, Spanned<DeValue<'a>>)| {
            let line = lines.line(key.span().start);
            let key: std::borrow::Cow<'_, str> = key.into_inner();
            (key.into_owned(), Located { value: value.into_inner(), line })
        };
        Self { line, held: table.into_iter().map(field).collect(), lines }
    }

    /// What is left, in alphabetical order.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, Located<DeValue<'a>>)> {
        self.held.into_iter()
    }

    /// The names of the fields that are left.
    pub(super) fn refuse_others(&self, problems: &mut Problems) {
        for (key, field) in &self.held {
            problems.add(field.line, format!("unknown key `{key}`"));
        }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Located<DeValue<'a>>> {
        self.held.remove(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.held.contains_key(key)
    }

    pub(super) fn text(&mut self, key: &str, problems: &mut Problems) -> Option<Located<String>> {
        let field = self.take(key)?;
        if let DeValue::String(text) = field.value {
            return Some(Located { value: text.into_owned(), line: field.line });
        }
        problems.add(field.line, format!("`{key}` must be a string"));
        None
    }

    pub(super) fn needed_text(
        &mut self,
        key: &str,
        problems: &mut Problems,
    ) -> Option<Located<String>> {
        if !self.held.contains_key(key) {
            problems.add(self.line, format!("`{key}` is missing"));
        }
        self.text(key, problems)
    }

    /// A list of strings; empty when the key is not there.
    pub(super) fn texts(&mut self, key: &str, problems: &mut Problems) -> Vec<Located<String>> {
        let Some(field) = self.take(key) else { return Vec::new() };
        let texts = texts(field.value, self.lines);
        if texts.as_ref().is_none_or(Vec::is_empty) {
            problems.add(field.line, format!("`{key}` must be a list of strings, and not empty"));
        }
        texts.unwrap_or_default()
    }

    pub(super) fn flag(&mut self, key: &str, problems: &mut Problems) -> bool {
        match self.take(key) {
            None => false,
            Some(Located { value: DeValue::Boolean(flag), .. }) => flag,
            Some(field) => {
                problems.add(field.line, format!("`{key}` must be `true` or `false`"));
                false
            }
        }
    }

    /// The tables within the table `key`, by name.
    pub(super) fn tables(
        &mut self,
        key: &str,
        problems: &mut Problems,
    ) -> Vec<(String, Fields<'a>)> {
        let Some(outer) = self.table(key, problems) else { return Vec::new() };
        let mut tables = Vec::new();
        for (name, field) in outer.held {
            match field.value {
                DeValue::Table(table) => {
                    tables.push((name, Self::inner(field.line, table, self.lines)));
                }
                _ => problems.add(field.line, format!("`{key}.{name}` must be a table")),
            }
        }
        tables
    }

    pub(super) fn table(&mut self, key: &str, problems: &mut Problems) -> Option<Fields<'a>> {
        let field = self.take(key)?;
        if let DeValue::Table(table) = field.value {
            return Some(Self::inner(field.line, table, self.lines));
        }
        problems.add(field.line, format!("`{key}` must be a table"));
        None
    }

    pub(super) fn list_of_tables(&mut self, key: &str, problems: &mut Problems) -> Vec<Fields<'a>> {
        let Some(field) = self.take(key) else { return Vec::new() };
        let DeValue::Array(items) = field.value else {
            problems.add(field.line, format!("`{key}` must be written `[[{key}]]`"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            let line = self.lines.line(item.span().start);
            match item.into_inner() {
                DeValue::Table(table) => tables.push(Self::inner(line, table, self.lines)),
                _ => problems.add(line, format!("`{key}` must be written `[[{key}]]`")),
            }
        }
        tables
    }

    /// A table's fields, when the value is one.
    pub(super) fn nested(&self, line: usize, table: DeTable<'a>) -> Fields<'a> {
        Self::inner(line, table, self.lines)
    }
}

/// The strings of a list, when it is a list of strings.
pub(super) fn words(value: DeValue<'_>) -> Option<Vec<String>> {
    let DeValue::Array(items) = value else { return None };
    let text = |item: Spanned<DeValue<'_>>| match item.into_inner() {
        DeValue::String(text) => Some(text.into_owned()),
        _ => None,
    };
    items.into_iter().map(text).collect()
}

fn texts(value: DeValue<'_>, lines: &Lines) -> Option<Vec<Located<String>>> {
    let DeValue::Array(items) = value else { return None };
    let text = |item: Spanned<DeValue<'_>>| {
        let line = lines.line(item.span().start);
        match item.into_inner() {
            DeValue::String(text) => Some(Located { value: text.into_owned(), line }),
            _ => None,
        }
    };
    items.into_iter().map(text).collect()
}
