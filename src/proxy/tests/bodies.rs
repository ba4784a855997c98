use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Empty;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::super::{BodyLimits, BodyProblem, collect};
use crate::message::Reply;
use crate::server::{ConnectionSettings, HeadLimits, Incoming, serve_connection};

const LIMITS: BodyLimits =
    BodyLimits { bytes_max: 1000, time_max: Some(Duration::from_secs(30)), rate_min: 10 };

const SETTINGS: ConnectionSettings = ConnectionSettings {
    head: HeadLimits { head_bytes_max: 2048, headers_max: 16, target_bytes_max: 512 },
    header_timeout: Duration::from_mins(5),
    keep_alive_timeout: Duration::from_mins(5),
    write_stall_timeout: Duration::from_mins(5),
};

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
    LocalSet::new().run_until(read_locally(limits, framing, pieces, leaves)).await
}

async fn read_locally(
    limits: BodyLimits,
    framing: &str,
    pieces: &[(u64, &[u8])],
    leaves: bool,
) -> Outcome {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let (sender, receiver) = oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let service = async move |incoming: &mut Incoming| {
        let sender = sender.lock().unwrap().take();
        let began = Instant::now();
        let outcome = match collect(incoming.take_body(), limits).await {
            Ok(bytes) => Outcome::Whole(bytes.len()),
            Err(BodyProblem::TooLarge(max)) => {
                assert_eq!(max, limits.bytes_max);
                Outcome::TooLarge
            }
            Err(BodyProblem::TooSlow) => Outcome::TooSlow(began.elapsed().as_secs()),
            Err(BodyProblem::Broken(_)) => Outcome::Broken,
        };
        sender.unwrap().send(outcome).unwrap();
        Reply::new(StatusCode::OK, Empty::<Bytes>::new())
    };
    let connection = tokio::task::spawn_local(async move {
        let never = |_: &mut Context<'_>| Poll::Pending;
        let (_drain, draining) = watch::channel(false);
        serve_connection(server, SETTINGS, Rc::default(), service, draining, never).await;
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
