use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use socket2::{Domain, Socket, Type};
use tokio::io::AsyncWriteExt as _;

use super::answer_head::{
    AnswerFraming::{self, Chunked, Length, UntilClose},
    AnswerHead, BadAnswer, Parsed, parse,
};
use super::wire::{Wire, connect};
use super::{Client, OutgoingBody, OutgoingRequest};
use crate::clock::Turn;
use crate::config::Config;
use crate::telemetry::Metrics;

const USUAL: &str = "HTTP/1.1 200 OK\r\nDate: today\r\ncontent-type:application/json\r\n\
                     X-Letta-Run:  a b\t \r\nContent-Length: 2\r\n\r\n";

fn read(bytes: &[u8]) -> Result<Option<(AnswerHead, usize)>, BadAnswer> {
    Ok(match parse(bytes, false, |_| true)? {
        Parsed::Final(head, length) => Some((head, length)),
        Parsed::Partial | Parsed::Interim(_) => None,
    })
}

fn fields(head: &AnswerHead) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    head.fields.iter().map(|(name, value)| (text(name), text(value))).collect()
}

#[test]
fn usual_answer_is_read() {
    let (head, length) = read(format!("{USUAL}[]").as_bytes()).unwrap().unwrap();
    assert_eq!((head.status.as_u16(), length), (200, USUAL.len()));
    assert_eq!((head.framing, head.keeps_alive), (Length(2), true));
    let expected = [
        ("date", "today"),
        ("content-type", "application/json"),
        ("x-letta-run", "a b"),
        ("content-length", "2"),
    ];
    assert_eq!(fields(&head), expected);
    let Ok(Parsed::Final(head, _)) = parse(USUAL.as_bytes(), false, |name| name == b"date") else {
        panic!("it is read");
    };
    assert_eq!(fields(&head), expected[..1], "only what is wanted is kept");
}

#[test]
fn names_too_long_for_any_field_that_is_wanted_are_not_asked_about() {
    let [kept, left_behind] = [48, 49].map(|length| "x".repeat(length));
    let answer = format!("HTTP/1.1 204 No Content\r\n{kept}: a\r\n{left_behind}: b\r\n\r\n");
    let (head, _) = read(answer.as_bytes()).unwrap().unwrap();
    assert_eq!(fields(&head), [(&*kept, "a")]);
}

#[test]
fn beginning_of_an_answer_may_still_become_one() {
    for length in 0..USUAL.len() {
        let begun = parse(&USUAL.as_bytes()[..length], false, |_| true);
        assert!(matches!(begun, Ok(Parsed::Partial)), "{length}: {begun:?}");
    }
}

#[test]
fn end_of_an_answer_is_told_from_its_head() {
    let ends: [(&str, AnswerFraming, bool); 10] = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Length(0), true),
        ("HTTP/1.1 200\r\ncontent-length: 3\r\n\r\n", Length(3), true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", Chunked, true),
        ("HTTP/1.1 200 OK\r\n\r\n", UntilClose, false),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n\r\n", Length(0), true),
        ("HTTP/1.1 304 \r\n\r\n", Length(0), true),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n", Length(1), false),
        ("HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\ncontent-length: 1\r\n\r\n", Length(1), true),
        ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", Length(1), false),
        ("HTTP/1.0 200 OK\r\n\r\n", UntilClose, false),
    ];
    for (text, framing, keeps_alive) in ends {
        let (head, _) = read(text.as_bytes()).unwrap().unwrap();
        assert_eq!((head.framing, head.keeps_alive), (framing, keeps_alive), "{text:?}");
    }
    let to_head = parse(USUAL.as_bytes(), true, |_| true);
    assert!(matches!(to_head, Ok(Parsed::Final(head, _)) if head.framing == Length(0)));
}

#[test]
fn interim_answer_is_told_apart() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n";
    let parsed = parse(format!("{hints}{USUAL}").as_bytes(), false, |_| true);
    assert!(matches!(parsed, Ok(Parsed::Interim(length)) if length == hints.len()), "{parsed:?}");
}

