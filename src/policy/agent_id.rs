use std::fmt;

/// A well-formed agent id: `agent-` and a lower-case UUID of version 4, variant 1, 42 characters.
///
/// Kept as a number, so that comparing is one instruction and printing yields the one spelling.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(u128);

/// The text is not an agent id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "an agent id is `agent-` and a lower-case UUID of version 4, such as `agent-11111111-1111-4111-8111-111111111111`"
)]
pub struct InvalidAgentId;

const PREFIX: &str = "agent-";

impl AgentId {
    /// Parses an id; only the canonical spelling is one.
    pub fn parse(text: &str) -> Result<Self, InvalidAgentId> {
        let uuid = text.strip_prefix(PREFIX).ok_or(InvalidAgentId)?;
        parse_uuid4(uuid.as_bytes()).map(Self).ok_or(InvalidAgentId)
    }

    /// Appends the one spelling to a path.
    pub(super) fn append_to(self, path: &mut String) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        path.push_str(PREFIX);
        for nibble in 0..32_u32 {
            if matches!(nibble, 8 | 12 | 16 | 20) {
                path.push('-');
            }
            let value = (self.0 >> (124 - 4 * nibble)) & 0xf;
            path.extend(
                usize::try_from(value).ok().and_then(|v| DIGITS.get(v)).copied().map(char::from),
            );
        }
    }

    /// The UUID as a big-endian number; what the store keeps.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// The id with this UUID. `None` when it is not version 4, variant 1.
    #[must_use]
    pub const fn from_u128(uuid: u128) -> Option<Self> {
        if (uuid >> 76) & 0xf == 4 && (uuid >> 62) & 0b11 == 0b10 { Some(Self(uuid)) } else { None }
    }
}

/// Parses `xxxxxxxx-xxxx-4xxx-[89ab]xxx-xxxxxxxxxxxx`, lower case only.
pub(super) fn parse_uuid4(text: &[u8]) -> Option<u128> {
    if text.len() != 36 {
        return None;
    }
    let mut uuid: u128 = 0;
    for (at, byte) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if *byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        uuid = (uuid << 4) | u128::from(digit);
    }
    AgentId::from_u128(uuid).map(AgentId::as_u128)
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0;
        write!(
            f,
            "{PREFIX}{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            n >> 96,
            (n >> 80) & 0xffff,
            (n >> 64) & 0xffff,
            (n >> 48) & 0xffff,
            n & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
