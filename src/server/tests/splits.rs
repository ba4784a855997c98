use super::super::Malformed;
use super::{Seen, exchange, statuses};

/// Three requests on one connection, the last of which closes it.
const PIPELINED: &str = "POST /a HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 5\r\n\r\nhello\
    POST /b HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
    GET /c?d=e HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n";

/// The bytes of a connection are understood alike however they arrive.
async fn check(bytes: &str, expected: &[Seen], answered: &[&str]) {
    let bytes = bytes.as_bytes();
    let mut ways: Vec<Vec<&[u8]>> = vec![vec![bytes], bytes.chunks(1).collect()];
    ways.extend((1..bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]));
    for pieces in ways {
        let (seen, answer) = exchange(&pieces).await;
        let first = pieces[0].len();
        assert_eq!(seen, expected, "split at {first}: {}", bytes.escape_ascii());
        assert_eq!(statuses(&answer), answered, "split at {first}: {}", bytes.escape_ascii());
    }
}

#[tokio::test]
async fn pipelined_requests_are_told_apart_at_every_split() {
    let expected = [
        Ok("POST /a Ok(\"hello\")".to_owned()),
        Ok("POST /b Ok(\"abc\")".to_owned()),
        Ok("GET /c?d=e Ok(\"\")".to_owned()),
    ];
    check(PIPELINED, &expected, &["200", "200", "200"]).await;
}

/// What comes at once ends with an empty line that is none of the head.
#[tokio::test]
async fn bodies_that_end_like_a_head_are_bodies() {
    let bytes = "POST /a HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 6\r\n\r\nb:\r\n\r\n\
        GET /c HTTP/1.1\r\nHost: gw.test\r\n\r\nPOST /d HTTP/1.1\r\nHost: gw.test\r\n\
        Content-Length: 4\r\nConnection: close\r\n\r\n\r\n\r\n";
    let expected = [
        Ok("POST /a Ok(\"b:\\r\\n\\r\\n\")".to_owned()),
        Ok("GET /c Ok(\"\")".to_owned()),
        Ok("POST /d Ok(\"\\r\\n\\r\\n\")".to_owned()),
    ];
    check(bytes, &expected, &["200", "200", "200"]).await;
}

/// Attack S-13: a refused head is answered once, and what follows it is never read as a request.
#[tokio::test]
async fn nothing_behind_a_refused_head_is_a_request() {
    let bytes = "GET /a HTTP/1.1\r\nHost: gw.test\r\n\r\n\
        GET /b HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\nGET /canary HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    check(bytes, &[Ok("GET /a Ok(\"\")".to_owned()), Err(Malformed::Host)], &["200", "400"]).await;
}

/// Attack S-01.
#[tokio::test]
async fn ambiguous_body_smuggles_nothing() {
    let bytes = "POST /a HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 6\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    check(bytes, &[Err(Malformed::AmbiguousLength)], &["400"]).await;
}

/// Attack S-08: refused as soon as the line end is seen.
#[tokio::test]
async fn bare_line_feed_is_refused_at_every_split() {
    let bytes = "GET /a HTTP/1.1\nHost: gw.test\n\nGET /canary HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    check(bytes, &[Err(Malformed::LineEnd)], &["400"]).await;
}

#[tokio::test]
async fn empty_line_before_a_request_is_refused_at_every_split() {
    let bytes = "\r\nGET /canary HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    check(bytes, &[Err(Malformed::RequestLine)], &["400"]).await;
}

/// Attack S-10.
#[tokio::test]
async fn request_hidden_in_the_body_of_a_get_is_never_read() {
    let bytes = "GET /a HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 44\r\n\r\n\
        GET /canary HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    check(bytes, &[Err(Malformed::UnexpectedBody)], &["400"]).await;
}

/// Attack S-06: a body whose framing breaks ends the connection; what follows is not a request.
#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let bytes = "POST /a HTTP/1.1\r\nHost: gw.test\r\nTransfer-Encoding: chunked\r\n\r\n\
        3 \r\nabc\r\n0\r\n\r\nGET /canary HTTP/1.1\r\nHost: gw.test\r\n\r\n";
    let bytes = bytes.as_bytes();
    for at in 1..bytes.len() {
        let (seen, answer) = exchange(&[&bytes[..at], &bytes[at..]]).await;
        let canary = seen.iter().flatten().any(|request| request.contains("canary"));
        assert!(!canary && seen.len() <= 1, "{seen:?}");
        assert!(!answer.contains("200 OK\r\n") || seen.len() == 1, "{answer}");
    }
}
