use std::fmt::{self, Write as _};
use std::io;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::audit::{self, FieldName, Finished};
use crate::config::LogFormat;

/// Longest text of one field, in bytes; what is longer is cut.
const FIELD_BYTES_MAX: usize = 1024;

/// One line of the log in the making. Its buffer is used again.
#[derive(Default)]
pub(super) struct Line {
    text: Vec<u8>,
    /// The second that `second_text` is about.
    second: i64,
    second_text: String,
}

impl Line {
    pub(super) fn write(&mut self, now: Timestamp, event: &Event<'_>, format: LogFormat) {
        let metadata = event.metadata();
        self.begin(now, *metadata.level(), metadata.target(), format);
        event.record(&mut Fields { text: &mut self.text, format });
        self.end(format);
    }

    pub(super) fn write_request(
        &mut self,
        now: Timestamp,
        event: &Finished<'_>,
        format: LogFormat,
    ) {
        self.begin(now, Level::INFO, Finished::TARGET, format);
        event.record(&mut Fields { text: &mut self.text, format });
        self.end(format);
    }

    fn begin(&mut self, now: Timestamp, level: Level, target: &str, format: LogFormat) {
        self.keep_second(now);
        let mut number = itoa::Buffer::new();
        // With a million in front, a digit for each place.
        let micros = number.format(1_000_000 + now.subsec_nanosecond() / 1000);
        let micros = micros.get(1..).unwrap_or_default();
        let level = level.as_str();
        let parts = match format {
            LogFormat::Json => [
                "{\"timestamp\":\"",
                &self.second_text,
                ".",
                micros,
                "Z\",\"level\":\"",
                level,
                "\",\"target\":\"",
                target,
                "\"",
            ],
            LogFormat::Text => ["", &self.second_text, ".", micros, "Z ", level, " ", target, ""],
        };
        for part in parts {
            self.text.extend_from_slice(part.as_bytes());
        }
    }

    fn end(&mut self, format: LogFormat) {
        self.text.extend_from_slice(match format {
            LogFormat::Json => b"}\n",
            LogFormat::Text => b"\n",
        });
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn clear(&mut self, kept: usize) {
        self.text.clear();
        self.text.shrink_to(kept);
    }

    /// The text of the second is made once a second.
    fn keep_second(&mut self, now: Timestamp) {
        if self.second != now.as_second() || self.second_text.is_empty() {
            self.second = now.as_second();
            let text = format!("{now:.0}");
            text.trim_end_matches('Z').clone_into(&mut self.second_text);
        }
    }
}

/// Writes an event's fields, each text escaped and cut.
struct Fields<'a> {
    text: &'a mut Vec<u8>,
    format: LogFormat,
}

impl Fields<'_> {
    fn push(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn name(&mut self, field: &Field) {
        let (before, after) = match self.format {
            LogFormat::Json => (",\"", "\":"),
            LogFormat::Text => (" ", "="),
        };
        for part in [before, field.name(), after] {
            self.push(part);
        }
    }

    fn plain(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.name(field);
        // Writing to a vector cannot fail.
        let _ = io::Write::write_fmt(self.text, value);
    }

    /// What stands before a text of this name.
    fn before(&self, name: FieldName) -> &'static str {
        match self.format {
            LogFormat::Json => name.json,
            LogFormat::Text => name.text,
        }
    }

    fn escaped(&mut self) -> Escaped<'_> {
        Escaped { text: self.text, left: FIELD_BYTES_MAX }
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.push("\"");
        let _ = self.escaped().write_str(value);
        self.push("\"");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        self.push("\"");
        let _ = write!(self.escaped(), "{value:?}");
        self.push("\"");
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, format_args!("{value}"));
    }
}

impl audit::Fields for Fields<'_> {
    fn known(&mut self, name: FieldName, value: &[u8]) {
        self.push(self.before(name));
        self.text.extend_from_slice(value);
        self.text.push(b'"');
    }

    fn list(&mut self, name: FieldName, values: impl Iterator<Item = &'static str>) {
        self.push(self.before(name));
        for (index, value) in values.enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            self.push(value);
        }
        self.text.push(b'"');
    }

    fn text(&mut self, name: FieldName, value: &str) {
        self.push(self.before(name));
        let _ = self.escaped().write_str(value);
        self.text.push(b'"');
    }

    fn number(&mut self, name: FieldName, value: u64) {
        self.push(self.before(name).strip_suffix('"').unwrap_or_default());
        self.push(itoa::Buffer::new().format(value));
    }

    fn flag(&mut self, name: FieldName, value: bool) {
        self.push(self.before(name).strip_suffix('"').unwrap_or_default());
        self.push(if value { "true" } else { "false" });
    }
}

/// Escapes what could end the text, begin a line, or turn it around on a terminal.
struct Escaped<'a> {
    text: &'a mut Vec<u8>,
    left: usize,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Without an early end, the compiler looks at many bytes at once.
        let harmful = |byte: u8| !matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~');
        let harmless = !text.bytes().fold(false, |any, byte| any | harmful(byte));
        if harmless && text.len() <= self.left {
            self.left -= text.len();
            self.text.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for c in text.chars() {
            if c.len_utf8() > self.left {
                self.left = 0;
                return Ok(());
            }
            self.left -= c.len_utf8();
            if is_unsafe_in_a_line(c) {
                // Writing to a vector cannot fail.
                let _ = io::Write::write_fmt(self.text, format_args!("\\u{:04x}", u32::from(c)));
                continue;
            }
            if matches!(c, '"' | '\\') {
                self.text.push(b'\\');
            }
            self.text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(())
    }
}

/// Control characters, line and paragraph separators, and what changes the direction of text.
fn is_unsafe_in_a_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
