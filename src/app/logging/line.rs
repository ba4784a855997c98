use std::fmt::{self, Write as _};
use std::io;
use std::marker::PhantomData;

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::audit::{self, FieldName, Finished};
use crate::config::LogFormat;
use crate::scan;

/// Longest text of one field, in bytes; what is longer is cut.
const FIELD_BYTES_MAX: usize = 1024;

/// Lines of the log in the making. Their buffer is used again.
#[derive(Default)]
pub(super) struct Line {
    text: Vec<u8>,
    /// The second that `second_text` is about.
    second: i64,
    /// The time up to the point behind the second.
    second_text: String,
}

impl Line {
    pub(super) fn write(&mut self, now: Timestamp, event: &Event<'_>, format: LogFormat) {
        let metadata = event.metadata();
        let (level, target) = (*metadata.level(), metadata.target());
        match format {
            LogFormat::Json => {
                self.begin::<Json>(now, level, target);
                event.record(&mut Fields::<Json>::new(&mut self.text));
                self.end::<Json>();
            }
            LogFormat::Text => {
                self.begin::<Text>(now, level, target);
                event.record(&mut Fields::<Text>::new(&mut self.text));
                self.end::<Text>();
            }
        }
    }

    pub(super) fn write_request(
        &mut self,
        now: Timestamp,
        event: &Finished<'_>,
        format: LogFormat,
    ) {
        match format {
            LogFormat::Json => self.write_request_in::<Json>(now, event),
            LogFormat::Text => self.write_request_in::<Text>(now, event),
        }
    }

    fn write_request_in<F: Format>(&mut self, now: Timestamp, event: &Finished<'_>) {
        self.begin_at::<F>(now);
        self.text.extend_from_slice(F::OF_REQUEST.as_bytes());
        event.record(&mut Fields::<F>::new(&mut self.text));
        self.end::<F>();
    }

    fn begin<F: Format>(&mut self, now: Timestamp, level: Level, target: &str) {
        self.begin_at::<F>(now);
        for part in [F::BEFORE_LEVEL, level.as_str(), F::BEFORE_TARGET, target, F::BEFORE_FIELDS] {
            self.text.extend_from_slice(part.as_bytes());
        }
    }

    #[inline]
    fn begin_at<F: Format>(&mut self, now: Timestamp) {
        self.keep_second(now);
        let mut number = itoa::Buffer::new();
        // With a million in front, a digit for each place.
        let micros = number.format(1_000_000 + now.subsec_nanosecond() / 1000);
        self.text.extend_from_slice(F::BEFORE_TIME.as_bytes());
        self.text.extend_from_slice(self.second_text.as_bytes());
        self.text.extend_from_slice(micros.as_bytes().last_chunk::<6>().unwrap_or(b"000000"));
    }

    fn end<F: Format>(&mut self) {
        self.text.extend_from_slice(F::END);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.text.truncate(length);
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
            self.second_text = format!("{}.", text.trim_end_matches('Z'));
        }
    }
}

/// How lines are written; a type for each, so that what is fixed in a line is known to the compiler.
trait Format {
    const BEFORE_TIME: &str;
    const BEFORE_LEVEL: &str;
    const BEFORE_TARGET: &str;
    const BEFORE_FIELDS: &str;
    /// What stands between the time and the fields of a request: level and target.
    const OF_REQUEST: &str;
    const BEFORE_NAME: &str;
    const BEFORE_VALUE: &str;
    const END: &[u8];

    /// What stands before a text of this name.
    fn before(name: FieldName) -> &'static str;
}

/// One JSON object a line.
struct Json;

impl Format for Json {
    const BEFORE_TIME: &str = "{\"timestamp\":\"";
    const BEFORE_LEVEL: &str = "Z\",\"level\":\"";
    const BEFORE_TARGET: &str = "\",\"target\":\"";
    const BEFORE_FIELDS: &str = "\"";
    const OF_REQUEST: &str = "Z\",\"level\":\"INFO\",\"target\":\"ckgate::request\"";
    const BEFORE_NAME: &str = ",\"";
    const BEFORE_VALUE: &str = "\":";
    const END: &[u8] = b"}\n";

    fn before(name: FieldName) -> &'static str {
        name.json
    }
}

/// For people.
struct Text;

impl Format for Text {
    const BEFORE_TIME: &str = "";
    const BEFORE_LEVEL: &str = "Z ";
    const BEFORE_TARGET: &str = " ";
    const BEFORE_FIELDS: &str = "";
    const OF_REQUEST: &str = "Z INFO ckgate::request";
    const BEFORE_NAME: &str = " ";
    const BEFORE_VALUE: &str = "=";
    const END: &[u8] = b"\n";

    fn before(name: FieldName) -> &'static str {
        name.text
    }
}

/// Writes an event's fields, each text escaped and cut.
struct Fields<'a, F> {
    text: &'a mut Vec<u8>,
    format: PhantomData<F>,
}

impl<'a, F: Format> Fields<'a, F> {
    fn new(text: &'a mut Vec<u8>) -> Self {
        Self { text, format: PhantomData }
    }

    fn push(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn name(&mut self, field: &Field) {
        for part in [F::BEFORE_NAME, field.name(), F::BEFORE_VALUE] {
            self.push(part);
        }
    }

    fn plain(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.name(field);
        // Writing to a vector cannot fail.
        let _ = io::Write::write_fmt(self.text, value);
    }

    fn escaped(&mut self) -> Escaped<'_> {
        Escaped { text: self.text, left: FIELD_BYTES_MAX }
    }
}

impl<F: Format> Visit for Fields<'_, F> {
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

impl<F: Format> audit::Fields for Fields<'_, F> {
    #[inline]
    fn known(&mut self, name: FieldName, value: &[u8]) {
        self.push(F::before(name));
        self.text.extend_from_slice(value);
        self.text.push(b'"');
    }

    #[inline]
    fn list(&mut self, name: FieldName, values: impl Iterator<Item = &'static str>) {
        self.push(F::before(name));
        for (index, value) in values.enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            self.push(value);
        }
        self.text.push(b'"');
    }

    #[inline]
    fn text(&mut self, name: FieldName, value: &str) {
        self.push(F::before(name));
        let _ = self.escaped().write_str(value);
        self.text.push(b'"');
    }

    #[inline]
    fn number(&mut self, name: FieldName, value: u64) {
        self.push(F::before(name).strip_suffix('"').unwrap_or_default());
        self.push(itoa::Buffer::new().format(value));
    }

    #[inline]
    fn flag(&mut self, name: FieldName, value: bool) {
        self.push(F::before(name).strip_suffix('"').unwrap_or_default());
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
        if text.len() <= self.left && scan::is_within(text.as_bytes(), scan::PLAIN_IN_JSON) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Level and target of a request's line are those of any other event of this level and target.
    fn check_requests<F: Format>() {
        let mut line = Line::default();
        let now = Timestamp::from_microsecond(1_700_000_000_000_042).unwrap_or_default();
        line.begin::<F>(now, Level::INFO, Finished::TARGET);
        let any = line.bytes().to_vec();
        line.clear(0);
        line.begin_at::<F>(now);
        assert!(line.bytes().ends_with(b"2023-11-14T22:13:20.000042"));
        assert_eq!([line.bytes(), F::OF_REQUEST.as_bytes()].concat(), any);
    }

    #[test]
    fn requests_are_logged_as_events_are() {
        check_requests::<Json>();
        check_requests::<Text>();
    }
}
