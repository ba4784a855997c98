use std::fmt;
use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::spare::Spare;
use super::syntax::{is_field_name, is_field_value, lower_name, trim_end, trim_start};

/// The field lines of a message's head, in order (RFC 9110 §5), names in lower case.
///
/// A few lines are found by looking at each: no hashing, and no memory of its own for a name or a value.
#[derive(Default)]
pub struct Fields {
    pub(super) text: Vec<u8>,
    lines: Vec<Line>,
}

/// Where in the text a line stands.
#[derive(Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
    /// The whole line as it is sent; empty for one that was received.
    sent: Span,
}

#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A name that is no token, or a value with control characters in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no header field can have this name, or this value")]
pub struct InvalidField;

/// A field that may come once has come more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field came more than once")]
pub struct Repeated;

/// Memory of more than this is not kept.
const TEXT_BYTES_KEPT: usize = 8 << 10;
const LINES_KEPT: usize = 64;
/// What new memory has room for: a usual head.
const TEXT_BYTES_USUAL: usize = 1 << 10;
const LINES_USUAL: usize = 16;

thread_local! {
    static SPARE: Spare<(Vec<u8>, Vec<Line>)> = const { Spare::new() };
}

impl Fields {
    /// No fields, and room for some.
    #[must_use]
    pub fn new() -> Self {
        let (text, lines) = Spare::take(&SPARE).unwrap_or_else(|| {
            (Vec::with_capacity(TEXT_BYTES_USUAL), Vec::with_capacity(LINES_USUAL))
        });
        Self { text, lines }
    }

    /// The bytes that a head begins, with none of its lines yet.
    pub(super) fn within(text: &[u8]) -> Self {
        let mut fields = Self::new();
        fields.text.extend_from_slice(text);
        fields
    }

    /// Lets go of the bytes behind the head.
    pub(super) fn cut_off(&mut self, length: usize) {
        self.text.truncate(length);
    }

    pub(super) fn text(&self, span: Span) -> &[u8] {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Takes up a line of the head that the text is. Its name, and its value with any white space
    /// behind it; `None` when it does not begin with a name and a colon.
    pub(super) fn take_up(&mut self, line: Range<usize>) -> Option<(&[u8], &[u8])> {
        let text = self.text.get_mut(line.clone())?;
        let length = lower_name(text)?;
        let said = trim_start(text.get(length + 1..)?);
        let start = line.end - said.len();
        let name = Span { start: line.start, end: line.start + length };
        let value = Span { start, end: start + trim_end(said).len() };
        self.lines.push(Line { name, value, sent: Span { start: 0, end: 0 } });
        Some((self.text(name), self.text(Span { start, end: line.end })))
    }

    /// Takes over a whole line of a head, CRLF included, if `keeps` says so of its name and its value:
    /// in the one spelling in which fields are sent. `None` when it does not begin with a name and a colon.
    pub(crate) fn take_over<E>(
        &mut self,
        line: &[u8],
        keeps: impl FnOnce(&[u8], &[u8]) -> Result<bool, E>,
    ) -> Option<Result<(), E>> {
        let start = self.text.len();
        self.text.extend_from_slice(line);
        let taken = self.take_last(start, keeps);
        if !matches!(taken, Some(Ok(true))) {
            self.text.truncate(start);
        }
        Some(taken?.map(|_| ()))
    }

    /// Takes the line that the text ends with; whether it is one of the fields now.
    fn take_last<E>(
        &mut self,
        start: usize,
        keeps: impl FnOnce(&[u8], &[u8]) -> Result<bool, E>,
    ) -> Option<Result<bool, E>> {
        let line = self.text.get_mut(start..)?;
        let length = lower_name(line)?;
        let (name, said) = line.split_at_checked(length)?;
        let said = said.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
        let value = trim_end(trim_start(said));
        match keeps(name, value) {
            Ok(true) => {}
            other => return Some(other),
        }
        if said.len() != value.len() + 1 || said.first() != Some(&b' ') {
            let (name, value) = (name.to_vec(), value.to_vec());
            self.text.truncate(start);
            self.push(&name, &value);
            return Some(Ok(true));
        }
        let name = Span { start, end: start + length };
        let value = Span { start: name.end + 2, end: name.end + 2 + value.len() };
        self.lines.push(Line { name, value, sent: Span { start, end: value.end + 2 } });
        Some(Ok(true))
    }

    /// Adds a field of the gate's own. A value that no field can have is left out.
    pub fn append(&mut self, name: &'static str, value: &[u8]) {
        if is_field_value(value) {
            self.push(name.as_bytes(), value);
        }
    }

    /// Adds a field that stands in this program, name and value.
    pub fn append_fixed(&mut self, name: &'static str, value: &'static str) {
        debug_assert!(is_field_name(name.as_bytes()) && is_field_value(value.as_bytes()));
        self.push(name.as_bytes(), value.as_bytes());
    }

    /// Adds a field of somebody else's.
    pub fn try_append(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
        if !is_field_name(name) || !is_field_value(value) {
            return Err(InvalidField);
        }
        let start = self.text.len();
        self.push(name, value);
        if let Some(name) = self.text.get_mut(start..start + name.len()) {
            name.make_ascii_lowercase();
        }
        Ok(())
    }

    /// Adds a field whose name, in lower case, and value were looked at before. It stands in the text
    /// as it is sent.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.reserve(name.len() + value.len() + 4);
        for part in [name, b": ", value, b"\r\n"] {
            self.text.extend_from_slice(part);
        }
        let (name, value) = (start + name.len(), start + name.len() + 2 + value.len());
        self.lines.push(Line {
            name: Span { start, end: name },
            value: Span { start: name + 2, end: value },
            sent: Span { start, end: value + 2 },
        });
    }

