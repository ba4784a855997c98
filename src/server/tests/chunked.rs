use bytes::BytesMut;
use proptest::prelude::*;

use super::super::{ChunkedFraming, ChunkedRefusal};

/// How many bytes belong to the body when they come in these pieces; `None` while it has not ended.
fn follow<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Option<usize>, ChunkedRefusal> {
    let mut framing = ChunkedFraming::default();
    let (mut length, mut held) = (0, BytesMut::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        length += piece.len();
        while framing.take_data(&mut held)?.is_some() {}
    }
    Ok(framing.has_ended().then_some(length - held.len()))
}

/// What a body comes to, whole and split at every byte.
#[track_caller]
fn check(body: &str, expected: Result<Option<usize>, ChunkedRefusal>) {
    let bytes = body.as_bytes();
    assert_eq!(follow([bytes]), expected, "{body:?}");
    assert_eq!(follow(bytes.chunks(1)), expected, "{body:?} byte by byte");
    for at in 0..=bytes.len() {
        let (a, b) = bytes.split_at(at);
        assert_eq!(follow([a, b]), expected, "{body:?} split at {at}");
    }
}

#[test]
fn body_ends_after_its_last_chunk() {
    check("0\r\n\r\n", Ok(Some(5)));
    check("3\r\nabc\r\n0\r\n\r\n", Ok(Some(13)));
    check("A\r\n0123456789\r\n1\r\n\n\r\n00\r\n\r\n", Ok(Some(27)));
    check("a\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", Ok(Some(20)));
    check("00000003\r\nabc\r\n0\r\n\r\n", Ok(Some(20)));
}

/// Attack S-13: what follows the body does not belong to it.
#[test]
fn what_follows_is_left_alone() {
    check("0\r\n\r\nGET / HTTP/1.1\r\n", Ok(Some(5)));
    check("1\r\nx\r\n0\r\n\r\n0\r\n\r\n", Ok(Some(11)));
}

#[test]
fn body_that_has_not_ended_is_waited_for() {
    for body in ["", "3", "3\r", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r", "0\r\n", "0\r\n\r"] {
        check(body, Ok(None));
    }
}

/// Attack S-06.
#[test]
fn other_spellings_of_a_chunk_size_are_refused() {
    for body in [
        "0x3\r\nabc\r\n",
        "+3\r\nabc\r\n",
        "-3\r\nabc\r\n",
        "3 \r\nabc\r\n",
        " 3\r\nabc\r\n",
        "3\t\r\nabc\r\n",
        "3_\r\nabc\r\n",
        "3;\r\nabc\r\n",
        "3;a=b\r\nabc\r\n",
        "3,\r\nabc\r\n",
        "\r\nabc\r\n",
        "\r\n",
        "g\r\n",
        "FFFFFFFFFFFFFFFFF\r\n",
        "100000000\r\n",
        "000000003\r\nabc\r\n",
        "3\r\r\nabc\r\n",
        "\0",
    ] {
        check(body, Err(ChunkedRefusal));
    }
}

/// Attack S-06.
#[test]
fn data_longer_or_shorter_than_its_size_is_refused() {
    for body in
        ["3\r\nabcd\r\n", "3\r\nabc0\r\n\r\n", "3\r\nab\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n"]
    {
        check(body, Err(ChunkedRefusal));
    }
}

/// Attack S-08.
#[test]
fn bare_line_ends_are_refused() {
    for body in ["3\nabc\r\n0\r\n\r\n", "3\r\nabc\n", "0\n\r\n", "0\r\n\n", "3\rabc", "0\r\n\r\r"] {
        check(body, Err(ChunkedRefusal));
    }
}

#[test]
fn trailers_are_refused() {
    for body in ["0\r\nX: y\r\n\r\n", "0\r\nAuthorization: Bearer x\r\n\r\n", "0\r\n \r\n"] {
        check(body, Err(ChunkedRefusal));
    }
}

proptest! {
    #[test]
    fn written_bodies_are_followed_to_their_end(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
        step in 1_usize..9,
        behind in "[a-z0-9\r\n]{0,9}",
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        let length = body.len();
        body.extend_from_slice(behind.as_bytes());
        prop_assert_eq!(follow(body.chunks(step)), Ok(Some(length)));
    }

    #[test]
    fn splitting_never_changes_the_outcome(body in "[0-9a-fx;\r\n]{0,30}", step in 1_usize..9) {
        let whole = follow([body.as_bytes()]);
        prop_assert_eq!(follow(body.as_bytes().chunks(step)), whole);
    }
}
