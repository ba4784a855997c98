use proptest::prelude::*;

use super::super::head::read_first_head;
use super::super::{Framing, HeadLimits, Malformed, read_head};
use super::LIMITS;

fn framing_of(head: &[u8], limits: HeadLimits) -> Result<Framing, Malformed> {
    read_head(head, limits).map(|head| head.framing)
}

/// What a head comes to.
#[track_caller]
fn check(head: &str, expected: Result<Framing, Malformed>) {
    check_bytes(head.as_bytes(), expected);
}

#[track_caller]
fn check_bytes(head: &[u8], expected: Result<Framing, Malformed>) {
    assert_eq!(framing_of(head, LIMITS), expected, "{}", head.escape_ascii());
}

/// What a request line comes to, in an otherwise good head.
#[track_caller]
fn check_line(line: &str, expected: Result<(), Malformed>) {
    let head = format!("{line}\r\nHost: gw.test\r\n\r\n");
    check(&head, expected.map(|()| Framing::Length(0)));
}

/// What header lines come to on a POST.
#[track_caller]
fn check_post(lines: &str, expected: Result<Framing, Malformed>) {
    check(&format!("POST /x HTTP/1.1\r\nHost: gw.test\r\n{lines}\r\n"), expected);
}

#[test]
fn ordinary_heads_pass() {
    check("GET / HTTP/1.1\r\nHost: gw.test\r\n\r\n", Ok(Framing::Length(0)));
    check("GET /a?b=c HTTP/1.0\r\nhost: gw.test\r\n\r\n", Ok(Framing::Length(0)));
    check_post("", Ok(Framing::Length(0)));
    check_post("Content-Length: 0\r\n", Ok(Framing::Length(0)));
    check_post("content-length:12\r\n", Ok(Framing::Length(12)));
    check_post(
        "Content-Length: \t 9999999999999999999\r\n",
        Ok(Framing::Length(9_999_999_999_999_999_999)),
    );
    check_post("TRANSFER-ENCODING: chunked\r\n", Ok(Framing::Chunked));
    check_post("Content-Length: 3\r\nExpect: 100-continue\r\n", Ok(Framing::Length(3)));
    check_post("Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n", Ok(Framing::Chunked));
    check_bytes(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\t y\r\nY:\r\n\r\n", Ok(Framing::Length(0)));
}

/// Attack S-01 and S-02.
#[test]
fn length_and_chunked_do_not_come_together() {
    for lines in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    ] {
        check_post(lines, Err(Malformed::AmbiguousLength));
    }
}

/// Attack S-03.
#[test]
fn other_transfer_encodings_are_refused() {
    for value in [
        "xchunked",
        "chunked, identity",
        "identity",
        "chunked;a=b",
        "\"chunked\"",
        "Chunked",
        "CHUNKED",
        "gzip, chunked",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "chunked ",
        "chunked\t",
        "",
        "identity, chunked",
        "chunked chunked",
        "cow",
        "chunke",
    ] {
        check_post(&format!("Transfer-Encoding: {value}\r\n"), Err(Malformed::TransferEncoding));
    }
    check_post(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        Err(Malformed::TransferEncoding),
    );
    check_post(
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        Err(Malformed::TransferEncoding),
    );
}

/// Attack S-03.
#[test]
fn obfuscated_header_lines_are_refused() {
    for lines in [
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "\tTransfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding\r\n: chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\x0b\r\n",
        "Transfer-Encoding: chun\0ked\r\n",
        "Transfer-Encoding: chunked\r\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n",
        "Transfer\u{b}Encoding: chunked\r\n",
        "Tränsfer-Encoding: chunked\r\n",
        ": chunked\r\n",
        "no colon\r\n",
        "(x): y\r\n",
        "x y: z\r\n",
        "X: \x7f\r\n",
    ] {
        let judged =
            framing_of(format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n").as_bytes(), LIMITS);
        let refused = matches!(judged, Err(Malformed::Header | Malformed::TransferEncoding));
        assert!(refused, "{lines:?}: {judged:?}");
    }
}

/// Attack S-04.
#[test]
fn chunked_is_not_of_http_10() {
    check(
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        Err(Malformed::TransferEncoding),
    );
    check("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\n", Ok(Framing::Length(3)));
}

/// Attack S-05.
#[test]
fn content_length_is_one_plain_number() {
    for value in [
        "",
        " ",
        "3, 4",
        "3,3",
        "+3",
        "-3",
        "0x3",
        "3 ",
        "3\t",
        "003",
        "00",
        "3.0",
        "3e1",
        "a",
        "٣",
        "12345678901234567890",
        "99999999999999999999999",
        "1 2",
        "3;",
        "\"3\"",
    ] {
        check_post(&format!("Content-Length: {value}\r\n"), Err(Malformed::ContentLength));
    }
    for lines in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content-Length: 0\r\ncontent-length: 0\r\n",
    ] {
        check_post(lines, Err(Malformed::ContentLength));
    }
}

/// Attack S-08.
#[test]
fn bare_line_feeds_are_refused() {
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        check(head, Err(Malformed::LineEnd));
    }
}