    /// Adds a field in the place of any of its name.
    pub fn set(&mut self, name: &'static str, value: &[u8]) {
        if self.contains(name) {
            self.remove(name);
        }
        self.append(name, value);
    }

    /// Takes every field of this name out.
    pub fn remove(&mut self, name: &str) {
        let Self { text, lines } = self;
        lines.retain(|line| text.get(line.name.start..line.name.end) != Some(name.as_bytes()));
    }

    /// The values of the fields of this name, which is in lower case.
    #[must_use]
    pub fn all<'f>(&'f self, name: &'f str) -> impl DoubleEndedIterator<Item = &'f [u8]> {
        let has_name = move |line: &&Line| {
            line.name.end - line.name.start == name.len() && self.text(line.name) == name.as_bytes()
        };
        self.lines.iter().filter(has_name).map(|line| self.text(line.value))
    }

    /// The value of the first field of this name.
    #[must_use]
    pub fn get<'f>(&'f self, name: &'f str) -> Option<&'f [u8]> {
        self.all(name).next()
    }

    /// The value of the field of this name, which may come once.
    pub fn only<'f>(&'f self, name: &'f str) -> Result<Option<&'f [u8]>, Repeated> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Repeated),
        }
    }

    /// Whether there is a field of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (self.text(line.name), self.text(line.value)))
    }

    /// Writes the lines of the fields that were added, in order, but for those whose name is not `sent`.
    pub fn write_to(&self, out: &mut Vec<u8>, mut sent: impl FnMut(&[u8]) -> bool) {
        // Lines that stand together are written together.
        let mut together = Span { start: 0, end: 0 };
        for line in self.lines.iter().filter(|line| sent(self.text(line.name))) {
            if line.sent.start != together.end {
                out.extend_from_slice(self.text(together));
                together.start = line.sent.start;
            }
            together.end = line.sent.end;
        }
        out.extend_from_slice(self.text(together));
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The fields as the `http` crate keeps them.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.len());
        for (name, value) in self.iter() {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                map.append(name, value);
            }
        }
        map
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let mut fields = Self::new();
        for (name, value) in map {
            fields.push(name.as_str().as_bytes(), value.as_bytes());
        }
        fields
    }
}

/// Shows names only: a credential is among the values.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.iter().map(|(name, _)| String::from_utf8_lossy(name));
        f.debug_list().entries(names).finish()
    }
}

