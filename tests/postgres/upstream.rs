//! An agents API that answers the same thing for ever and remembers nothing: under load the recorder
//! of the harness would fill the memory.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                        content-length: 2\r\n\r\n[]";
/// One event, and no more until the gate has had enough.
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        transfer-encoding: chunked\r\n\r\nb\r\ndata: one\n\n\r\n";

/// A server on a free port of the loopback interface; its threads end with their connections.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let (mut pending, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        pending.extend_from_slice(&buffer[..length]);
        while let Some(end) = request_end(&pending) {
            let streams = pending[..end].windows(16).any(|part| part == b"/messages/stream");
            if stream.write_all(if streams { STREAM } else { ANSWER }).is_err() {
                return;
            }
            pending.drain(..end);
        }
    }
}

/// Where the first request in `bytes` ends, head and body.
fn request_end(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let body = text
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.split("\r\n").next().unwrap().trim().parse().unwrap());
    (bytes.len() >= head + body).then_some(head + body)
}
