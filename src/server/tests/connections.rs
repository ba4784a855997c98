use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::super::{ConnectionCount, Malformed, accept, bind, listen};
use super::{LIMITS, Seen, exchange, serve, statuses};

/// What one head comes to on a connection of its own.
async fn check(head: &str, expected: Seen) {
    let (seen, answer) = exchange(&[head.as_bytes()]).await;
    let status = if expected.is_ok() { "200" } else { "400" };
    assert_eq!(seen, [expected], "{head:?}");
    assert_eq!(statuses(&answer), [status], "{head:?}");
}

async fn check_get(target: &str, lines: &str, expected: Result<(), Malformed>) {
    let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}Connection: close\r\n\r\n");
    check(&head, expected.map(|()| format!("GET {target} Ok(\"\")"))).await;
}

#[tokio::test]
async fn every_visible_character_but_a_few_may_stand_in_a_target() {
    let mut not_served = Vec::new();
    for c in (0x21..=0x7e).map(char::from) {
        for target in [format!("/a{c}b"), format!("/a?b{c}c")] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            if exchange(&[head.as_bytes()]).await.0.len() != 1 {
                not_served.push(target);
            }
        }
    }
    assert_eq!(not_served, [""; 0]);
}

#[tokio::test]
async fn every_character_of_a_token_may_stand_in_a_header_name() {
    let names = "!#$%&'*+-.^_`|~09azAZ";
    check_get("/", &format!("{names}: \t x \u{ff}\r\n"), Ok(())).await;
    for c in names.chars() {
        check_get("/", &format!("{c}: y\r\n"), Ok(())).await;
    }
    check_get("/", "X:\r\n", Ok(())).await;
}

/// Attack D-04.
#[tokio::test]
async fn heads_up_to_the_limits_pass_and_no_further() {
    check_get("/", &"X: y\r\n".repeat(LIMITS.headers_max - 2), Ok(())).await;
    let many = "X: y\r\n".repeat(LIMITS.headers_max - 1);
    check_get("/", &many, Err(Malformed::HeadTooLarge)).await;
    let around = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\nConnection: close\r\n\r\n".len();
    let line = |length: usize| format!("X: {}\r\n", "y".repeat(length - around));
    check_get("/", &line(LIMITS.head_bytes_max), Ok(())).await;
    check_get("/", &line(LIMITS.head_bytes_max + 1), Err(Malformed::HeadTooLarge)).await;
    let target = |length: usize| format!("/{}", "a".repeat(length - 1));
    check_get(&target(LIMITS.target_bytes_max), "", Ok(())).await;
    check_get(&target(LIMITS.target_bytes_max + 1), "", Err(Malformed::TargetTooLong)).await;
}

/// A head that never ends is refused while it is still coming.
#[tokio::test]
async fn endless_heads_are_refused_at_their_limit() {
    for (beginning, refusal) in [
        ("GET /".to_owned(), Malformed::TargetTooLong),
        (String::new(), Malformed::TargetTooLong),
        ("GET / HTTP/1.1\r\nX: ".to_owned(), Malformed::HeadTooLarge),
        ("GET / HTTP/1.1\r\n".to_owned() + &"X: y\r\n".repeat(100), Malformed::HeadTooLarge),
    ] {
        let mut pieces = vec![beginning.as_bytes()];
        pieces.extend(std::iter::repeat_n(&[b'a'; 100][..], 40));
        let (seen, answer) = exchange(&pieces).await;
        assert_eq!(seen, [Err(refusal)], "{beginning:?}");
        assert_eq!(statuses(&answer), ["400"]);
    }
}

/// Attack S-13, over a socket: the bytes of an unread body are never parsed as a request.
#[tokio::test]
async fn requests_over_a_real_socket_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = async {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::task::spawn_local(serve(stream, 2)).await.unwrap()
    };
    let client = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        let bytes = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n\
            GET /inner HTTP/1.1\r\nHost: a\r\nPOST /b HTTP/1.1\r\nHost: a\r\n\
            Transfer-Encoding: gzip, chunked\r\n\r\nGET /canary HTTP/1.1\r\nHost: a\r\n\r\n";
        client.write_all(bytes).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (seen, answer) = LocalSet::new().run_until(async { tokio::join!(served, client) }).await;
    let inner = r#"POST /a Ok("GET /inner HTTP/1.1\r\nHost: a\r\n")"#.to_owned();
    assert_eq!(seen, [Ok(inner), Err(Malformed::TransferEncoding)]);
    assert_eq!(statuses(&answer), ["200", "400"]);
}

#[tokio::test]
async fn accepted_connections_do_not_hold_small_pieces_back() {
    let socket = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = listen(socket).unwrap();
    let count = Arc::new(ConnectionCount::new(1, Arc::default()));
    let (accepted, client) = tokio::join!(accept(&listener, &count), TcpStream::connect(address));
    assert!(accepted.0.nodelay().unwrap());
    drop(client);
}