/// Its memory is used again, with nothing in it.
impl Drop for Fields {
    fn drop(&mut self) {
        let (mut text, mut lines) =
            (std::mem::take(&mut self.text), std::mem::take(&mut self.lines));
        let fits =
            (1..=TEXT_BYTES_KEPT).contains(&text.capacity()) && lines.capacity() <= LINES_KEPT;
        if !fits {
            return;
        }
        text.clear();
        lines.clear();
        Spare::keep(&SPARE, (text, lines));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_found_by_name_in_the_order_in_which_they_came() {
        let mut fields = Fields::new();
        for (name, value) in [("Vary", "a"), ("x-a", "1"), ("vary", "b")] {
            fields.try_append(name.as_bytes(), value.as_bytes()).unwrap();
        }
        assert_eq!(fields.get("vary"), Some(&b"a"[..]));
        assert_eq!(fields.all("vary").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(fields.only("vary"), Err(Repeated));
        assert_eq!(fields.only("x-a"), Ok(Some(&b"1"[..])));
        assert_eq!(fields.only("x"), Ok(None));
        fields.set("vary", b"c");
        assert_eq!(fields.iter().collect::<Vec<_>>(), [(&b"x-a"[..], &b"1"[..]), (b"vary", b"c")]);
        fields.remove("vary");
        assert!(!fields.contains("vary") && fields.len() == 1);
    }

    #[test]
    fn spare_memory_holds_nothing_of_what_was_in_it() {
        let mut fields = Fields::within(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n");
        fields.append("authorization", b"Bearer secret");
        drop(fields);
        let fields = Fields::new();
        assert!(fields.is_empty() && fields.text.is_empty() && fields.text.capacity() > 0);
    }

    #[test]
    fn much_memory_is_not_kept() {
        while Spare::take(&SPARE).is_some() {}
        let mut fields = Fields::new();
        fields.append("x-a", &[b'a'; TEXT_BYTES_KEPT]);
        drop(fields);
        assert!(Spare::take(&SPARE).is_none());
    }

    proptest! {
        /// The library's own check of names and values says the same.
        #[test]
        fn what_no_field_can_have_is_refused(name in prop::collection::vec(any::<u8>(), 0..8),
                                             value in prop::collection::vec(any::<u8>(), 0..8)) {
            let mut fields = Fields::new();
            let valid = HeaderName::from_bytes(&name).is_ok() && HeaderValue::from_bytes(&value).is_ok();
            prop_assert_eq!(fields.try_append(&name, &value).is_ok(), valid);
            prop_assert_eq!(fields.len(), usize::from(valid));
            if valid {
                let (kept, said) = fields.iter().next().unwrap();
                prop_assert_eq!(kept, &*name.to_ascii_lowercase());
                prop_assert_eq!(said, &*value);
            }
        }
    }

    /// The line that was taken over, as it is sent; `None` when it is none.
    fn taken_over(line: &str) -> Option<String> {
        let mut fields = Fields::new();
        fields.push(b"x-before", b"1");
        let taken = fields.take_over::<()>(line.as_bytes(), |name, _| Ok(name == b"x-a"));
        fields.push(b"x-behind", b"2");
        let mut sent = Vec::new();
        fields.write_to(&mut sent, |_| true);
        assert_eq!(
            fields.get("x-before").zip(fields.get("x-behind")),
            Some((&b"1"[..], &b"2"[..]))
        );
        let sent = String::from_utf8(sent).unwrap();
        let own = sent.strip_prefix("x-before: 1\r\n").unwrap().strip_suffix("x-behind: 2\r\n");
        taken.map(|_| own.unwrap().to_owned())
    }

    #[test]
    fn lines_are_taken_over_in_one_spelling_or_not_at_all() {
        for line in ["x-a: b c\r\n", "X-A:b c\r\n", "x-A: \t b c \r\n", "X-a:\tb c\t\r\n"] {
            assert_eq!(taken_over(line).as_deref(), Some("x-a: b c\r\n"), "{line:?}");
        }
        assert_eq!(taken_over("X-A:\r\n").as_deref(), Some("x-a: \r\n"));
        assert_eq!(taken_over("x-b: c\r\n").as_deref(), Some(""));
        for line in ["x-a\r\n", ": b\r\n", "x a: b\r\n", " x-a: b\r\n", "x-a : b\r\n"] {
            assert_eq!(taken_over(line), None, "{line:?}");
        }
        let mut fields = Fields::new();
        assert_eq!(fields.take_over(b"x-a: b\r\n", |_, _| Err(7)), Some(Err(7)));
        assert!(fields.is_empty() && fields.text.is_empty());
    }

    #[test]
    fn value_with_a_line_end_never_gets_in() {
        let mut fields = Fields::new();
        fields.append("x-a", b"b\r\nset-cookie: c");
        assert!(fields.is_empty());
    }
}
