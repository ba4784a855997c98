use std::collections::BTreeMap;

use http::Method;
use toml::de::DeValue;

use super::fields::{Fields, Located};
use super::{Problems, Sets, text_of};
use crate::policy::body::BodyRule;
use crate::policy::query_rule::{QueryRule, Values};
use crate::policy::route::{Lines, Operation, Verdict};
use crate::policy::shape::Shape;
use crate::policy::template::Template;
use crate::policy::{AgentPlace, Permission};

/// Longest name of an operation.
const NAME_LENGTH_MAX: usize = 80;

/// Reads one of `[[operations]]`; `None` when too little of it can be read.
pub(super) fn operation(
    mut entry: Fields<'_>,
    sets: &mut Sets,
    problems: &mut Problems,
) -> Option<Operation> {
    let line = entry.line;
    let name = entry.needed_text("name", problems);
    let methods = methods(&mut entry, problems);
    let path = entry.needed_text("path", problems);
    let verdict = verdict(&mut entry, problems);
    let place = place(&mut entry, problems);
    let (query, query_line) = query(&mut entry, sets, problems);
    let (body, body_line) = body(&mut entry, sets, problems);
    let redact = entry.texts("redact", problems);
    let streams = entry.flag("streams", problems);
    entry.refuse_others(problems);
    let name = check_name(name?, problems)?;
    let mut template = template(&path?, problems)?;
    if place == AgentPlace::ConversationOrAgent {
        template.admit_agents_as_conversations();
    }
    Some(Operation {
        number: 0,
        name,
        methods,
        verdict: verdict?,
        agent: place,
        query,
        body,
        redact: redact.into_iter().map(|key| key.value.into()).collect(),
        streams,
        lines: Lines { entry: line, query: query_line, body: body_line },
        template,
    })
}

/// Reads one of `[[closed]]`: operations that are refused for one reason.
pub(super) fn closed(
    mut group: Fields<'_>,
    operations: &mut Vec<Operation>,
    problems: &mut Problems,
) {
    let reason = text_of(group.needed_text("reason", problems)).unwrap_or_default();
    let line = group.line;
    let Some(held) = group.table("operations", problems) else {
        problems.add(line, "`operations` is missing");
        return group.refuse_others(problems);
    };
    group.refuse_others(problems);
    for (name, field) in held.rest() {
        let line = field.line;
        let DeValue::String(asked) = field.value else {
            problems.add(line, format!("`{name}` must be a string such as `GET /v1/agents/`"));
            continue;
        };
        let Some((method, path)) = asked.split_once(' ') else {
            problems.add(line, format!("`{name}` must be a method, a space and a path"));
            continue;
        };
        let name = check_name(Located { value: name, line }, problems);
        let method = self::method(method).map_err(|problem| problems.add(line, problem)).ok();
        let template = template(&Located { value: path.to_owned(), line }, problems);
        let (Some(name), Some(method), Some(template)) = (name, method, template) else { continue };
        operations.push(Operation {
            number: 0,
            name,
            methods: vec![method],
            verdict: Verdict::Refused { reason: reason.as_str().into() },
            agent: AgentPlace::Path,
            query: QueryRule::default(),
            body: None,
            redact: Vec::new(),
            streams: false,
            lines: Lines { entry: line, query: None, body: None },
            template,
        });
    }
}

/// Reads a table of query keys.
pub(super) fn query_rule(keys: Fields<'_>, problems: &mut Problems) -> QueryRule {
    let mut rule = BTreeMap::new();
    let line = keys.line;
    let words = |value| -> Option<Vec<Box<str>>> {
        let words = super::fields::words(value)?;
        (!words.is_empty()).then(|| words.into_iter().map(Into::into).collect())
    };
    let mut named = false;
    for (key, field) in keys.rest() {
        named = true;
        let values = match field.value {
            DeValue::String(word) if word == "one" => Some(Values::One),
            DeValue::String(word) if word == "many" => Some(Values::Many),
            DeValue::String(word) if word == "agent" => Some(Values::Agent),
            DeValue::Array(_) => words(field.value).map(Values::Words),
            _ => None,
        };
        match values {
            Some(values) => drop(rule.insert(key.into(), values)),
            None => problems.add(
                field.line,
                format!("`{key}` must be `one`, `many`, `agent` or a list of words"),
            ),
        }
    }
    if !named {
        problems.add(line, "no query key is named");
    }
    QueryRule(rule)
}

/// Reads a table of body fields.
pub(super) fn body_rule(fields: Fields<'_>, problems: &mut Problems) -> BodyRule {
    let mut rule = BTreeMap::new();
    for (name, field) in fields.rest() {
        let DeValue::String(shape) = field.value else {
            problems.add(field.line, format!("the shape of `{name}` must be a string"));
            continue;
        };
        match Shape::named(&shape) {
            Ok(shape) => drop(rule.insert(name.into(), shape)),
            Err(problem) => problems.add(field.line, format!("`{name}`: {problem}")),
        }
    }
    BodyRule::new(rule)
}

