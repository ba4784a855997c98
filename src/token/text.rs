//! The `ck-let-` form of a token.
//!
//! `ck-let-` + base64url without padding of 39 bytes:
//! `version (1) ‖ key id (1) ‖ expiry (5, seconds, rounded up) ‖ id (16) ‖ tag (16)`.
//! 39 bytes are exactly 52 characters: no padding, no spare bits, no second spelling.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{KeyRing, TokenId};

/// What every client token starts with.
pub const PREFIX: &str = "ck-let-";
/// Length of a token's text in characters.
pub const TEXT_LENGTH: usize = PREFIX.len() + 52;
/// The only token version there is.
const VERSION: u8 = 1;
/// Bytes before the tag.
const SIGNED_LENGTH: usize = 23;
/// Length of the tag: HMAC-SHA-256 cut to 128 bits.
pub(super) const TAG_LENGTH: usize = 16;
/// All the bytes of a token.
const BYTES_LENGTH: usize = SIGNED_LENGTH + TAG_LENGTH;
/// Characters behind the prefix.
const DIGITS_LENGTH: usize = TEXT_LENGTH - PREFIX.len();

const NO_TOKEN: &str = "not the text of a token";
const FORGED: &str = "the tag does not verify";

/// A token's text. Printed nowhere: only the answers of the token API carry it.
#[derive(Clone)]
pub struct TokenText(Zeroizing<String>);

/// The characters of a token's text behind its prefix, not yet looked at. A token has one spelling, so
/// equal digits are the same token, tag included, and can key a cache of verified ones.
#[derive(Clone, Copy)]
pub struct TokenDigits([u8; DIGITS_LENGTH]);

/// The decoded bytes of a token's text, not yet verified.
#[derive(Clone, Copy)]
pub struct TokenBytes([u8; BYTES_LENGTH]);

/// What a token's text says once its tag has been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Names the record.
    pub id: TokenId,
    /// The key that verified the tag.
    pub key_id: u8,
    /// Expiry in seconds since the epoch, rounded up: only for refusing early, the record decides.
    pub expiry_seconds: i64,
}

/// Why a token's text was refused by arithmetic alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextRefusal {
    /// Not the shape of a token.
    #[error("{NO_TOKEN}")]
    Malformed,
    /// Made under a key this gate does not hold (retired, or another deployment's).
    #[error("made under token key {key_id}, which this gate does not hold")]
    UnknownKey {
        /// The key id in the text.
        key_id: u8,
    },
    /// The tag does not verify.
    #[error("{FORGED}")]
    Forged,
    /// Genuine, and its expiry is past.
    #[error("expired")]
    Expired,
}

impl TextRefusal {
    /// What it says, in as fixed words as can be.
    #[must_use]
    pub fn words(self) -> Cow<'static, str> {
        match self {
            Self::Malformed => NO_TOKEN.into(),
            Self::Forged => FORGED.into(),
            Self::UnknownKey { .. } | Self::Expired => self.to_string().into(),
        }
    }
}

impl TokenText {
    /// The text itself. Every call site is a place to review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(…)")
    }
}

impl fmt::Debug for TokenBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenBytes(…)")
    }
}

impl fmt::Debug for TokenDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigits(…)")
    }
}

impl TokenDigits {
    /// Takes the digits out of the text of a token: exact length, exact prefix.
    #[must_use]
    pub fn of(text: &[u8]) -> Option<Self> {
        text.strip_prefix(PREFIX.as_bytes())?.try_into().ok().map(Self)
    }

    /// Compares in constant time: the tag is as good as a password.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }

    /// A number from the last random digits of the id, for spreading tokens over a table: the high bits are
    /// the best mixed.
    #[must_use]
    pub fn spread(&self) -> u64 {
        // The id ends within the 31st digit; what is known of the others says little about these.
        let digits = self.0.get(22..30).and_then(<[u8]>::first_chunk);
        // An odd multiplier spreads what little the letters differ in over the high bits.
        let digits = digits.map_or(0, |digits| u64::from_le_bytes(*digits));
        digits.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// The bytes that the digits stand for; one spelling.
    #[must_use]
    pub fn decode(&self) -> Option<TokenBytes> {
        let mut bytes = [0; BYTES_LENGTH];
        let written = URL_SAFE_NO_PAD.decode_slice(self.0, &mut bytes).ok()?;
        (written == BYTES_LENGTH).then_some(TokenBytes(bytes))
    }
}

impl TokenBytes {
    /// Decodes the text of a token: exact length, exact prefix, one spelling.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        TokenDigits::of(text)?.decode()
    }

    /// Whether these are the bytes of the same token.
    #[cfg(test)]
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    fn parts(&self) -> (&[u8; SIGNED_LENGTH], &[u8; TAG_LENGTH]) {
        const EMPTY: &[u8; SIGNED_LENGTH] = &[0; SIGNED_LENGTH];
        const EMPTY_TAG: &[u8; TAG_LENGTH] = &[0; TAG_LENGTH];
        (self.0.first_chunk().unwrap_or(EMPTY), self.0.last_chunk().unwrap_or(EMPTY_TAG))
    }

    fn id(&self) -> TokenId {
        let mut id = [0; TokenId::LENGTH];
        for (to, from) in id.iter_mut().zip(self.0.iter().skip(7)) {
            *to = *from;
        }
        TokenId::from_bytes(id)
    }

    fn expiry_seconds(&self) -> i64 {
        self.0.iter().skip(2).take(5).fold(0, |n, b| (n << 8) | i64::from(*b))
    }
}

impl KeyRing {
    /// The text of the token `id` that expires at `expires_at`, under key `key_id`. `None` when the
    /// ring does not hold that key.
    #[must_use]
    pub fn render(&self, key_id: u8, id: TokenId, expires_at: Timestamp) -> Option<TokenText> {
        let [_, _, _, expiry @ ..] = seconds_rounded_up(expires_at).to_be_bytes();
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES_LENGTH));
        bytes.extend_from_slice(&[VERSION, key_id]);
        bytes.extend_from_slice(&expiry);
        bytes.extend_from_slice(id.as_bytes());
        let tag = self.tag(key_id, bytes.first_chunk()?)?;
        bytes.extend_from_slice(&tag);

        let mut text = Zeroizing::new(String::with_capacity(TEXT_LENGTH));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        Some(TokenText(text))
    }

    /// Verifies a token by arithmetic alone: tag first, in constant time, then the early expiry.
    pub fn verify(&self, token: &TokenBytes, now: Timestamp) -> Result<Verified, TextRefusal> {
        let genuine = self.verify_genuine(token)?;
        if now.as_second() >= genuine.expiry_seconds {
            return Err(TextRefusal::Expired);
        }
        Ok(genuine)
    }

    /// Like [`KeyRing::verify`], for callers to whom an expired token is still a token: deletion
    /// must answer alike for live, expired and deleted ones.
    pub fn verify_genuine(&self, token: &TokenBytes) -> Result<Verified, TextRefusal> {
        let (signed, tag) = token.parts();
        let [version, key_id, ..] = *signed;
        if version != VERSION {
            return Err(TextRefusal::Malformed);
        }
        let expected = self.tag(key_id, signed).ok_or(TextRefusal::UnknownKey { key_id })?;
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected, tag)
            .map_err(|_| TextRefusal::Forged)?;
        Ok(Verified { id: token.id(), key_id, expiry_seconds: token.expiry_seconds() })
    }
}

fn seconds_rounded_up(at: Timestamp) -> i64 {
    let seconds = at.as_second();
    if at.subsec_nanosecond() > 0 { seconds + 1 } else { seconds.max(0) }
}
