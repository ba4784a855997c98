//! An upstream that keeps every byte it is sent, normalises nothing, and answers as it is told.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::Duration;

use super::reply::{Reply, Step};
use super::wire::{Framing, Head, Recorded, chunked_body, head_end};
use super::{DEADLINE, letta};

/// Replies that may wait for their turn on one connection.
const REPLIES_MAX: usize = 1000;

/// A raw TCP server on a free port of the loopback interface.
pub(crate) struct Recorder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// Everything that has been received so far.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    /// In the order in which they were complete.
    pub(crate) requests: Vec<Recorded>,
    pub(crate) connections: Vec<SeenConnection>,
}

/// One connection as the recorder saw it.
#[derive(Clone, Default)]
pub(crate) struct SeenConnection {
    /// Every byte received.
    pub(crate) bytes: Vec<u8>,
    /// Whether the other side has ended it, or it has failed.
    pub(crate) closed: bool,
    /// Whether the recorder has ended its side of it.
    pub(crate) ended: bool,
    /// Why its bytes are not a sequence of requests.
    pub(crate) problem: Option<String>,
}

type Handler = Box<dyn Fn(&Recorded) -> Reply + Send + Sync>;

struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    queue: Mutex<VecDeque<Reply>>,
    handler: Handler,
    early: AtomicBool,
    streams: Mutex<Vec<Weak<TcpStream>>>,
    stopping: AtomicBool,
}

impl Recorder {
    /// Answers as Letta would; see [`letta`].
    pub(crate) fn start() -> Self {
        Self::with(letta)
    }

    /// Answers each request as `handler` says.
    pub(crate) fn with(handler: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            changed: Condvar::new(),
            queue: Mutex::default(),
            handler: Box::new(handler),
            early: AtomicBool::new(false),
            streams: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the next request that the queue has not answered with this, before any handler.
    pub(crate) fn answer_next(&self, reply: Reply) {
        self.shared.queue.lock().unwrap().push_back(reply);
    }

    /// Answers from now on when the head is complete, and keeps reading whatever follows.
    pub(crate) fn answer_early(&self) {
        self.shared.early.store(true, Ordering::SeqCst);
    }

    /// All requests so far; panics when something arrived that is no request.
    #[track_caller]
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        let seen = self.seen();
        for connection in &seen.connections {
            assert_eq!(connection.problem, None, "in {:?}", text(&connection.bytes));
        }
        seen.requests.clone()
    }

    /// The only request so far.
    #[track_caller]
    pub(crate) fn only_request(&self) -> Recorded {
        let mut requests = self.requests();
        let lines: Vec<&str> = requests.iter().map(|request| request.head.line.as_str()).collect();
        assert_eq!(requests.len(), 1, "one request, not {lines:?}");
        requests.remove(0)
    }

    /// Fails when one byte has reached the upstream.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        let seen = self.seen();
        let bytes: Vec<u8> = seen.connections.iter().flat_map(|c| c.bytes.clone()).collect();
        assert!(bytes.is_empty(), "the upstream received {:?}", text(&bytes));
    }

    /// Every byte of each connection.
    pub(crate) fn connections(&self) -> Vec<Vec<u8>> {
        self.seen().connections.iter().map(|connection| connection.bytes.clone()).collect()
    }

    /// How many bytes it has received on all connections.
    pub(crate) fn bytes_total(&self) -> usize {
        self.seen().connections.iter().map(|connection| connection.bytes.len()).sum()
    }

    /// Waits until what was received fulfils `condition`.
    #[track_caller]
    pub(crate) fn wait_for(&self, claim: &str, condition: impl Fn(&Seen) -> bool) {
        let (seen, timeout) = self
            .shared
            .changed
            .wait_timeout_while(self.seen(), DEADLINE, |seen| !condition(seen))
            .unwrap();
        drop(seen);
        assert!(!timeout.timed_out(), "the upstream never saw: {claim}");
    }

    /// Waits until so many requests are complete.
    #[track_caller]
    pub(crate) fn wait_for_requests(&self, count: usize) {
        self.wait_for(&format!("{count} requests"), |seen| seen.requests.len() >= count);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen.lock().unwrap()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it should end.
        let _ = TcpStream::connect(self.address);
        for stream in self.shared.streams.lock().unwrap().iter().filter_map(Weak::upgrade) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }

    fn reply_to(&self, request: &Recorded) -> Reply {
        let queued = self.queue.lock().unwrap().pop_front();
        queued.unwrap_or_else(|| (self.handler)(request))
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let mut number = 0;
        shared.change(|seen| {
            number = seen.connections.len();
            seen.connections.push(SeenConnection::default());
        });
        let stream = Arc::new(stream);
        shared.streams.lock().unwrap().push(Arc::downgrade(&stream));
        let (steps, taken) = sync_channel(REPLIES_MAX);
        let (writing, told) = (Arc::clone(&stream), Arc::clone(shared));
        thread::spawn(move || write(&writing, number, &told, &taken));
        let shared = Arc::clone(shared);
        thread::spawn(move || read(&stream, number, &shared, &steps));
    }
}

