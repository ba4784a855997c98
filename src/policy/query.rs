use std::borrow::Cow;

use url::form_urlencoded;

use super::query_rule::ECHO_LENGTH_MAX;

/// A query in canonical form: characters of RFC 3986 (and `[`, `]`, `|`, which clients send bare),
/// whole escapes, UTF-8 once decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'r>(Option<&'r str>);

/// Why a query is not canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryRefusal {
    /// A character that a query cannot have.
    #[error("the query has a character that is not allowed in it")]
    Character,
    /// `%` without two hexadecimal digits.
    #[error("the query has a malformed percent-escape")]
    MalformedEscape,
    /// It does not decode to UTF-8, or decodes to control characters.
    #[error("the query does not decode to plain UTF-8 text")]
    NotText,
}

impl<'r> Query<'r> {
    /// No query.
    pub const NONE: Self = Self(None);

    /// Checks a query as received, without its `?`.
    pub fn parse(raw: Option<&'r str>) -> Result<Self, QueryRefusal> {
        let Some(text) = raw else { return Ok(Self(None)) };
        let mut rest = text.as_bytes();
        let mut escaped = false;
        while let [byte, after @ ..] = rest {
            rest = after;
            match byte {
                b'%' => {
                    let [high, low, after @ ..] = after else {
                        return Err(QueryRefusal::MalformedEscape);
                    };
                    if !(high.is_ascii_hexdigit() && low.is_ascii_hexdigit()) {
                        return Err(QueryRefusal::MalformedEscape);
                    }
                    escaped = true;
                    rest = after;
                }
                b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'}' => {
                    return Err(QueryRefusal::Character);
                }
                0x21..=0x7e => {}
                _ => return Err(QueryRefusal::Character),
            }
        }
        let query = Self(Some(text));
        // A decoded U+FFFD is what the decoder puts for bytes that are not UTF-8.
        let is_text = |s: &str| {
            s.chars().all(|c| {
                c != char::REPLACEMENT_CHARACTER && (!c.is_control() || c == '\n' || c == '\t')
            })
        };
        if escaped && !query.pairs().all(|(key, value)| is_text(&key) && is_text(&value)) {
            return Err(QueryRefusal::NotText);
        }
        Ok(query)
    }

    /// The query as received, without its `?`.
    #[must_use]
    pub const fn text(&self) -> Option<&'r str> {
        self.0
    }

    /// The names of its keys, in order, separated by commas; `None` without a query.
    #[must_use]
    pub fn key_list(&self) -> Option<String> {
        self.0?;
        let keys: Vec<String> =
            self.pairs().map(|(key, _)| key.chars().take(ECHO_LENGTH_MAX).collect()).collect();
        Some(keys.join(","))
    }

    /// The decoded pairs, in order.
    pub fn pairs(&self) -> impl Iterator<Item = (Cow<'r, str>, Cow<'r, str>)> + use<'r> {
        form_urlencoded::parse(self.0.unwrap_or("").as_bytes())
    }
}
