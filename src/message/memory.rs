use super::syntax::{lower_name, trim_end, trim_start};

/// What fields stand in.
pub(super) struct Memory {
    pub(super) text: Vec<u8>,
    pub(super) lines: Vec<Line>,
}

/// What there is of fields without memory.
pub(super) static NOTHING: Memory = Memory { text: Vec::new(), lines: Vec::new() };

/// Where in the text a line stands.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) name: Span,
    pub(super) value: Span,
    /// The whole line as it is sent; empty for one that was received.
    pub(super) sent: Span,
}

/// A piece of the text.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Memory of more than this is not kept.
pub(super) const TEXT_BYTES_KEPT: usize = 8 << 10;
const LINES_KEPT: usize = 64;
/// What new memory has room for: a usual head.
const TEXT_BYTES_USUAL: usize = 1 << 10;
const LINES_USUAL: usize = 16;

impl Memory {
    /// Room for a usual head.
    pub(super) fn new() -> Self {
        let text = Vec::with_capacity(TEXT_BYTES_USUAL);
        Self { text, lines: Vec::with_capacity(LINES_USUAL) }
    }

    /// A piece of the text.
    pub(super) fn text(&self, span: Span) -> &[u8] {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// Whether it is small enough to be used again.
    pub(super) fn is_usual(&self) -> bool {
        self.text.capacity() <= TEXT_BYTES_KEPT && self.lines.capacity() <= LINES_KEPT
    }

    /// Takes the line that the text ends with; whether it is one of the fields now.
    pub(super) fn take_last<E>(
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

    /// Adds a line whose name and value were looked at before, as it is sent.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
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
}
