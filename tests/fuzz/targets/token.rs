//! The text of a token: one spelling, and none that was not made with the key.

#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ckgate::token::{KeyRing, MasterKey, PREFIX, TokenBytes, TokenId};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let key = MasterKey::parse(&"A".repeat(43)).expect("a key");
    KeyRing::new(&[(1, key)]).expect("a ring")
});

fuzz_target!(|text: &[u8]| {
    if let Some(bytes) = TokenBytes::decode(text) {
        let digits = text.strip_prefix(PREFIX.as_bytes()).expect("the prefix");
        let decoded = URL_SAFE_NO_PAD.decode(digits).expect("base64url");
        assert_eq!(URL_SAFE_NO_PAD.encode(decoded).as_bytes(), digits);
        if let Ok(verified) = RING.verify_genuine(&bytes) {
            let expires_at = Timestamp::from_second(verified.expiry_seconds).expect("a time");
            let made = RING.render(verified.key_id, verified.id, expires_at).expect("the key");
            assert_eq!(made.expose().as_bytes(), text);
        }
    }
    let _ = MasterKey::parse(&String::from_utf8_lossy(text));
    let Some((id, rest)) = text.split_first_chunk() else { return };
    let seconds = rest.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let expires_at = Timestamp::from_second(i64::from(seconds)).expect("a time");
    let id = TokenId::from_bytes(*id);
    let made = RING.render(1, id, expires_at).expect("the key");
    let bytes = TokenBytes::decode(made.expose().as_bytes()).expect("a token");
    let verified = RING.verify_genuine(&bytes).expect("a genuine one");
    assert_eq!((verified.id, verified.expiry_seconds), (id, i64::from(seconds)));
});
