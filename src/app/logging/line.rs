use std::fmt::{self, Write as _};

use jiff::Timestamp;
use tracing::Event;
use tracing::field::{Field, Visit};

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
        self.keep_second(now);
        let micros = now.subsec_nanosecond() / 1000;
        let metadata = event.metadata();
        // Writing to a string cannot fail.
        let _ = match format {
            LogFormat::Json => write!(
                self.text,
                r#"{{"timestamp":"{}.{micros:06}Z","level":"{}","target":"{}""#,
                self.second_text,
                metadata.level(),
                metadata.target()
            ),
            LogFormat::Text => write!(
                self.text,
                "{}.{micros:06}Z {:5} {}",
                self.second_text,
                metadata.level(),
                metadata.target()
            ),
        };
        event.record(&mut Fields { text: &mut self.text, format });
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
