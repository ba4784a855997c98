use std::fmt;
use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::memory::{Line, Memory, NOTHING, Span};
use super::spare::Spare;
use super::syntax::{is_field_name, is_field_value, lower_name, trim_end, trim_start};

/// The field lines of a message's head, in order (RFC 9110 §5), names in lower case.
///
/// A few lines are found by looking at each: no hashing, and no memory of its own for a name or a value.
/// They are a pointer long: messages are handed from one to the next many times before they are sent.
#[derive(Default)]
pub struct Fields(Option<Box<Memory>>);

/// A name that is no token, or a value with control characters in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no header field can have this name, or this value")]
pub struct InvalidField;

/// A field that may come once has come more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field came more than once")]
pub struct Repeated;

thread_local! {
    static SPARE: Spare<Box<Memory>> = const { Spare::new() };
}

impl Fields {
    /// No fields, and room for some.
    #[must_use]
    pub fn new() -> Self {
        Self(Some(Spare::take(&SPARE).unwrap_or_else(|| Box::new(Memory::new()))))
    }

    fn memory(&self) -> &Memory {
        self.0.as_deref().unwrap_or(&NOTHING)
    }

    fn memory_mut(&mut self) -> &mut Memory {
        self.0.get_or_insert_with(|| Box::new(Memory::new()))
    }

    /// The bytes that a head begins, with none of its lines yet.
    pub(super) fn within(text: &[u8]) -> Self {
        let mut fields = Self::new();
        fields.memory_mut().text.extend_from_slice(text);
        fields
    }

    /// Lets go of the bytes behind the head.
    pub(super) fn cut_off(&mut self, length: usize) {
        self.memory_mut().text.truncate(length);
    }

    pub(super) fn text(&self, span: Span) -> &[u8] {
        self.memory().text(span)
    }

    /// How many bytes are kept.
    #[cfg(test)]
    pub(super) fn bytes_kept(&self) -> usize {
        self.memory().text.len()
    }

    /// Takes up a line of the head that the text is. Its name, and its value with any white space
    /// behind it; `None` when it does not begin with a name and a colon.
    pub(super) fn take_up(&mut self, line: Range<usize>) -> Option<(&[u8], &[u8])> {
        let memory = self.memory_mut();
        let text = memory.text.get_mut(line.clone())?;
        let length = lower_name(text)?;
        let said = trim_start(text.get(length + 1..)?);
        let start = line.end - said.len();
        let name = Span { start: line.start, end: line.start + length };
        let value = Span { start, end: start + trim_end(said).len() };
        memory.lines.push(Line { name, value, sent: Span { start: 0, end: 0 } });
        Some((memory.text(name), memory.text(Span { start, end: line.end })))
    }

    /// Takes over a whole line of a head, CRLF included, if `keeps` says so of its name and its value:
    /// in the one spelling in which fields are sent. `None` when it does not begin with a name and a colon.
    pub(crate) fn take_over<E>(
        &mut self,
        line: &[u8],
        keeps: impl FnOnce(&[u8], &[u8]) -> Result<bool, E>,
    ) -> Option<Result<(), E>> {
        let memory = self.memory_mut();
        let start = memory.text.len();
        memory.text.extend_from_slice(line);
        let taken = memory.take_last(start, keeps);
        if !matches!(taken, Some(Ok(true))) {
            memory.text.truncate(start);
        }
        Some(taken?.map(|_| ()))
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
        let memory = self.memory_mut();
        let start = memory.text.len();
        memory.push(name, value);
        if let Some(name) = memory.text.get_mut(start..start + name.len()) {
            name.make_ascii_lowercase();
        }
        Ok(())
    }

    /// Adds a field whose name, in lower case, and value were looked at before. It stands in the text
    /// as it is sent.
    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.memory_mut().push(name, value);
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
        let Memory { text, lines } = self.memory_mut();
        lines.retain(|line| text.get(line.name.start..line.name.end) != Some(name.as_bytes()));
    }

    /// The values of the fields of this name, which is in lower case.
    #[must_use]
    pub fn all<'f>(&'f self, name: &'f str) -> impl DoubleEndedIterator<Item = &'f [u8]> {
        let memory = self.memory();
        let has_name = move |line: &&Line| {
            let length = line.name.end - line.name.start;
            length == name.len() && memory.text(line.name) == name.as_bytes()
        };
        memory.lines.iter().filter(has_name).map(|line| memory.text(line.value))
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
        let memory = self.memory();
        memory.lines.iter().map(|line| (memory.text(line.name), memory.text(line.value)))
    }

    /// Writes the lines of the fields that were added, in order, but for those whose name is not `sent`.
    pub fn write_to(&self, out: &mut Vec<u8>, mut sent: impl FnMut(&[u8]) -> bool) {
        let memory = self.memory();
        // Lines that stand together are written together.
        let mut together = Span { start: 0, end: 0 };
        for line in memory.lines.iter().filter(|line| sent(memory.text(line.name))) {
            if line.sent.start != together.end {
                out.extend_from_slice(memory.text(together));
                together.start = line.sent.start;
            }
            together.end = line.sent.end;
        }
        out.extend_from_slice(memory.text(together));
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory().lines.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory().lines.is_empty()
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
        let Some(mut memory) = self.0.take() else { return };
        if memory.is_usual() {
            memory.text.clear();
            memory.lines.clear();
            Spare::keep(&SPARE, memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::memory::TEXT_BYTES_KEPT;
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
        assert!(
            fields.is_empty() && fields.bytes_kept() == 0 && fields.memory().text.capacity() > 0
        );
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
        assert!(fields.is_empty() && fields.bytes_kept() == 0);
    }

    #[test]
    fn value_with_a_line_end_never_gets_in() {
        let mut fields = Fields::new();
        fields.append("x-a", b"b\r\nset-cookie: c");
        assert!(fields.is_empty());
    }
}
