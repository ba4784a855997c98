use std::fmt;
use std::num::NonZeroU64;

use super::hex::hex;

/// A well-formed agent id: `agent-` and a lower-case UUID of version 4, variant 1, 42 characters.
///
/// Kept as a number, so that comparing costs next to nothing and printing yields the one spelling; in
/// halves, of which neither can be zero, so that "none" takes no room beside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId {
    high: u64,
    low: NonZeroU64,
}

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
        parse_uuid4(uuid.as_bytes()).and_then(Self::from_u128).ok_or(InvalidAgentId)
    }

    /// Appends the one spelling to a path.
    pub(super) fn append_to(self, path: &mut String) {
        self.with_text(|text| path.push_str(text));
    }

    fn with_text<T>(self, take: impl FnOnce(&str) -> T) -> T {
        take(text(&self.spelled()))
    }

    /// Its one spelling, in ASCII.
    #[must_use]
    pub fn spelled(self) -> [u8; 42] {
        let mut spelled = *b"agent-00000000-0000-0000-0000-000000000000";
        let digits = hex(self.as_u128());
        for (to, from, length) in [(6, 0, 8), (15, 8, 4), (20, 12, 4), (25, 16, 4), (30, 20, 12)] {
            let group = spelled.get_mut(to..to + length).zip(digits.get(from..from + length));
            if let Some((place, group)) = group {
                place.copy_from_slice(group);
            }
        }
        spelled
    }

    /// The UUID as a big-endian number; what the store keeps.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        (self.high as u128) << 64 | self.low.get() as u128
    }

    /// The id with this UUID. `None` when it is not version 4, variant 1.
    #[must_use]
    pub const fn from_u128(uuid: u128) -> Option<Self> {
        let (high, low) = ((uuid >> 64) as u64, (uuid & 0xffff_ffff_ffff_ffff) as u64);
        match NonZeroU64::new(low) {
            Some(low) if (high >> 12) & 0xf == 4 && low.get() >> 62 == 0b10 => {
                Some(Self { high, low })
            }
            _ => None,
        }
    }
}

/// The value of each lower-case hexadecimal digit; 0xff for every other byte.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "the compiler evaluates it, and would refuse"
)]
const DIGIT_VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Parses `xxxxxxxx-xxxx-4xxx-[89ab]xxx-xxxxxxxxxxxx`, lower case only.
pub(super) fn parse_uuid4(text: &[u8]) -> Option<u128> {
    let (first, rest) = text.split_first_chunk::<8>()?;
    let (&[b'-', ref second @ ..], rest) = rest.split_first_chunk::<5>()? else { return None };
    let (&[b'-', ref third @ ..], rest) = rest.split_first_chunk::<5>()? else { return None };
    let (&[b'-', ref fourth @ ..], rest) = rest.split_first_chunk::<5>()? else { return None };
    let &[b'-', ref fifth @ ..] = <&[u8; 13]>::try_from(rest).ok()? else { return None };
    let (mut high, mut low, mut odd) = (0, 0, 0);
    read_digits(first, &mut high, &mut odd);
    read_digits(second, &mut high, &mut odd);
    read_digits(third, &mut high, &mut odd);
    read_digits(fourth, &mut low, &mut odd);
    read_digits(fifth, &mut low, &mut odd);
    if odd & 0xf0 != 0 {
        return None;
    }
    AgentId::from_u128(u128::from(high) << 64 | u128::from(low)).map(AgentId::as_u128)
}

/// Appends digits to a number, and what is wrong with them to `odd`.
fn read_digits<const N: usize>(digits: &[u8; N], number: &mut u64, odd: &mut u8) {
    for byte in digits {
        let value = DIGIT_VALUES.get(usize::from(*byte)).copied().unwrap_or(0xff);
        *odd |= value;
        *number = (*number << 4) | u64::from(value & 0xf);
    }
}

/// Digits and hyphens are text.
fn text(spelled: &[u8]) -> &str {
    std::str::from_utf8(spelled).unwrap_or_default()
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl fmt::Debug for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
