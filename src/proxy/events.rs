//! Where one server-sent event ends and the next begins.

/// Follows an event stream and knows whether it stands between two events (WHATWG HTML, 9.2.5: an
/// event ends at an empty line).
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventBoundary {
    /// The last bytes, oldest first.
    tail: [u8; 4],
}

impl Default for EventBoundary {
    /// At the beginning of the stream, which is as good as between two events.
    fn default() -> Self {
        Self { tail: *b"\0\0\n\n" }
    }
}

impl EventBoundary {
    /// Follows `bytes`.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        let from = bytes.len().saturating_sub(self.tail.len());
        for byte in bytes.iter().skip(from) {
            self.push(*byte);
        }
    }

    /// Whether the last event is complete.
    pub(crate) fn is_between_events(self) -> bool {
        // A line ends in CR LF, LF or CR; an empty one stands right behind the end of another.
        matches!(
            self.tail,
            [.., b'\n', b'\n'] | [_, b'\n' | b'\r', b'\r', b'\n'] | [.., b'\n' | b'\r', b'\r']
        )
    }

    /// Follows `bytes` up to the end of the first event; returns how many bytes that took.
    pub(crate) fn pass_event(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, byte) in bytes.iter().enumerate() {
            self.push(*byte);
            if self.is_between_events() {
                return Some(index + 1);
            }
        }
        None
    }

    fn push(&mut self, byte: u8) {
        let [_, a, b, c] = self.tail;
        self.tail = [a, b, c, byte];
    }
}
