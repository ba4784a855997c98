use std::fmt;

use jiff::Timestamp;

use crate::policy::hex;

/// What names a token without being able to use it: 48 bits of creation time in milliseconds since
/// the epoch, then 80 random bits.
///
/// Ordered by creation time, so that inserts land at the end of the store's index and newest-first
/// listing is a range scan. Safe to log: without the key it does not yield the token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId([u8; Self::LENGTH]);

impl TokenId {
    /// Length in bytes.
    pub const LENGTH: usize = 16;

    /// A fresh id for a token made at `now`.
    ///
    /// Fails only when the operating system cannot give randomness.
    pub fn generate(now: Timestamp) -> Result<Self, getrandom::Error> {
        let mut bytes = [0; Self::LENGTH];
        let (time, random) = bytes.split_at_mut(6);
        let milliseconds = now.as_millisecond().max(0).to_be_bytes();
        time.copy_from_slice(milliseconds.last_chunk::<6>().unwrap_or(&[0; 6]));
        getrandom::fill(random)?;
        Ok(Self(bytes))
    }

    /// The id with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The bytes, most significant time byte first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// Parses the 32 lower-case hexadecimal digits that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 2 * Self::LENGTH || !text.bytes().all(lower) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|n| Self(n.to_be_bytes()))
    }
}

impl TokenId {
    /// Its text: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn spelled(self) -> [u8; 2 * Self::LENGTH] {
        hex(u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.spelled()).unwrap_or_default())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}