#[test]
fn what_leaves_doubt_is_no_answer() {
    let line = |line: &str| format!("{line}\r\ncontent-length: 2\r\n\r\n");
    let field = |field: &str| format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 2\r\n\r\n");
    let heads = [
        line("HTTP/1.1 20 OK"),
        line("HTTP/1.1 2000 OK"),
        line("HTTP/1.1 600 OK"),
        line("HTTP/1.1 099 OK"),
        line("HTTP/1.1  200 OK"),
        line("HTTP/1.1\t200 OK"),
        line("HTTP/1.2 200 OK"),
        line("HTTP/2 200 OK"),
        line("http/1.1 200 OK"),
        line("HTTP/1.1 200 O\rK"),
        line("HTTP/1.1 200 O\0K"),
        line("\r\nHTTP/1.1 200 OK"),
        field("x"),
        field(": y"),
        field("x : y"),
        field(" x: y"),
        field("x\ty: z"),
        field("x(: y"),
        field("x: y\rz"),
        field("x: y\r"),
        field("x: \0"),
        field("x: \x0b"),
        field("x: \x7f"),
        field("x: y\nz: 1"),
        field("x: y\r\n folded"),
        "HTTP/1.1 200 OK\ncontent-length: 2\n\n".to_owned(),
        "SSH-2.0-x".to_owned(),
        "\x15\x03\x01".to_owned(),
    ];
    for head in heads {
        assert_eq!(read(head.as_bytes()).err(), Some(BadAnswer::Head), "{head:?}");
    }
    for ambiguous in [
        "content-length: 2\r\ncontent-length: 2",
        "content-length: 2\r\ntransfer-encoding: chunked",
        "content-length: 02",
        "content-length: +2",
        "content-length: 2, 2",
        "content-length: ",
        "content-length: 18446744073709551616",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{ambiguous}\r\n\r\n");
        assert_eq!(read(head.as_bytes()).err(), Some(BadAnswer::Length), "{head:?}");
    }
    let chunked = b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(read(chunked).err(), Some(BadAnswer::Length));
    let switched = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n";
    assert_eq!(read(switched).err(), Some(BadAnswer::SwitchesProtocols));
}

#[test]
fn answer_without_end_is_given_up() {
    let begun = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(64 << 10));
    assert_eq!(read(begun.as_bytes()).err(), Some(BadAnswer::TooLarge));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(97));
    assert_eq!(read(many.as_bytes()).err(), Some(BadAnswer::TooLarge));
}

/// What another reader makes of a head that ours accepts.
fn check_against_httparse(bytes: &[u8]) {
    let Ok(Some((head, length))) = read(bytes) else { return };
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(&bytes[..length]);
    assert_eq!(parsed, Ok(httparse::Status::Complete(length)), "{}", bytes.escape_ascii());
    assert_eq!(answer.code, Some(head.status.as_u16()));
    let theirs = answer.headers.iter().map(|h| (h.name.to_ascii_lowercase().into_bytes(), h.value));
    let ours = head.fields.iter().map(|(name, value)| (name.to_vec(), value));
    assert!(theirs.eq(ours), "{}", bytes.escape_ascii());
}

