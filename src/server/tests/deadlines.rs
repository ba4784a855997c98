use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::{HEADER_TIMEOUT, KEEP_ALIVE, STALL_TIMEOUT, serve};

/// How long the gate keeps a connection on which `client` does something and then nothing.
async fn check(client: impl AsyncFn(&mut DuplexStream), kept_for: Duration) {
    let (mut end, server) = tokio::io::duplex(1024);
    let kept = LocalSet::new()
        .run_until(async {
            let began = Instant::now();
            let serving = tokio::task::spawn_local(async move {
                serve(server, 1 << 20).await;
                began.elapsed()
            });
            client(&mut end).await;
            serving.await.unwrap()
        })
        .await;
    assert!(kept >= kept_for && kept < kept_for + Duration::from_millis(600), "{kept:?}");
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Attack D-01.
#[tokio::test(start_paused = true)]
async fn silent_client_is_dropped_after_the_header_timeout() {
    check(async |_| {}, HEADER_TIMEOUT).await;
}

/// Attack D-01.
#[tokio::test(start_paused = true)]
async fn trickling_head_is_dropped_after_the_header_timeout() {
    let trickle = async |client: &mut DuplexStream| {
        for byte in REQUEST.iter().take(20) {
            if client.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    check(trickle, HEADER_TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn later_heads_have_their_time_from_their_first_byte() {
    let later = async |client: &mut DuplexStream| {
        client.write_all(REQUEST).await.unwrap();
        let mut answer = vec![0; 1 << 20];
        client.read_exact(&mut answer).await.unwrap();
        tokio::time::sleep(Duration::from_secs(30)).await;
        client.write_all(b"GET").await.unwrap();
        let _ = client.read_to_end(&mut answer).await;
    };
    check(later, Duration::from_secs(30) + HEADER_TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn idle_connection_is_kept_for_the_keep_alive_time() {
    let idle = async |client: &mut DuplexStream| {
        client.write_all(REQUEST).await.unwrap();
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    check(idle, KEEP_ALIVE).await;
}

/// Attack D-02.
#[tokio::test(start_paused = true)]
async fn client_that_takes_no_answer_is_dropped_after_the_stall_timeout() {
    check(async |client| client.write_all(REQUEST).await.unwrap(), STALL_TIMEOUT).await;
}
