use std::borrow::Cow;
use std::fmt;

use crate::scan;

/// A request path in its one canonical spelling; the only kind of path the policy looks at.
///
/// Refusing beats rewriting: a path that could be read in two ways (dot segments, empty segments,
/// escapes of characters that need none, escaped separators, path parameters, control characters)
/// is not one. The Letta server decodes every escape before it routes, `%2F` included, so an
/// escape is admitted only where decoding it cannot change the structure of the path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CanonicalPath<'r> {
    /// Without the trailing slash, if there was one; empty for the root.
    text: &'r str,
    trailing_slash: bool,
}

/// Why a path is not canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathRefusal {
    /// It does not start with `/`.
    #[error("the path must start with `/`")]
    NotAbsolute,
    /// `//`
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `.` or `..`
    #[error("the path has a dot segment")]
    DotSegment,
    /// A character that a path cannot have, `;` and `\` among them.
    #[error("the path has a character that is not allowed in it")]
    Character,
    /// `%` without two upper-case hexadecimal digits.
    #[error("the path has a malformed percent-escape")]
    MalformedEscape,
    /// An escape of a character that needs none, or must not be hidden in an escape.
    #[error("the path escapes a character that must not be escaped")]
    Escape,
    /// The escapes do not decode to UTF-8.
    #[error("the path does not decode to UTF-8")]
    NotUtf8,
}

impl<'r> CanonicalPath<'r> {
    /// Checks a path as received, before anything has decoded it.
    pub fn parse(raw: &'r str) -> Result<Self, PathRefusal> {
        let after_slash = raw.strip_prefix('/').ok_or(PathRefusal::NotAbsolute)?;
        let (trimmed, trailing_slash) = match after_slash.strip_suffix('/') {
            Some(trimmed) => (trimmed, true),
            None => (after_slash, after_slash.is_empty()),
        };
        if trimmed.is_empty() {
            return if after_slash.is_empty() {
                Ok(Self { text: "", trailing_slash: true })
            } else {
                Err(PathRefusal::EmptySegment)
            };
        }
        let text = raw.get(..=trimmed.len()).unwrap_or(raw);
        if is_plain(text.as_bytes()) {
            return Ok(Self { text, trailing_slash });
        }
        let mut escaped = false;
        for segment in trimmed.as_bytes().split(|byte| *byte == b'/') {
            escaped |= check_segment(segment)?;
        }
        if escaped && decode(trimmed).is_none() {
            return Err(PathRefusal::NotUtf8);
        }
        Ok(Self { text, trailing_slash })
    }

    /// The path without its trailing slash; empty for the root.
    #[must_use]
    pub const fn text(&self) -> &'r str {
        self.text
    }

    /// The whole path.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.text.len() + 1);
        text.push_str(self.text);
        text.push_str(if self.trailing_slash { "/" } else { "" });
        text
    }

    /// Whether the path ends in a slash.
    #[must_use]
    pub const fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }
}

impl fmt::Display for CanonicalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)?;
        if self.trailing_slash { f.write_str("/") } else { Ok(()) }
    }
}

impl fmt::Debug for CanonicalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CanonicalPath({self})")
    }
}

/// Whether a path without its trailing slash is canonical at first sight: usual literals alone, and no
/// segment that is empty or begins with a dot.
fn is_plain(path: &[u8]) -> bool {
    path.last().is_some_and(|last| is_literal(*last))
        && scan::is_within(path, USUAL)
        && !scan::has_pair(path, b'/', [b'/', b'.'])
}

/// Whether the segment has escapes, if it is canonical.
fn check_segment(segment: &[u8]) -> Result<bool, PathRefusal> {
    match segment {
        [] => return Err(PathRefusal::EmptySegment),
        [b'.'] | [b'.', b'.'] => return Err(PathRefusal::DotSegment),
        _ => {}
    }
    let mut escaped = false;
    let mut rest = segment;
    while let [byte, after @ ..] = rest {
        rest = after;
        if is_literal(*byte) {
            continue;
        }
        if *byte != b'%' {
            return Err(PathRefusal::Character);
        }
        let [high, low, after @ ..] = after else { return Err(PathRefusal::MalformedEscape) };
        let decoded = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
        if !may_be_escaped(decoded.ok_or(PathRefusal::MalformedEscape)?) {
            return Err(PathRefusal::Escape);
        }
        escaped = true;
        rest = after;
    }
    Ok(escaped)
}

/// `pchar` of RFC 3986 without `;`, which servers read as the start of path parameters.
const fn is_literal(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@'
        )
}

/// Most literals, and the slash between segments.
const USUAL: [(u8, u8); 4] = [(b'a', b'z'), (b'&', b':'), (b'@', b'Z'), (b'_', b'_')];

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Sub-delimiters (SDKs differ in escaping them), harmless printable characters, and UTF-8.
const fn may_be_escaped(byte: u8) -> bool {
    !is_unreserved(byte)
        && byte > 0x1f
        && byte != 0x7f
        && !matches!(byte, b'/' | b'\\' | b'%' | b';' | b'?' | b'#')
}

/// An upper-case hexadecimal digit: RFC 3986 §6.2.2.1 makes that the canonical case.
const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Decodes the escapes of a canonical segment. `None` when the result is not UTF-8.
pub(super) fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (byte, after) {
            decoded.push(hex(*high)? << 4 | hex(*low)?);
            rest = after;
        } else {
            decoded.push(*byte);
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Appends `text` to a path as one segment, everything but unreserved characters escaped.
pub(super) fn encode_onto(path: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if is_unreserved(byte) {
            path.push(char::from(byte));
        } else {
            path.push('%');
            for nibble in [byte >> 4, byte & 0xf] {
                path.extend(DIGITS.get(usize::from(nibble)).copied().map(char::from));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{USUAL, is_literal};

    #[test]
    fn usual_characters_are_literals_or_the_slash() {
        for (from, to) in USUAL {
            assert!((from..=to).all(|byte| is_literal(byte) || byte == b'/'));
        }
    }
}
