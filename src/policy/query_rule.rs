use std::collections::BTreeMap;
use std::fmt;

use url::form_urlencoded::byte_serialize;

use super::denial::{Denial, Place};
use super::{AgentId, Query};

/// The query keys an operation admits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryRule(pub(super) BTreeMap<Box<str>, Values>);

/// The values a query key admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// Once, any text. The upstream takes the last of several: so several are refused.
    One,
    /// Any number of times, any text.
    Many,
    /// Any number of times, each one of these words.
    Words(Vec<Box<str>>),
    /// Once, and it must be the agent that the request is judged for.
    Agent,
}

/// Longest part of a caller's own words that an error message repeats, in characters.
pub(super) const ECHO_LENGTH_MAX: usize = 64;

impl QueryRule {
    /// The admitted keys, in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|key| &**key)
    }

    /// The keys and what each admits, as a route table writes it.
    pub fn entries(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(key, values)| (&**key, values.to_string()))
    }

    /// Whether the value of `key` is an agent's id.
    pub(super) fn names_agent_in(&self, key: &str) -> bool {
        self.0.get(key) == Some(&Values::Agent)
    }

    /// Appends the query to a target, rebuilt from its pairs, if every one of them is admitted and
    /// names no other agent than `agent`. `None`: the agent is not known yet, and none may be named.
    pub(super) fn append_admitted(
        &self,
        query: Query<'_>,
        agent: Option<AgentId>,
        pairs_max: usize,
        target: &mut String,
    ) -> Result<(), Denial> {
        let mut seen: Vec<&str> = Vec::new();
        let mut separator = '?';
        for (key, value) in query.pairs() {
            let refuse = |problem: &str| refusal(&key, problem);
            let (name, values) = self
                .0
                .get_key_value(&*key)
                .ok_or_else(|| refuse("is not admitted for this operation"))?;
            if seen.len() >= pairs_max {
                let problem = format!("is one too many: a query may have {pairs_max}");
                return Err(refuse(&problem));
            }
            match values {
                Values::One | Values::Agent if seen.contains(&&**name) => {
                    return Err(refuse("is there twice"));
                }
                Values::Words(words) if !words.iter().any(|word| **word == value) => {
                    return Err(refuse("has a value that is not admitted for this operation"));
                }
                Values::Agent if agent.is_none() || AgentId::parse(&value).ok() != agent => {
                    return Err(refuse("names another agent than the request is for"));
                }
                Values::One | Values::Many | Values::Words(_) | Values::Agent => seen.push(name),
            }
            target.push(separator);
            separator = '&';
            target.extend(byte_serialize(key.as_bytes()));
            target.push('=');
            target.extend(byte_serialize(value.as_bytes()));
        }
        Ok(())
    }
}

/// The agent that the query names in `key`. An id that is malformed names none, as in a path.
pub(super) fn agent_in(query: Query<'_>, key: &str) -> Result<Option<AgentId>, Denial> {
    let mut values = query.pairs().filter(|(name, _)| *name == key).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (None, _) => Err(refusal(key, "is missing: it names the agent")),
        (Some(value), None) => Ok(AgentId::parse(&value).ok()),
        (Some(_), Some(_)) => Err(refusal(key, "is there twice")),
    }
}

fn refusal(key: &str, problem: &str) -> Denial {
    Denial::ParameterNotAllowed {
        place: Place::Query,
        name: key.chars().take(ECHO_LENGTH_MAX).collect(),
        problem: problem.to_owned(),
    }
}

/// As a route table writes it.
impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one"),
            Self::Many => f.write_str("many"),
            Self::Words(words) => f.write_str(&words.join("|")),
            Self::Agent => f.write_str("agent"),
        }
    }
}