/// Reads one connection to its end.
fn read(mut stream: &TcpStream, number: usize, shared: &Shared, steps: &SyncSender<Reply>) {
    let (mut pending, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let Ok(length @ 1..) = stream.read(&mut buffer) else {
            shared.change(|seen| seen.connections[number].closed = true);
            return;
        };
        let bytes = &buffer[..length];
        pending.extend_from_slice(bytes);
        shared.change(|seen| seen.connections[number].bytes.extend_from_slice(bytes));
        loop {
            match next_request(&mut pending, number, shared.early.load(Ordering::SeqCst)) {
                Ok(None) => break,
                Ok(Some(request)) => {
                    let reply = shared.reply_to(&request);
                    shared.change(|seen| seen.requests.push(request));
                    // The writer is gone once it has closed the connection.
                    let _ = steps.send(reply);
                }
                Err(problem) => {
                    shared.change(|seen| seen.connections[number].problem = Some(problem));
                    break;
                }
            }
        }
    }
}

/// Takes the first request off `pending`, if it is complete; its head is enough when `early`.
fn next_request(
    pending: &mut Vec<u8>,
    connection: usize,
    early: bool,
) -> Result<Option<Recorded>, String> {
    let Some(head_end) = head_end(pending) else { return Ok(None) };
    let head = Head::parse(&pending[..head_end])?;
    let rest = &pending[head_end..];
    let complete = match head.framing()? {
        _ if early => Some((Vec::new(), rest.len())),
        Framing::Unsaid => Some((Vec::new(), 0)),
        Framing::Length(length) => rest.get(..length).map(|body| (body.to_vec(), length)),
        Framing::Chunked => chunked_body(rest)?,
    };
    let Some((body, length)) = complete else { return Ok(None) };
    let raw = pending.drain(..head_end + length).collect();
    Ok(Some(Recorded { connection, raw, head, body }))
}

/// Takes the steps of each reply.
fn write(mut stream: &TcpStream, number: usize, shared: &Shared, replies: &Receiver<Reply>) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(DEADLINE));
    for step in replies.iter().flat_map(|reply| reply.0) {
        match step {
            Step::Send(bytes) => {
                if stream.write_all(&bytes).is_err() {
                    return;
                }
            }
            Step::Wait(signal) => {
                if !signal.wait() {
                    return;
                }
            }
            Step::Raise(signal) => signal.raise(),
            Step::Close => {
                let _ = stream.shutdown(Shutdown::Write);
                shared.change(|seen| seen.connections[number].ended = true);
                return;
            }
            Step::Reset => {
                let socket = socket2::SockRef::from(stream);
                socket.set_linger(Some(Duration::ZERO)).unwrap();
                // The reset goes out when the last owner lets go, and this ends the reader.
                let _ = stream.shutdown(Shutdown::Read);
                return;
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
