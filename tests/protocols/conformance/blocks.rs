//! Header blocks: §4.3, §6.2, §6.10, and RFC 7541.

use super::*;

/// §4.3, §6.2, §6.10, RFC 7541: header blocks.
#[test]
fn header_block_that_is_broken_or_interrupted_ends_the_connection() {
    let stage = Stage::set();
    let get = stage.get();
    let (first, second) = get.split_at(get.len() / 2);
    let begun = frame(HEADERS, END_STREAM, 1, first);
    let padded = |length: u8| [&[length][..], &get].concat();
    let end = Must::EndConnection(&[PROTOCOL_ERROR]);
    let (third, rest) = second.split_at(second.len() / 2);
    stage.check([
        (
            "4.3 not a block",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x40]),
            Must::EndConnection(COMPRESSION),
        ),
        ("4.3 PRIORITY within", [begun.clone(), frame(PRIORITY, 0, 1, &[0; 5])].concat(), end),
        ("4.3 another head within", [begun.clone(), stage.ask(3)].concat(), end),
        ("6.2 stream 0", frame(HEADERS, END_STREAM | END_HEADERS, 0, &get), end),
        (
            "6.2 padding longer than the frame",
            frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, &[255, 0, 0]),
            end,
        ),
        (
            "6.2 padding",
            frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, &padded(0)),
            Must::Answer("200"),
        ),
        (
            "6.2 priority",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS | WITH_PRIORITY,
                1,
                &[&[0, 0, 0, 0, 16][..], &get].concat(),
            ),
            Must::Answer("200"),
        ),
        (
            "6.10 several continuations",
            [
                begun.clone(),
                frame(CONTINUATION, 0, 1, third),
                frame(CONTINUATION, END_HEADERS, 1, rest),
            ]
            .concat(),
            Must::Answer("200"),
        ),
        ("6.10 data within", [begun.clone(), frame(DATA, 0, 1, b"x")].concat(), end),
        (
            "6.10 of stream 0",
            [begun.clone(), frame(CONTINUATION, END_HEADERS, 0, second)].concat(),
            end,
        ),
        (
            "6.10 of another stream",
            [begun.clone(), frame(CONTINUATION, END_HEADERS, 3, second)].concat(),
            end,
        ),
        (
            "6.10 after the end of a head",
            [stage.ask(1), frame(CONTINUATION, END_HEADERS, 1, &get)].concat(),
            end,
        ),
        (
            "6.10 after the end of a continued head",
            [
                begun,
                frame(CONTINUATION, END_HEADERS, 1, second),
                frame(CONTINUATION, END_HEADERS, 1, &get),
            ]
            .concat(),
            end,
        ),
        (
            "6.10 after data",
            [
                frame(HEADERS, END_HEADERS, 1, &stage.post()),
                frame(DATA, 0, 1, b" "),
                frame(CONTINUATION, END_HEADERS, 1, &get),
            ]
            .concat(),
            end,
        ),
    ]);
}

/// RFC 7541: blocks that cannot be decoded.
#[test]
fn header_block_that_cannot_be_decoded_ends_the_connection() {
    let stage = Stage::set();
    let get = stage.get();
    let broken =
        |bytes: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, 1, &[&get[..], bytes].concat());
    let compression = Must::EndConnection(COMPRESSION);
    stage.check([
        ("RFC 7541 2.3.3 index that is none", broken(&[0xff, 0x7f]), compression),
        ("RFC 7541 6.1 index 0", broken(&[0x80]), compression),
        ("RFC 7541 4.2 size of the table at the end", broken(&[0x20]), compression),
        (
            "RFC 7541 6.3 table larger than allowed",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS,
                1,
                &[&[0x3f, 0xff, 0xff, 0x7f][..], &get].concat(),
            ),
            compression,
        ),
        (
            "RFC 7541 5.2 padding of more than 7 bits",
            broken(&[0, 0x82, 0x1f, 0xff, 0x81, 0xff]),
            compression,
        ),
        ("RFC 7541 5.2 padding of zeros", broken(&[0, 0x81, 0x18, 0x81, 0xf0]), compression),
        (
            "RFC 7541 5.2 the end of a string within it",
            broken(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 0x81, 0x1f]),
            compression,
        ),
    ]);
}
