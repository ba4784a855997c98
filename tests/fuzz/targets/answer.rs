//! The head of what an upstream sends: more bytes behind it change nothing, fewer never end it, and what
//! is accepted reads the same to another parser.

#![no_main]

use ckgate::fuzzing::answer_head;
use ckgate::upstream::AnswerHead;
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
    assert_eq!(fields_of(&alone), fields_of(&head));
    agrees_with_httparse(&bytes[..length], &head);
    assert!(!matches!(answer_head(&bytes[..length - 1], to_head), Ok(Some(_))));
});

fn fields_of(head: &AnswerHead) -> Vec<(&[u8], &[u8])> {
    head.fields.iter().collect()
}

fn agrees_with_httparse(bytes: &[u8], head: &AnswerHead) {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(bytes).expect("another parser refuses it");
    assert_eq!(parsed, httparse::Status::Complete(bytes.len()));
    assert_eq!(answer.code, Some(head.status.as_u16()));
    let theirs = answer.headers.iter().map(|h| (h.name.to_ascii_lowercase().into_bytes(), h.value));
    // Longer names are none of those that are looked at.
    let theirs = theirs.filter(|(name, _)| name.len() <= 48);
    let ours = head.fields.iter().map(|(name, value)| (name.to_vec(), value));
    assert_eq!(theirs.collect::<Vec<_>>(), ours.collect::<Vec<_>>());
}
