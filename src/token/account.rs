use std::fmt;
use std::sync::Arc;

/// The owner of server keys and tokens: 1 to 64 of `[a-z0-9_-]`, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(Arc<str>);

/// The name is empty, too long, or has a character outside `[a-z0-9_-]`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("an account name is 1 to 64 of `a-z`, `0-9`, `_` and `-`, not `{0}`")]
pub struct InvalidAccountName(String);

impl AccountName {
    /// Longest accepted name, in bytes.
    pub const LENGTH_MAX: usize = 64;

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, InvalidAccountName> {
        let admitted =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if text.is_empty() || text.len() > Self::LENGTH_MAX || !text.bytes().all(admitted) {
            return Err(InvalidAccountName(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