proptest! {
    /// Bytes of a good head replaced, left out and put in, by such as matter to a reader.
    #[test]
    fn what_is_accepted_reads_the_same_to_another_reader(
        changes in prop::collection::vec((0..USUAL.len(), 0..3, any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        const MATTER: &[u8] = b"\r\n\t :;,\0\x0b\x7f\x80\"()aA0";
        let mut bytes = USUAL.as_bytes().to_vec();
        for (at, how, which, any) in changes {
            let at = at.min(bytes.len() - 1);
            let byte = if any < 64 { any } else { *which.get(MATTER) };
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        check_against_httparse(&bytes);
    }
}

/// A server that answers each request, and hands over its end of each connection.
fn upstream() -> (String, mpsc::Receiver<TcpStream>) {
    upstream_at(TcpListener::bind("127.0.0.1:0").unwrap())
}

fn upstream_at(listener: TcpListener) -> (String, mpsc::Receiver<TcpStream>) {
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (accepted, connections) = mpsc::sync_channel(256);
    std::thread::spawn(move || {
        while let Ok((mut connection, _)) = listener.accept() {
            if accepted.send(connection.try_clone().unwrap()).is_err() {
                break;
            }
            std::thread::spawn(move || {
                let mut read = [0; 1024];
                while connection.read(&mut read).is_ok_and(|length| length > 0) {
                    connection
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")
                        .unwrap();
                }
            });
        }
    });
    (url, connections)
}

/// A client of the server at this URL, with one more setting, and what it counts.
fn client_of(url: &str, setting: &str) -> (Rc<Client>, Arc<Metrics>) {
    let key = [("CKGATE_SERVER_KEY".to_owned(), "sk-let-0123456789abcdef".repeat(3))];
    let text = format!("upstream.url = '{url}'\n{setting}");
    let config = Config::from_toml(&text, key).unwrap();
    let metrics = Arc::new(Metrics::default());
    let client = Client::new(Arc::new(config.upstream), None, Arc::clone(&metrics));
    (Rc::new(client.unwrap()), metrics)
}

async fn ask(client: &Rc<Client>) -> Vec<u8> {
    let authority = client.authority();
    let request = OutgoingRequest::new(&Method::GET, "/", authority, OutgoingBody::Nothing);
    let answer = client.send(request.unwrap(), |_| true).await.unwrap();
    answer.body.collect().await.unwrap().to_bytes().to_vec()
}

/// Waits until the system holds bytes or an end for the socket at this port, which nobody has read.
fn arrived_at(port: u16) {
    let local = format!("0100007F:{port:04X}");
    let begun = std::time::Instant::now();
    let holds_some = |row: &str| {
        let row: Vec<&str> = row.split_whitespace().collect();
        // A connection whose other end has closed is in state 08 (proc_net_tcp(5)).
        let holds = |state: &str, queues: &str| state == "08" || !queues.ends_with(":00000000");
        matches!(row[..], [_, at, _, state, queues, ..] if at == local && holds(state, queues))
    };
    while !std::fs::read_to_string("/proc/net/tcp").unwrap().lines().any(holds_some) {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing arrives");
        std::thread::yield_now();
    }
}

/// Whether or not the runtime has heard of it: has waited meanwhile, or has not, or never says so.
#[test]
fn what_comes_between_two_requests_is_an_answer_to_neither() {
    for (says_so, waits) in [(true, true), (true, false), (false, true), (false, false)] {
        let (url, connections) = upstream();
        let (client, metrics) = client_of(&url, "");
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        if says_so {
            runtime.on_thread_unpark(Turn::has_waited);
        }
        runtime.enable_all().build().unwrap().block_on(async {
            for unasked in ["HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison", "the end"] {
                assert_eq!(ask(&client).await, b"[]");
                let mut connection = connections.recv().unwrap();
                assert_eq!(ask(&client).await, b"[]");
                assert!(connections.try_recv().is_err(), "the same connection serves twice");
                match unasked {
                    "the end" => connection.shutdown(std::net::Shutdown::Both).unwrap(),
                    unasked => connection.write_all(unasked.as_bytes()).unwrap(),
                }
                arrived_at(connection.peer_addr().unwrap().port());
                if waits {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            assert_eq!(ask(&client).await, b"[]");
            connections.recv().unwrap();
        });
        assert_eq!((metrics.upstream_connects.get(), metrics.upstream_reuses.get()), (3, 2));
    }
}

/// A hundred requests at once, twice: the connections of the first serve the second, up to the limit.
#[tokio::test]
async fn connections_used_at_once_are_kept_up_to_the_limit() {
    for (setting, connects) in [("", 100), ("upstream.idle_connections_max = 64", 136)] {
        let (url, _connections) = upstream();
        let (client, metrics) = client_of(&url, setting);
        for _ in 0..2 {
            let all = tokio::task::LocalSet::new();
            for _ in 0..100 {
                let client = Rc::clone(&client);
                all.spawn_local(async move { assert_eq!(ask(&client).await, b"[]") });
            }
            all.await;
        }
        assert_eq!(metrics.upstream_connects.get(), connects, "{setting}");
    }
}

/// The system leaves a connection unanswered for which there is no place in the queue, until it is asked
/// for it again a second later.
#[tokio::test]
async fn upstream_that_does_not_connect_at_once_is_waited_for() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let in_the_queue = TcpStream::connect(address).unwrap();
    let (client, metrics) = client_of(&format!("http://{address}"), "");
    let mut asking = pin!(ask(&client));
    let waited = tokio::time::timeout(Duration::from_millis(100), &mut asking).await;
    assert!(waited.is_err() && metrics.upstream_connects.get() == 0, "there is no place for it");
    drop(in_the_queue);
    let (_, _connections) = upstream_at(listener);
    assert_eq!(asking.await, b"[]");
    assert_eq!(metrics.upstream_connects.get(), 1);
}

#[tokio::test]
async fn connection_that_has_been_written_to_holds_nothing_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = connect(listener.local_addr().unwrap()).await.unwrap();
    let mut wire = Wire::over(stream, None).await.unwrap();
    let mut theirs = listener.accept().unwrap().0;
    for piece in [b"first", b"later"] {
        wire.write_all(piece).await.unwrap();
        let mut read = [0; 5];
        theirs.read_exact(&mut read).unwrap();
        assert_eq!(&read, piece);
        let Wire::Tcp(socket) = &wire else { panic!("it is in the clear") };
        assert!(socket.stream().nodelay().unwrap());
    }
}
