mod chunked;
mod connections;
mod deadlines;
mod heads;
mod splits;

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::{ConnectionSettings, HeadLimits, Incoming, Malformed, serve_connection};
use crate::message::Reply;

const LIMITS: HeadLimits =
    HeadLimits { head_bytes_max: 2048, headers_max: 16, target_bytes_max: 512 };
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// What a service was asked: a request with its body, or a stand-in for a refused head.
type Seen = Result<String, Malformed>;

/// Serves one connection to its end and tells what the service was asked. Refusals are answered
/// with 400 and a closed connection, as the data path does.
async fn serve<S>(stream: S, answer_bytes: usize) -> Vec<Seen>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let settings = ConnectionSettings {
        head: LIMITS,
        header_timeout: HEADER_TIMEOUT,
        keep_alive_timeout: KEEP_ALIVE,
        write_stall_timeout: STALL_TIMEOUT,
    };
    let seen = RefCell::new(Vec::new());
    let service = async |incoming: &mut Incoming| {
        let body = incoming.take_body();
        let Incoming { head, well_formed, .. } = incoming;
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        let body = body.map_err(|_| "broken".to_owned());
        let body = body.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let refused = well_formed.is_err();
        let request = format!("{} {} {body:?}", head.method, head.target());
        seen.borrow_mut().push(well_formed.map(|()| request));
        let answer = Full::new(Bytes::from(vec![b'x'; answer_bytes]));
        let mut reply = Reply::new(StatusCode::OK, answer);
        if refused {
            reply.status = StatusCode::BAD_REQUEST;
            reply.fields.append("connection", b"close");
        }
        reply
    };
    let (_drain, draining) = watch::channel(false);
    let never = |_: &mut std::task::Context<'_>| Poll::Pending;
    serve_connection(stream, settings, Rc::default(), service, draining, never).await;
    seen.into_inner()
}

/// Sends pieces, each read by itself, and reads whatever is answered until the connection closes.
async fn exchange(pieces: &[&[u8]]) -> (Vec<Seen>, String) {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    LocalSet::new()
        .run_until(async {
            let serving = tokio::task::spawn_local(serve(server, 2));
            for piece in pieces {
                // The gate may have closed already.
                let _ = client.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            drop(client);
            (serving.await.unwrap(), String::from_utf8(answer).unwrap())
        })
        .await
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.split(' ').next()).collect()
}