/// Attacks S-10 and S-11.
#[test]
fn methods_without_a_body_admit_none() {
    for method in ["GET", "HEAD", "OPTIONS"] {
        for lines in ["Content-Length: 44\r\n", "Transfer-Encoding: chunked\r\n"] {
            let head = format!("{method} /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            check(&head, Err(Malformed::UnexpectedBody));
        }
        let head = format!("{method} /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        check(&head, Ok(Framing::Length(0)));
    }
}

/// Attack S-12.
#[test]
fn expectations_are_exactly_one() {
    for lines in [
        "Expect: 100-continue\r\n",
        "Content-Length: 3\r\nExpect: y 100-continue\r\n",
        "Content-Length: 3\r\nExpect: 100-continue, x\r\n",
        "Content-Length: 3\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n",
        "Content-Length: 3\r\nExpect:\r\n",
        "Content-Length: 3\r\nExpect: 200-ok\r\n",
    ] {
        check_post(lines, Err(Malformed::Expect));
    }
    let get = "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    check(get, Err(Malformed::Expect));
}

/// Attack S-16.
#[test]
fn only_http_11_and_10_are_spoken() {
    for version in
        ["HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1", "HTTP/11", "HTTP/1.1x", "HTTP/0.9", ""]
    {
        check_line(&format!("GET / {version}"), Err(Malformed::Version));
    }
}

/// Attack S-16.
#[test]
fn request_line_is_three_words() {
    for line in [
        "GET /",
        "GET",
        "",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET / x HTTP/1.1",
    ] {
        check_line(line, Err(Malformed::RequestLine));
    }
    check_line("GET\t/\tHTTP/1.1", Err(Malformed::RequestLine));
}

/// Attacks I-14 and P-18.
#[test]
fn other_methods_are_refused() {
    for method in ["get", "GeT", "FOO", "PRI", "TRACE", "CONNECT", "GETX", "G\0T", &"M".repeat(64)]
    {
        check_line(&format!("{method} / HTTP/1.1"), Err(Malformed::Method));
    }
}

/// Attacks P-10, P-11, P-17 and P-18.
#[test]
fn other_forms_of_target_are_refused() {
    for target in [
        "*",
        "evil:80",
        "http://gw.test/",
        "https://u:p@gw.test/",
        "x",
        "/a#b",
        "/#",
        "/\0",
        "/a\tb",
        "/ä",
        "/\x7f",
        "/\"",
        "/?<",
        "/>",
        "/`",
    ] {
        check_line(&format!("GET {target} HTTP/1.1"), Err(Malformed::Target));
    }
}

/// Attack H-03.
#[test]
fn host_comes_exactly_once() {
    for lines in ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nHOST: a\r\n", "Hosts: a\r\n"] {
        check(&format!("GET / HTTP/1.1\r\n{lines}\r\n"), Err(Malformed::Host));
    }
}

/// Attack P-25.
#[test]
fn long_targets_are_refused() {
    let target = |length: usize| format!("GET /{} HTTP/1.1", "a".repeat(length - 1));
    check_line(&target(512), Ok(()));
    check_line(&target(513), Err(Malformed::TargetTooLong));
}

/// Attack D-04.
#[test]
fn many_headers_are_refused() {
    let lines = |count: usize| "X: y\r\n".repeat(count - 1);
    check_post(&lines(16), Ok(Framing::Length(0)));
    check_post(&lines(17), Err(Malformed::HeadTooLarge));
}

proptest! {
    #[test]
    fn checking_never_panics(head in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = framing_of(&head, LIMITS);
    }

    /// Another head may follow, or a body, and there may be empty lines in it.
    #[test]
    fn head_ends_with_the_first_empty_line(
        lines in "(A: b\r\n|Content-Length: 3\r\n|c\r\n|\r\n|\n|\r){0,4}",
        rest in "(GET / HTTP/1.1\r\n|Host: b\r\n|\r\n|d){0,6}",
    ) {
        let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{rest}");
        if let Ok((head, length)) = read_first_head(bytes.as_bytes(), LIMITS) {
            prop_assert_eq!(length, bytes.find("\r\n\r\n").unwrap() + 4);
            prop_assert_eq!(head.head.bytes_kept(), length, "nothing of what follows");
            let (whole, _) = bytes.split_at(length);
            prop_assert_eq!(head.head.fields().len() + 2, whole.lines().count());
        }
    }

    #[test]
    fn accepted_heads_have_one_host_and_one_length(
        lines in proptest::collection::vec(
            prop_oneof![
                Just("Host: a"), Just("host: b"), Just("Content-Length: 3"),
                Just("content-length: 4"), Just("Transfer-Encoding: chunked"), Just("X: y"),
                Just("Content-Length: 03"), Just("transfer-encoding: gzip"),
            ],
            0..5,
        ),
        method in prop_oneof![Just("GET"), Just("POST")],
    ) {
        let limits = HeadLimits { headers_max: 100, ..LIMITS };
        let head = format!("{method} / HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
        let Ok(framing) = framing_of(head.as_bytes(), limits) else { return Ok(()) };
        let count = |name: &str| lines.iter().filter(|l| l.to_lowercase().starts_with(name)).count();
        prop_assert_eq!(count("host:"), 1);
        prop_assert!(count("content-length:") + count("transfer-encoding:") <= 1);
        prop_assert_eq!(framing == Framing::Chunked, count("transfer-encoding:") == 1);
    }
}
