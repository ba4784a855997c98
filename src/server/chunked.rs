//! The chunked transfer coding (RFC 9112 §7.1) without its optional parts: no extensions, no
//! trailers, no white space, no bare line ends.

use bytes::{Buf as _, Bytes, BytesMut};

/// Where in a chunked body its reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkedFraming {
    at: At,
}

/// The chunked framing is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunked framing is malformed, or has extensions or trailers")]
pub struct ChunkedRefusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Size { size: u64, digits: u8 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    LastCr,
    LastLf,
    End,
}

/// Most digits of a chunk size: 4 GiB less one byte.
const SIZE_DIGITS_MAX: u8 = 8;

impl Default for ChunkedFraming {
    fn default() -> Self {
        Self { at: At::Size { size: 0, digits: 0 } }
    }
}

impl ChunkedFraming {
    /// Whether the last byte of the body has passed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.at == At::End
    }

    /// Takes the next piece of the body's data from the beginning of `bytes`, and the framing
    /// before it. `None` when the body has ended, or more bytes are needed.
    pub fn take_data(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, ChunkedRefusal> {
        while !self.has_ended() {
            if let At::Data { left } = self.at {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                if taken == 0 {
                    break;
                }
                let left = left - taken as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data { left } };
                return Ok(Some(bytes.split_to(taken).freeze()));
            }
            let Some(byte) = bytes.first() else { break };
            self.at = self.at.step(*byte)?;
            bytes.advance(1);
        }
        Ok(None)
    }
}

impl At {
    fn step(self, byte: u8) -> Result<Self, ChunkedRefusal> {
        match (self, byte) {
            (Self::Size { size, digits }, b'\r') if digits > 0 => Ok(Self::SizeLf { size }),
            (Self::Size { size, digits }, _) if digits < SIZE_DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).ok_or(ChunkedRefusal)?;
                Ok(Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
            }
            (Self::SizeLf { size: 0 }, b'\n') => Ok(Self::LastCr),
            (Self::SizeLf { size }, b'\n') => Ok(Self::Data { left: size }),
            (Self::DataCr, b'\r') => Ok(Self::DataLf),
            (Self::DataLf, b'\n') => Ok(Self::Size { size: 0, digits: 0 }),
            (Self::LastCr, b'\r') => Ok(Self::LastLf),
            (Self::LastLf, b'\n') => Ok(Self::End),
            _ => Err(ChunkedRefusal),
        }
    }
}
