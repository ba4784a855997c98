//! An upstream of event streams: an event every 20 ms, each with the time at which it was sent.
//!
//! `events PORT`. A stream goes on until the client leaves. `every N us` in the request's body asks for
//! another pace. The time is the system's, in ns since 1970, which every process reads alike.

use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

const INTERVAL: Duration = Duration::from_millis(20);
const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

struct Stream {
    due: Instant,
    interval: Duration,
    connection: TcpStream,
    /// What the client had no room for: no further event is sent before it.
    unsent: Vec<u8>,
}

impl Stream {
    /// Sends an event; whether the client is still there.
    fn send(&mut self, head: &str) -> bool {
        if self.unsent.is_empty() {
            let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
            let event = format!("data: {now}\n\n");
            self.unsent = format!("{head}{:x}\r\n{event}\r\n", event.len()).into_bytes();
        }
        match self.connection.write(&self.unsent) {
            Ok(count) => drop(self.unsent.drain(..count)),
            Err(full) if full.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        self.due += self.interval;
        true
    }
}

// The heap's first is the one that is due first.
impl Ord for Stream {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Stream {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Stream {}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let port: u16 = port.ok_or_else(|| io::Error::other("events PORT"))?;
    // Threads that are started later sleep as exactly as this one.
    std::fs::write("/proc/self/timerslack_ns", "1")?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let (begun, streams) = mpsc::channel();
    std::thread::spawn(move || keep_pace(&streams));
    loop {
        let Ok(mut stream) = listener.accept().and_then(|(connection, _)| asked(connection)) else {
            continue;
        };
        if stream.send(HEAD) && begun.send(stream).is_err() {
            return Err(io::Error::other("nobody keeps the pace"));
        }
    }
}

/// Reads a request: what stream it asks for.
fn asked(mut connection: TcpStream) -> io::Result<Stream> {
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = connection.read(&mut buffer)?;
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        let whole = text.split_once("\r\n\r\n").filter(|(head, body)| {
            let length = head.split("\ncontent-length:").nth(1).and_then(|rest| rest.lines().next());
            length.and_then(|digits| digits.trim().parse().ok()).unwrap_or(0) <= body.len()
        });
        if let Some((_, body)) = whole {
            let pace = body.split("every ").nth(1).and_then(|rest| rest.split(" us").next());
            let pace = pace.and_then(|digits| digits.parse().ok()).map(Duration::from_micros);
            connection.set_nonblocking(true)?;
            let (due, interval) = (Instant::now(), pace.unwrap_or(INTERVAL));
            return Ok(Stream { due, interval, connection, unsent: Vec::new() });
        }
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

fn keep_pace(begun: &Receiver<Stream>) {
    let mut streams = BinaryHeap::<Stream>::new();
    loop {
        let idle = Duration::from_secs(3600);
        let wait = streams.peek().map_or(idle, |next| next.due.saturating_duration_since(Instant::now()));
        match begun.recv_timeout(wait) {
            Ok(stream) => streams.push(stream),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        while streams.peek().is_some_and(|next| next.due <= Instant::now()) {
            let still_there = streams.pop().and_then(|mut due| due.send("").then_some(due));
            streams.extend(still_there);
        }
    }
}
