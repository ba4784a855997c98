//! Clients that ask all the time, each in its own manner, and count every request that is not answered.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::http2::Http2;
use crate::harness::{A, Call, DEADLINE, HOST, Pki, agent_path, eventually, says};

/// What a client does with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One request, at once.
    Fresh,
    /// One request, after it has been silent for a while.
    Hesitant,
    /// One request after another, until it is told that the connection closes.
    Kept,
    /// The same, with a body that comes in two parts.
    Sends,
    /// The same over HTTP/2, until it is told to go.
    Http2,
}

/// How long a hesitant client is silent, and a body takes.
const PAUSE: Duration = Duration::from_millis(150);
/// Between two requests of a client: the load is bounded.
const GAP: Duration = Duration::from_millis(5);

/// A load on one address.
pub(crate) struct Load {
    address: SocketAddr,
    token: String,
    /// Whose word is taken for the server's certificate, within TLS.
    pki: Option<Pki>,
    stop: AtomicBool,
    served: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Load {
    pub(crate) fn on(address: SocketAddr, token: String, pki: Option<Pki>) -> Self {
        let (served, failures) = (AtomicUsize::new(0), Mutex::default());
        Self { address, token, pki, stop: AtomicBool::new(false), served, failures }
    }

    /// Lets `clients` ask while `act` runs, and until what they have asked is answered: only then goes
    /// what `act` has returned. Fails if a request was not answered.
    #[track_caller]
    pub(crate) fn while_doing<T>(self, clients: &[(usize, Manner)], act: impl FnOnce(&Self) -> T) {
        let held = std::thread::scope(|scope| {
            // Whatever becomes of `act`, the clients come to an end.
            let _stop = Stop(&self.stop);
            for (count, manner) in clients {
                for _ in 0..*count {
                    scope.spawn(|| self.ask_on(*manner));
                }
            }
            act(&self)
        });
        let (served, failures) = (self.served.into_inner(), self.failures.into_inner().unwrap());
        println!("{served} requests were answered, {} were not", failures.len());
        assert!(failures.is_empty(), "{failures:#?}");
        drop(held);
    }

    /// Waits until so many more requests were answered.
    #[track_caller]
    pub(crate) fn goes_on(&self, more: usize) {
        let enough = self.served.load(Ordering::Relaxed) + more;
        eventually("clients are served", || self.served.load(Ordering::Relaxed) >= enough);
    }

    fn ask_on(&self, manner: Manner) {
        while !self.stop.load(Ordering::Relaxed) {
            let done = match manner {
                Manner::Http2 => self.ask_over_http2(),
                _ => self.ask_over_http1(manner),
            };
            if let Err(error) = done {
                self.failures.lock().unwrap().push(format!("{manner:?}: {error}"));
            }
            std::thread::sleep(GAP);
        }
    }

    fn ask_over_http1(&self, manner: Manner) -> Result<()> {
        let mut stream = self.connect()?;
        if manner == Manner::Hesitant {
            std::thread::sleep(PAUSE);
        }
        let (head, body) = self.request(manner);
        loop {
            stream.write_all(&head)?;
            stream.flush()?;
            if !body.is_empty() {
                std::thread::sleep(PAUSE);
                stream.write_all(&body)?;
                stream.flush()?;
            }
            let closes = read_answer(&mut *stream)?;
            self.served.fetch_add(1, Ordering::Relaxed);
            let goes_on = matches!(manner, Manner::Kept | Manner::Sends) && !closes;
            if !goes_on || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            std::thread::sleep(GAP);
        }
    }

    fn ask_over_http2(&self) -> Result<()> {
        let mut connection = Http2::open(self.address, self.pki.as_ref().unwrap());
        let call = self.call();
        while !self.stop.load(Ordering::Relaxed) {
            match connection.try_send(&call) {
                Ok(answer) if answer.status == 200 => self.served.fetch_add(1, Ordering::Relaxed),
                Ok(answer) => return Err(Error::other(format!("{}", answer.status))),
                // It was told to go, and the request was not looked at (RFC 9113 §6.8).
                Err(error)
                    if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(Error::other(error)),
            };
            std::thread::sleep(GAP);
        }
        Ok(())
    }

    fn connect(&self) -> Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(match &self.pki {
            None => Box::new(stream),
            Some(pki) => Box::new(pki.connect(stream, HOST, &[b"http/1.1"], None)?),
        })
    }

    fn call(&self) -> Call {
        Call::to(self.address, "GET", &agent_path(A, "/messages")).token(&self.token)
    }

    /// The bytes of a request, in the parts in which they are sent.
    fn request(&self, manner: Manner) -> (Vec<u8>, Vec<u8>) {
        if manner != Manner::Sends {
            return (self.call().bytes(), Vec::new());
        }
        let call = Call::to(self.address, "POST", &agent_path(A, "/messages"));
        let mut head = call.token(&self.token).json(&says("hello")).bytes();
        let body = head.split_off(head.len() - 10);
        (head, body)
    }
}

struct Stop<'l>(&'l AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads one answer to its end, which must be 200; whether it says that the connection closes.
fn read_answer(stream: &mut dyn Stream) -> Result<bool> {
    let mut bytes = Vec::new();
    loop {
        if let Some(closes) = whole_answer(&bytes)? {
            return Ok(closes);
        }
        let mut piece = [0; 8192];
        match stream.read(&mut piece)? {
            0 => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return Err(Error::new(ErrorKind::UnexpectedEof, format!("closed after `{text}`")));
            }
            length => bytes.extend_from_slice(&piece[..length]),
        }
    }
}

fn whole_answer(bytes: &[u8]) -> Result<Option<bool>> {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    if !head.starts_with("http/1.1 200 ") {
        return Err(Error::other(text));
    }
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let is_whole = match header("content-length: ") {
        Some(length) => body.len() >= length.parse::<usize>().map_err(Error::other)?,
        None => body.ends_with("0\r\n\r\n"),
    };
    Ok(is_whole.then(|| header("connection: ") == Some("close")))
}