fn query(
    entry: &mut Fields<'_>,
    sets: &mut Sets,
    problems: &mut Problems,
) -> (QueryRule, Option<usize>) {
    let Some(field) = entry.take("query") else { return (QueryRule::default(), None) };
    let line = Some(field.line);
    if let DeValue::Table(table) = field.value {
        return (query_rule(entry.nested(field.line, table), problems), line);
    }
    let mut rule = BTreeMap::new();
    for name in set_names(field, "query", problems) {
        match sets.queries.get_mut(&name.value) {
            Some(set) => {
                set.used = true;
                rule.extend(set.rule.0.clone());
            }
            None => problems.add(name.line, format!("there is no `queries.{}`", name.value)),
        }
    }
    (QueryRule(rule), line)
}

fn body(
    entry: &mut Fields<'_>,
    sets: &mut Sets,
    problems: &mut Problems,
) -> (Option<BodyRule>, Option<usize>) {
    let Some(field) = entry.take("body") else { return (None, None) };
    let line = Some(field.line);
    if let DeValue::Table(table) = field.value {
        return (Some(body_rule(entry.nested(field.line, table), problems)), line);
    }
    let mut rule = BTreeMap::new();
    for name in set_names(field, "body", problems) {
        match sets.bodies.get_mut(&name.value) {
            Some(set) => {
                set.used = true;
                rule.extend(set.rule.shapes());
            }
            None => problems.add(name.line, format!("there is no `bodies.{}`", name.value)),
        }
    }
    (Some(BodyRule::new(rule)), line)
}

/// The names of sets that a field refers to.
fn set_names(
    field: Located<DeValue<'_>>,
    key: &str,
    problems: &mut Problems,
) -> Vec<Located<String>> {
    let names = match field.value {
        DeValue::String(name) => Some(vec![name.into_owned()]),
        value => super::fields::words(value),
    };
    let names = names.filter(|names| !names.is_empty());
    if names.is_none() {
        problems.add(field.line, format!("`{key}` must be a table, or name one or several sets"));
    }
    let located = |value| Located { value, line: field.line };
    names.unwrap_or_default().into_iter().map(located).collect()
}

fn methods(entry: &mut Fields<'_>, problems: &mut Problems) -> Vec<Method> {
    if !entry.has("methods") {
        problems.add(entry.line, "`methods` is missing");
    }
    let mut methods = Vec::new();
    for word in entry.texts("methods", problems) {
        match method(&word.value) {
            Ok(method) if methods.contains(&method) => {
                problems.add(word.line, format!("the method {method} is there twice"));
            }
            Ok(method) => methods.push(method),
            Err(problem) => problems.add(word.line, problem),
        }
    }
    methods
}

fn method(word: &str) -> Result<Method, String> {
    const KNOWN: [Method; 5] =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    KNOWN
        .into_iter()
        .find(|known| known.as_str() == word)
        .ok_or_else(|| format!("`{word}` is not one of GET, POST, PUT, PATCH and DELETE"))
}

fn verdict(entry: &mut Fields<'_>, problems: &mut Problems) -> Option<Verdict> {
    if entry.has("permission") == entry.has("refuse") {
        problems.add(entry.line, "an operation needs either `permission` or `refuse`");
    }
    match (entry.text("permission", problems), entry.text("refuse", problems)) {
        (Some(word), None) => {
            let permission = word.value.parse::<Permission>();
            let permission = permission.map_err(|e| problems.add(word.line, e.to_string())).ok()?;
            Some(Verdict::Open { permission })
        }
        (None, Some(reason)) => Some(Verdict::Refused { reason: reason.value.into() }),
        _ => None,
    }
}

fn place(entry: &mut Fields<'_>, problems: &mut Problems) -> AgentPlace {
    let Some(word) = entry.text("agent", problems) else { return AgentPlace::Path };
    AgentPlace::parse(&word.value).unwrap_or_else(|problem| {
        problems.add(word.line, problem);
        AgentPlace::Path
    })
}

fn check_name(name: Located<String>, problems: &mut Problems) -> Option<Box<str>> {
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.');
    let text = name.value;
    if text.is_empty() || text.len() > NAME_LENGTH_MAX || !text.bytes().all(valid) {
        problems.add(name.line, format!("`{text}`: a name is 1 to 80 of a-z, 0-9, `_` and `.`"));
        return None;
    }
    Some(text.into())
}

fn template(path: &Located<String>, problems: &mut Problems) -> Option<Template> {
    let template = Template::parse(&path.value);
    template.map_err(|problem| problems.add(path.line, problem)).ok()
}
