use std::ops::Range;

use crate::scan::Controls;

/// The lines of a head, one after the other: where each stands, without the CRLF it ends in (RFC 9112
/// §2.2). What has no line end yet is none.
#[derive(Clone, Debug)]
pub struct Lines<'b> {
    bytes: &'b [u8],
    controls: Controls<'b>,
    /// Where the next line begins.
    at: usize,
    has_controls: bool,
}

/// A line ends in a bare LF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line ends in a bare LF")]
pub struct BareLineFeed;

impl<'b> Lines<'b> {
    /// The lines of these bytes.
    #[must_use]
    pub fn of(bytes: &'b [u8]) -> Self {
        Self { bytes, controls: Controls::of(bytes), at: 0, has_controls: false }
    }

    /// Where the next line begins, and the lines so far have ended.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether control characters other than tabs were found within lines: no field value may have any.
    #[must_use]
    pub fn has_controls(&self) -> bool {
        self.has_controls
    }

    /// The end of a line in which there may be other control characters, of which this is the first.
    #[cold]
    fn end_behind(&mut self, first: usize) -> Option<Result<usize, BareLineFeed>> {
        let mut before = None;
        let mut control = first;
        while self.bytes.get(control) != Some(&b'\n') {
            self.has_controls |= before.is_some();
            before = Some(control);
            control = self.controls.next()?;
        }
        let is_crlf = before
            .is_some_and(|before| before + 1 == control && self.bytes.get(before) == Some(&b'\r'));
        Some(if is_crlf { Ok(control - 1) } else { Err(BareLineFeed) })
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Range<usize>, BareLineFeed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let first = self.controls.next()?;
        let end = if self.bytes.get(first..first + 2) == Some(b"\r\n") {
            self.controls.next();
            Ok(first)
        } else {
            self.end_behind(first)?
        };
        Some(end.map(|end| std::mem::replace(&mut self.at, end + 2)..end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_what_stands_before_each_line_end(text in "([a-d\t]{0,20}|\r|\n|\r\n|\x00|\x7f){0,8}") {
            let bytes = text.as_bytes();
            let mut lines = Lines::of(bytes);
            let mut rest = text.as_str();
            while let Some((line, after)) = rest.split_once('\n') {
                let read = lines.next().unwrap();
                let Some(line) = line.strip_suffix('\r') else {
                    prop_assert_eq!(read, Err(BareLineFeed));
                    return Ok(());
                };
                prop_assert_eq!(&bytes[read.unwrap()], line.as_bytes());
                let (before, behind) = text.split_at(lines.at());
                prop_assert_eq!(behind, after);
                let is_odd = |c: char| c.is_control() && c != '\t';
                prop_assert_eq!(lines.has_controls(), before.replace("\r\n", "").contains(is_odd));
                rest = after;
            }
            prop_assert_eq!(lines.next(), None);
        }
    }
}
