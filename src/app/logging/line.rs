use std::fmt::{self, Write as _};

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
    text: String,
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
            self.text.push_str(part);
        }
    }

    fn end(&mut self, format: LogFormat) {
        self.text.push_str(match format {
            LogFormat::Json => "}\n",
            LogFormat::Text => "\n",
        });
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
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
    text: &'a mut String,
    format: LogFormat,
}

impl Fields<'_> {
    fn name(&mut self, field: &Field) {
        match self.format {
            LogFormat::Json => {
                self.text.push_str(",\"");
                self.text.push_str(field.name());
                self.text.push_str("\":");
            }
            LogFormat::Text => {
                self.text.push(' ');
                self.text.push_str(field.name());
                self.text.push('=');
            }
        }
    }

    fn plain(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.name(field);
        let _ = self.text.write_fmt(value);
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.text.push('"');
        let _ = Escaped { text: self.text, left: FIELD_BYTES_MAX }.write_str(value);
        self.text.push('"');
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        self.text.push('"');
        let _ = write!(Escaped { text: self.text, left: FIELD_BYTES_MAX }, "{value:?}");
        self.text.push('"');
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

impl Fields<'_> {
    fn begin(&mut self, name: FieldName) {
        self.text.push_str(match self.format {
            LogFormat::Json => name.json,
            LogFormat::Text => name.text,
        });
    }
}

impl audit::Fields for Fields<'_> {
    fn known(&mut self, name: FieldName, value: &str) {
        self.begin(name);
        for part in ["\"", value, "\""] {
            self.text.push_str(part);
        }
    }

    fn list(&mut self, name: FieldName, values: impl Iterator<Item = &'static str>) {
        self.begin(name);
        self.text.push('"');
        for (index, value) in values.enumerate() {
            self.text.push_str(if index == 0 { "" } else { "," });
            self.text.push_str(value);
        }
        self.text.push('"');
    }

    fn text(&mut self, name: FieldName, value: &str) {
        self.begin(name);
        self.text.push('"');
        let _ = Escaped { text: self.text, left: FIELD_BYTES_MAX }.write_str(value);
        self.text.push('"');
    }

    fn number(&mut self, name: FieldName, value: u64) {
        self.begin(name);
        self.text.push_str(itoa::Buffer::new().format(value));
    }

    fn flag(&mut self, name: FieldName, value: bool) {
        self.begin(name);
        self.text.push_str(if value { "true" } else { "false" });
    }
}

/// Escapes what could end the text, begin a line, or turn it around on a terminal.
struct Escaped<'a> {
    text: &'a mut String,
    left: usize,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Without an early end, the compiler looks at many bytes at once.
        let harmful =
            |byte: u8| u32::from(!matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~'));
        let harmless = text.bytes().map(harmful).sum::<u32>() == 0;
        if harmless && text.len() <= self.left {
            self.left -= text.len();
            self.text.push_str(text);
            return Ok(());
        }
        for c in text.chars() {
            if c.len_utf8() > self.left {
                self.left = 0;
                return Ok(());
            }
            self.left -= c.len_utf8();
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                _ if is_unsafe_in_a_line(c) => write!(self.text, "\\u{:04x}", u32::from(c))?,
                _ => self.text.push(c),
            }
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
