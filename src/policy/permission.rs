use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One kind of access to an agent, in the words of Letta's published interface.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Read the agent's messages.
    ReadMessages,
    /// Send messages to the agent.
    WriteMessages,
    /// Read the agent's metadata and configuration.
    ReadAgent,
    /// Update the agent's metadata and configuration.
    WriteAgent,
}

/// The word is not a permission.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown permission `{0}`: use read_messages, write_messages, read_agent or write_agent")]
pub struct UnknownPermission(String);

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

impl Permission {
    /// Every permission, in the order in which sets list them.
    pub const ALL: [Self; 4] =
        [Self::ReadMessages, Self::WriteMessages, Self::ReadAgent, Self::WriteAgent];

    /// The word of the published interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadMessages => "read_messages",
            Self::WriteMessages => "write_messages",
            Self::ReadAgent => "read_agent",
            Self::WriteAgent => "write_agent",
        }
    }

    /// Its place in [`Permission::ALL`].
    #[must_use]
    pub const fn index(self) -> u8 {
        self as u8
    }

    const fn bit(self) -> u8 {
        match self {
            Self::ReadMessages => 1,
            Self::WriteMessages => 2,
            Self::ReadAgent => 4,
            Self::WriteAgent => 8,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|p| p.as_str() == word)
            .ok_or_else(|| UnknownPermission(word.to_owned()))
    }
}

impl Permissions {
    /// No permission at all.
    pub const NONE: Self = Self(0);

    /// Whether the set holds `permission`.
    #[must_use]
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set as four bits, lowest first in the order of [`Permission::ALL`]; what the store keeps.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits. `None` when a bit beyond the four is set.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits < 16 { Some(Self(bits)) } else { None }
    }

    /// The members, in the order of [`Permission::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |p| self.contains(*p))
    }
}

/// The members' words, separated by commas.
impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, permission) in self.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            f.write_str(permission.as_str())?;
        }
        Ok(())
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(members: I) -> Self {
        Self(members.into_iter().fold(0, |bits, p| bits | p.bit()))
    }
}
