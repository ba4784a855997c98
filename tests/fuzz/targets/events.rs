//! The boundaries of an event stream: where the standard has them, however the bytes are split.

#![no_main]

use ckgate::fuzzing::Events;
use libfuzzer_sys::fuzz_target;

// The first byte says how the stream is split, the second where it is cut.
fuzz_target!(|input: &[u8]| {
    let [step, cut, stream @ ..] = input else { return };
    let mut events = Events::default();
    let mut passed = 0;
    for chunk in stream.chunks(usize::from(step % 8) + 1) {
        events.pass(chunk);
        passed += chunk.len();
        assert_eq!(events.is_between_events(), is_between(&stream[..passed]));
    }
    let cut = usize::from(*cut).min(stream.len());
    let mut events = Events::default();
    events.pass(&stream[..cut]);
    let end = (cut + 1..=stream.len()).find(|end| is_between(&stream[..*end]));
    assert_eq!(events.pass_event(&stream[cut..]), end.map(|end| end - cut));
});

/// An event ends at an empty line; CR LF, LF and CR end lines.
fn is_between(stream: &[u8]) -> bool {
    let lines = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    format!("\n\n{lines}").ends_with("\n\n")
}
