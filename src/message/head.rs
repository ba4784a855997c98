use std::fmt;
use std::ops::Range;

use http::{Method, Request, Uri, Version};

use super::memory::Span;
use super::{Fields, InvalidField};

/// A request's head: method, target, version and fields.
pub struct Head {
    /// Its method.
    pub method: Method,
    /// Its version.
    pub version: Version,
    fields: Fields,
    target: Span,
    /// Where the path ends and the query, if there is one, begins.
    path_end: usize,
}

impl Head {
    /// The head that these bytes begin with, whose target stands there; its lines are taken up one by
    /// one, and what follows it is cut off. The target is plain ASCII.
    pub(crate) fn within(
        method: Method,
        version: Version,
        text: &[u8],
        target: Range<usize>,
    ) -> Self {
        let fields = Fields::within(text);
        let target = Span { start: target.start, end: target.end };
        let path = memchr::memchr(b'?', fields.text(target));
        let path_end = path.map_or(target.end, |length| target.start + length);
        Self { method, version, fields, target, path_end }
    }

    /// A head without fields, for this target in plain ASCII.
    #[must_use]
    pub fn new(method: Method, version: Version, target: &str) -> Self {
        Self::within(method, version, target.as_bytes(), 0..target.len())
    }

    /// Takes up a line of the head within which this one was made. Its name, and its value with any
    /// white space behind it; `None` when it does not begin with a name and a colon.
    pub(crate) fn take_up(&mut self, line: Range<usize>) -> Option<(&[u8], &[u8])> {
        self.fields.take_up(line)
    }

    /// How many bytes it keeps.
    #[cfg(test)]
    pub(crate) fn bytes_kept(&self) -> usize {
        self.fields.bytes_kept()
    }

    /// Lets go of what follows the head within which this one was made.
    pub(crate) fn cut_off(&mut self, length: usize) {
        self.fields.cut_off(length);
    }

    /// Adds a field.
    pub fn try_append(&mut self, name: &[u8], value: &[u8]) -> Result<(), InvalidField> {
        self.fields.try_append(name, value)
    }

    /// Its fields.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Its target, in origin-form.
    #[must_use]
    pub fn target(&self) -> &str {
        self.part(self.target)
    }

    /// The target's path.
    #[must_use]
    pub fn path(&self) -> &str {
        self.part(Span { end: self.path_end, ..self.target })
    }

    /// The target's query, without its `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        let query = Span { start: self.path_end + 1, ..self.target };
        (self.path_end < self.target.end).then(|| self.part(query))
    }

    fn part(&self, span: Span) -> &str {
        // A target is plain ASCII.
        std::str::from_utf8(self.fields.text(span)).unwrap_or_default()
    }

    /// The request as the `http` crate keeps it; `None` when its target is no URI.
    #[must_use]
    pub fn to_request<B>(&self, body: B) -> Option<Request<B>> {
        let mut request = Request::new(body);
        *request.uri_mut() = Uri::try_from(self.target()).ok()?;
        *request.headers_mut() = self.fields.to_map();
        *request.version_mut() = self.version;
        *request.method_mut() = self.method.clone();
        Some(request)
    }
}

/// Does not show the target: a token may stand in it.
impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.method, self.fields)
    }
}
