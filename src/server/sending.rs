use bytes::Bytes;
use http_body::Frame;

use super::response::{BodyFraming, end_body, write_piece};

/// An answer's body on its way out.
pub(super) struct Sending {
    pub(super) framing: BodyFraming,
    /// A piece that is written by itself.
    pub(super) large: Bytes,
    pub(super) ended: bool,
    pub(super) broken: bool,
}

impl Sending {
    pub(super) fn new(framing: BodyFraming) -> Self {
        Self { framing, large: Bytes::new(), ended: false, broken: false }
    }

    pub(super) fn wants_more(&self) -> bool {
        !self.ended && self.large.is_empty()
    }

    pub(super) fn take<E>(
        &mut self,
        frame: Option<Result<Frame<Bytes>, E>>,
        is_last: bool,
        out: &mut Vec<u8>,
    ) {
        let data = match frame {
            None => return self.end(out),
            Some(Err(_)) => return self.break_off(),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        };
        let Ok(large) = write_piece(out, &mut self.framing, data) else {
            return self.break_off();
        };
        self.large = large;
        if is_last && self.large.is_empty() {
            self.end(out);
        }
    }

    fn break_off(&mut self) {
        self.ended = true;
        self.broken = true;
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        self.ended = true;
        self.broken |= end_body(out, self.framing).is_err();
    }
}
