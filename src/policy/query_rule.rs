use std::collections::BTreeMap;

use url::form_urlencoded::byte_serialize;

use super::Query;
use super::denial::{Denial, Place};

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
}

/// Longest part of a caller's own words that an error message repeats, in characters.
pub(super) const ECHO_LENGTH_MAX: usize = 64;

impl QueryRule {
    /// The admitted keys, in alphabetical order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|key| &**key)
    }

    /// Appends the query to a target, rebuilt from its pairs, if every one of them is admitted.
    pub(super) fn append_admitted(
        &self,
        query: Query<'_>,
        target: &mut String,
    ) -> Result<(), Denial> {
        let mut seen: Vec<&str> = Vec::new();
        let mut separator = '?';
        for (key, value) in query.pairs() {
            let refuse = |problem: &str| Denial::ParameterNotAllowed {
                place: Place::Query,
                name: key.chars().take(ECHO_LENGTH_MAX).collect(),
                problem: problem.to_owned(),
            };
            let (name, values) = self
                .0
                .get_key_value(&*key)
                .ok_or_else(|| refuse("is not admitted for this operation"))?;
            match values {
                Values::One if seen.contains(&&**name) => return Err(refuse("is there twice")),
                Values::Words(words) if !words.iter().any(|word| **word == value) => {
                    return Err(refuse("has a value that is not admitted for this operation"));
                }
                Values::One | Values::Many | Values::Words(_) => seen.push(name),
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
