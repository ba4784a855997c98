mod ids;
mod keys;
mod properties;
mod text;

use jiff::Timestamp;

use super::{KeyRing, MasterKey, TokenBytes, TokenId, TokenText};

/// A master key that is the same in every run.
fn master(seed: u8) -> MasterKey {
    let digit = char::from(b'A' + seed % 26);
    let text: String = std::iter::repeat_n(digit, 42).chain(['A']).collect();
    MasterKey::parse(&text).unwrap()
}

fn ring(ids: &[u8]) -> KeyRing {
    let keys: Vec<_> = ids.iter().map(|id| (*id, master(*id))).collect();
    KeyRing::new(&keys).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

const ID: TokenId = TokenId::from_bytes([7; TokenId::LENGTH]);
const EXPIRY: i64 = 1_800_000_000;

fn token(ring: &KeyRing) -> TokenText {
    ring.render(ring.minting_id(), ID, at(EXPIRY)).unwrap()
}

fn decode(text: &str) -> Option<TokenBytes> {
    TokenBytes::decode(text.as_bytes())
}
