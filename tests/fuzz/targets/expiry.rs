//! `expires_at`: what is a time is one to the millisecond, and written out means the same.

#![no_main]

use ckgate::fuzzing::expiry;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(at) = expiry(text) else { return };
    assert_eq!(at.subsec_nanosecond() % 1_000_000, 0, "{at}");
    if at.as_second() >= 0 {
        assert_eq!(expiry(&format!("{at:.3}")), Some(at));
    }
});
