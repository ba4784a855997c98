use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::text::{PREFIX, TAG_LENGTH};

/// Length of a master key in bytes.
pub const MASTER_KEY_BYTES: usize = 32;

/// What token keys are derived from. Lives outside the store, is wiped when dropped, never prints.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; MASTER_KEY_BYTES]>);

/// The text is not a master key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a master key is 43 characters of base64url, as `ckgate key new` prints it")]
pub struct MasterKeyError;

/// The keys of a deployment: all of them verify, the first mints. Wiped when dropped.
pub struct KeyRing(Vec<(u8, Hmac<Sha256>)>);

/// The keys cannot form a ring.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyRingError {
    /// There is no key.
    #[error("at least one token key is needed")]
    Empty,
    /// Two keys share an id.
    #[error("token key id {0} is there twice")]
    Duplicate(u8),
}

impl MasterKey {
    /// A fresh key. Fails only when the operating system cannot give randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; MASTER_KEY_BYTES]);
        getrandom::fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    /// Parses the text form; white space around it is ignored (files end in a line feed).
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let mut bytes = Zeroizing::new([0; MASTER_KEY_BYTES]);
        let written = URL_SAFE_NO_PAD
            .decode_slice(text.trim_ascii(), bytes.as_mut())
            .map_err(|_| MasterKeyError)?;
        if written == MASTER_KEY_BYTES { Ok(Self(bytes)) } else { Err(MasterKeyError) }
    }

    /// The text form: 43 characters of base64url.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }

    /// The HMAC key for `key_id`: HKDF-SHA-256 (RFC 5869) with the key id in its info, so that one
    /// master key under two ids gives two keys.
    fn derive(&self, key_id: u8) -> Option<Hmac<Sha256>> {
        let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, b"ckgate").extract(self.0.as_slice());
        let mut bytes = Zeroizing::new([0; 32]);
        pseudorandom
            .expand(&[b"client token", &[key_id]], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(bytes.as_mut()))
            .ok()?;
        Hmac::new_from_slice(bytes.as_slice()).ok()
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl KeyRing {
    /// A ring of these keys; the first mints.
    pub fn new(keys: &[(u8, MasterKey)]) -> Result<Self, KeyRingError> {
        let mut ring: Vec<(u8, Hmac<Sha256>)> = Vec::with_capacity(keys.len());
        for (id, master) in keys {
            if ring.iter().any(|(held, _)| held == id) {
                return Err(KeyRingError::Duplicate(*id));
            }
            // HKDF refuses only lengths far above the 32 bytes asked for.
            ring.extend(master.derive(*id).map(|key| (*id, key)));
        }
        if ring.is_empty() { Err(KeyRingError::Empty) } else { Ok(Self(ring)) }
    }

    /// The id of the key that mints.
    #[must_use]
    pub fn minting_id(&self) -> u8 {
        self.0.first().map_or(0, |(id, _)| *id)
    }

    /// All key ids held, the minting one first.
    #[must_use]
    pub fn ids(&self) -> Vec<u8> {
        self.0.iter().map(|(id, _)| *id).collect()
    }

    /// The tag over the prefix and `signed`. `None` when the ring does not hold `key_id`.
    pub(super) fn tag(&self, key_id: u8, signed: &[u8; 23]) -> Option<[u8; TAG_LENGTH]> {
        let (_, key) = self.0.iter().find(|(id, _)| *id == key_id)?;
        let tag = key.clone().chain_update(PREFIX).chain_update(signed).finalize().into_bytes();
        tag.first_chunk().copied()
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KeyRing").field(&self.ids()).finish()
    }
}
