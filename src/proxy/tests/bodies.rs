use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::super::{BodyLimits, BodyProblem, collect};

const LIMITS: BodyLimits =
    BodyLimits { bytes_max: 1000, time_max: Some(Duration::from_secs(30)), rate_min: 10 };

const CHUNKED: &str = "transfer-encoding: chunked";

/// What became of a body, and after how many seconds.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Whole(usize),
    TooLarge,
    TooSlow(u64),
    Broken,
}

/// Reads the body of a request whose bytes come in pieces, each after so many seconds. The client
/// then stays silent, or leaves if `leaves`.
async fn read(limits: BodyLimits, framing: &str, pieces: &[(u64, &[u8])], leaves: bool) -> Outcome {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let (sender, receiver) = oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let service = service_fn(move |request: Request<Incoming>| {
        let sender = sender.lock().unwrap().take();
        async move {
            let began = Instant::now();
            let outcome = match collect(request.into_body().into(), limits).await {
                Ok(bytes) => Outcome::Whole(bytes.len()),
                Err(BodyProblem::TooLarge(max)) => {
                    assert_eq!(max, limits.bytes_max);
                    Outcome::TooLarge
                }
                Err(BodyProblem::TooSlow) => Outcome::TooSlow(began.elapsed().as_secs()),
                Err(BodyProblem::Broken(_)) => Outcome::Broken,
            };
            sender.unwrap().send(outcome).unwrap();
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = tokio::spawn(async move {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(server), service).await;
    });
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    for (seconds, piece) in pieces {
        sleep(Duration::from_secs(*seconds)).await;
        // The gate may have given up.
        let _ = client.write_all(piece).await;
    }
    if leaves {
        drop(client);
    }
    let outcome = receiver.await.unwrap();
    connection.abort();
    outcome
}

#[tokio::test(start_paused = true)]
async fn body_within_its_limits_is_read_whole() {
    let outcome = read(LIMITS, "content-length: 3", &[(0, b"abc")], false).await;
    assert_eq!(outcome, Outcome::Whole(3));
    let outcome = read(LIMITS, "content-length: 1000", &[(1, &[b'x'; 1000])], false).await;
    assert_eq!(outcome, Outcome::Whole(1000));
    let outcome = read(LIMITS, CHUNKED, &[(0, b"3\r\nabc\r\n"), (1, b"0\r\n\r\n")], false).await;
    assert_eq!(outcome, Outcome::Whole(3));
    let outcome = read(LIMITS, "content-length: 0", &[], false).await;
    assert_eq!(outcome, Outcome::Whole(0));
}

/// Attack D-09: a length that is known to be too large is refused before a byte of it is read.
#[tokio::test(start_paused = true)]
async fn body_that_is_too_large_is_refused() {
    assert_eq!(read(LIMITS, "content-length: 1001", &[], false).await, Outcome::TooLarge);
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    let pieces = [(0, chunk.as_bytes()), (0, b"1\r\nx\r\n".as_slice())];
    assert_eq!(read(LIMITS, CHUNKED, &pieces, false).await, Outcome::TooLarge);
}

/// Attack D-02.
#[tokio::test(start_paused = true)]
async fn silent_body_is_given_up_after_its_grace() {
    assert_eq!(read(LIMITS, "content-length: 9", &[], false).await, Outcome::TooSlow(10));
    let outcome = read(LIMITS, "content-length: 9", &[(5, b"abc")], false).await;
    assert_eq!(outcome, Outcome::TooSlow(10), "3 bytes buy no second");
}

/// Attack D-02.
#[tokio::test(start_paused = true)]
async fn received_bytes_buy_time_at_the_minimum_rate() {
    let pieces: [(u64, &[u8]); 1] = [(0, &[b'x'; 50])];
    assert_eq!(read(LIMITS, "content-length: 99", &pieces, false).await, Outcome::TooSlow(15));
    let steady: Vec<(u64, &[u8])> = vec![(1, &[b'x'; 10]); 20];
    assert_eq!(read(LIMITS, "content-length: 200", &steady, false).await, Outcome::Whole(200));
    let trickle: Vec<(u64, &[u8])> = vec![(1, b"x"); 100];
    assert_eq!(read(LIMITS, "content-length: 100", &trickle, false).await, Outcome::TooSlow(11));
}

#[tokio::test(start_paused = true)]
async fn whole_body_has_a_deadline_whatever_its_rate() {
    let steady: Vec<(u64, &[u8])> = vec![(1, &[b'x'; 20]); 50];
    assert_eq!(read(LIMITS, "content-length: 1000", &steady, false).await, Outcome::TooSlow(30));
    let unhurried = BodyLimits { time_max: None, ..LIMITS };
    assert_eq!(read(unhurried, "content-length: 1000", &steady, false).await, Outcome::Whole(1000));
}

#[tokio::test(start_paused = true)]
async fn body_that_breaks_off_is_broken() {
    let outcome = read(LIMITS, "content-length: 9", &[(0, b"abc")], true).await;
    assert_eq!(outcome, Outcome::Broken);
    let outcome = read(LIMITS, CHUNKED, &[(0, b"3\r\nabc\r\n")], true).await;
    assert_eq!(outcome, Outcome::Broken);
}
