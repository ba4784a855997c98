//! The head of a request and its chunked body: however the bytes are split, the outcome is the same,
//! and what is accepted reads the same to another parser.

#![no_main]

use bytes::BytesMut;
use ckgate::fuzzing::end_of_head;
use ckgate::server::{ChunkedFraming, Framing, HeadLimits, RequestHead, read_head};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits =
    HeadLimits { head_bytes_max: 4096, headers_max: 32, target_bytes_max: 1024 };

// The first byte says how the others are split.
fuzz_target!(|input: &[u8]| {
    let Some((step, bytes)) = input.split_first() else { return };
    let step = usize::from(step % 16) + 1;
    let whole = end_of_head(bytes, 0);
    assert_eq!(end_in_pieces(bytes, step), whole, "split every {step}");
    let Ok(Some(end)) = whole else { return };
    let (head, body) = bytes.split_at(end);
    let Ok(read) = read_head(head, LIMITS) else { return };
    agrees_with_httparse(head, &read);
    if read.framing == Framing::Chunked {
        let whole = follow([body]);
        assert_eq!(follow(body.chunks(step)), whole);
    }
});

/// Like the connection: looks again only from two bytes before what it has seen.
fn end_in_pieces(
    bytes: &[u8],
    step: usize,
) -> Result<Option<usize>, ckgate::server::Malformed> {
    let mut seen = 0;
    while seen < bytes.len() {
        let now = bytes.len().min(seen + step);
        if let Some(end) = end_of_head(&bytes[..now], seen.saturating_sub(2))? {
            return Ok(Some(end));
        }
        seen = now;
    }
    Ok(None)
}

fn follow<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Option<(Vec<u8>, bool)> {
    let mut framing = ChunkedFraming::default();
    let (mut data, mut held) = (Vec::new(), BytesMut::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        while let Some(piece) = framing.take_data(&mut held).ok()? {
            data.extend_from_slice(&piece);
        }
    }
    Some((data, framing.has_ended()))
}

fn agrees_with_httparse(head: &[u8], read: &RequestHead) {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(head).expect("another parser refuses it");
    assert_eq!(parsed, httparse::Status::Complete(head.len()));
    let target = request.path.expect("a target");
    assert!(target.starts_with('/') && http::Uri::try_from(target).is_ok(), "{target}");
    let values = |name: &str| {
        let named = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
        named.map(|h| h.value).collect::<Vec<_>>()
    };
    assert_eq!(values("host").len(), 1);
    assert_eq!(request.method, Some(read.head.method.as_str()));
    assert_eq!(target, read.head.target());
    let theirs = request.headers.iter().map(|h| (h.name.to_ascii_lowercase().into_bytes(), h.value));
    let ours = read.head.fields().iter().map(|(name, value)| (name.to_vec(), value));
    assert_eq!(theirs.collect::<Vec<_>>(), ours.collect::<Vec<_>>());
    match read.framing {
        Framing::Chunked => {
            assert_eq!(values("transfer-encoding"), [b"chunked"]);
            assert!(values("content-length").is_empty());
            assert_eq!(request.version, Some(1));
        }
        Framing::Length(length) => {
            assert!(values("transfer-encoding").is_empty());
            let values = values("content-length");
            if !(values.is_empty() && length == 0) {
                assert_eq!(values, [length.to_string().as_bytes()]);
            }
        }
    }
}
