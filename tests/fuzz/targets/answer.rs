//! The head of what an upstream sends: more bytes behind it change nothing, fewer never end it.

#![no_main]

use ckgate::fuzzing::answer_head;
use libfuzzer_sys::fuzz_target;

// The first byte says whether a HEAD request is answered.
fuzz_target!(|input: &[u8]| {
    let Some((first, bytes)) = input.split_first() else { return };
    let to_head = *first == b'h';
    let Ok(Some((head, length))) = answer_head(bytes, to_head) else { return };
    assert!(length <= bytes.len());
    let (alone, same) = answer_head(&bytes[..length], to_head)
        .expect("it is as good alone")
        .expect("it is whole");
    assert_eq!((same, alone.framing, alone.status), (length, head.framing, head.status));
    assert_eq!(alone.headers, head.headers);
    assert!(!matches!(answer_head(&bytes[..length - 1], to_head), Ok(Some(_))));
});
