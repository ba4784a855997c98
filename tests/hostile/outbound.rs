//! What goes upstream: built from the model, and read the same by everybody.
//!
//! Makes requests that the gate accepts, in every way of writing them; says for each what should
//! arrive; and holds what arrived against it. `CKGATE_OUTBOUND_REQUESTS` says how many,
//! `CKGATE_OUTBOUND_FOLDER` where the bytes of each connection and the expectations are kept, for two
//! other parsers to read (`outbound/run`).

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::json;
use url::form_urlencoded::{Serializer, parse};

use crate::harness::{
    A, CREDENTIAL, Connection, Gate, ORIGIN, Recorder, SERVER_KEY, agent_path, mint,
};

/// How many requests on each change.
const REQUESTS: usize = 600;
/// How many are sent on one connection before the answers are read.
const PIPELINED_MAX: usize = 8;

/// A request as it is written, and what should arrive of it.
struct Case {
    bytes: Vec<u8>,
    method: &'static str,
    target: String,
    /// Lower-case names. `x-request-id` and `traceparent` are the gate's own.
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Choices that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }

    fn of<'t, T>(&mut self, choices: &'t [T]) -> &'t T {
        &choices[self.below(choices.len())]
    }

    fn word<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len())]
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// A word of characters that mean something to one parser or another.
    fn text(&mut self, length_max: usize) -> String {
        const CHARACTERS: [&str; 34] = [
            "a",
            "B",
            "7",
            " ",
            "\"",
            "'",
            "\\",
            "/",
            "?",
            "#",
            "&",
            "=",
            "%",
            "%2F",
            ";",
            ":",
            ",",
            "\u{e9}",
            "\u{6f22}",
            "\u{1f600}",
            "\u{202e}",
            "<",
            ">",
            "{",
            "}",
            "[",
            "]",
            "|",
            "^",
            "`",
            "~",
            "+",
            "@",
            "..",
        ];
        let length = self.below(length_max + 1);
        (0..length).map(|_| *self.of(&CHARACTERS)).collect()
    }
}

/// A token's request, or a server key's.
fn case(dice: &mut Dice, token: &str) -> Case {
    let mut headers =
        BTreeMap::from([("authorization".to_owned(), format!("Bearer {CREDENTIAL}"))]);
    let (method, received, target, body) =
        if dice.chance(3) { of_server_key(dice) } else { of_token(dice) };
    let by_token = received.starts_with("/v1/agents/");
    let mut lines = vec!["Host: gw.test".to_owned()];
    let credential = if by_token { token } else { SERVER_KEY };
    lines.push(format!(
        "{}: {}Bearer {credential}",
        dice.of(&["Authorization", "authorization", "AUTHORIZATION"]),
        dice.of(&["", " ", "\t "])
    ));
    if by_token || dice.chance(2) {
        lines.push(format!("Origin: {ORIGIN}"));
    }
    add_headers(dice, &mut lines, &mut headers);
    let content_type = (!body.is_empty() || dice.chance(8))
        .then(|| *dice.of(&["application/json", "text/plain", "a/b; c=\"d,e\""]));
    if let Some(content_type) = content_type {
        lines.push(format!("Content-Type: {content_type}"));
    }
    let (framed, announced) = frame(dice, method, &body);
    let sent_type = match content_type {
        _ if body.is_empty() && (by_token || !announced) => None,
        _ if by_token => Some("application/json"),
        own => own,
    };
    headers.extend(sent_type.map(|sent| ("content-type".to_owned(), sent.to_owned())));
    let at = dice.below(lines.len());
    lines.rotate_left(at);
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    for line in &lines {
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(&framed);
    Case { bytes, method, target: received, headers, body }
}

/// Method, the target that should arrive, the one that is sent, and the body.
type Asked = (&'static str, String, String, Vec<u8>);

fn of_token(dice: &mut Dice) -> Asked {
    match dice.below(4) {
        0 => {
            let body = json!({"messages": [{"role": "user", "content": dice.text(60)}], "max_steps": dice.below(9)});
            let path = agent_path(A, dice.word(&["/messages", "/messages/stream"]));
            let slash = if dice.chance(4) { "/" } else { "" };
            ("POST", path.clone(), format!("{path}{slash}"), spaced(dice, &body.to_string()))
        }
        1 => {
            let body = json!({"name": dice.text(20), "tags": [dice.text(5), dice.text(5)]});
            ("PATCH", agent_path(A, ""), agent_path(A, ""), spaced(dice, &body.to_string()))
        }
        _ => {
            let method = *dice.of(&["GET", "GET", "GET", "HEAD"]);
            let mut query = Vec::new();
            for key in ["after", "before", "limit", "order"] {
                if dice.chance(3) {
                    query.push((key, dice.text(6)));
                }
            }
            let path = agent_path(A, "/messages");
            let mut sent = path.clone();
            let encoded = escaped(dice, &query);
            if !encoded.is_empty() {
                write!(sent, "?{encoded}").unwrap();
            }
            let pairs: Vec<_> = parse(encoded.as_bytes()).into_owned().collect();
            let mut received = path;
            if !pairs.is_empty() {
                let rebuilt = Serializer::new(String::new()).extend_pairs(pairs).finish();
                write!(received, "?{rebuilt}").unwrap();
            }
            (method, received, sent, Vec::new())
        }
    }
}

fn of_server_key(dice: &mut Dice) -> Asked {
    let method = *dice.of(&["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]);
    let mut target = "/v9".to_owned();
    for _ in 0..=dice.below(4) {
        target.push_str(dice.word(&[
            "/x",
            "/A-b_c~1",
            "/a.b",
            "/...",
            "/a+b",
            "/a%20b",
            "/%E6%BC%A2",
            "/a:b@c",
            "/a=1&b",
            "/!$'()*,",
            "/%5B%5D",
        ]));
    }
    target.push_str(dice.word(&["", "", "/"]));
    target.push_str(dice.word(&[
        "",
        "",
        "?",
        "?a=b",
        "?a=b&a=c",
        "?x=%2F%2E%2e",
        "?[a]=|",
        "?a=/../..",
        "?q=%C3%A9+x",
        "?;a=b",
        "?a?b??",
    ]));
    let mut body = Vec::new();
    if !matches!(method, "GET" | "HEAD") && !dice.chance(4) {
        let length = *dice.of(&[1, 5, 100, 5000, 20_000]);
        body = (0..length).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        if dice.chance(3) {
            body.splice(0..0, *b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n");
        }
    }
    (method, target.clone(), target, body)
}

/// The same JSON with white space that means nothing.
fn spaced(dice: &mut Dice, json: &str) -> Vec<u8> {
    let space = *dice.of(&["", " ", "\r\n\t", "\n"]);
    format!("{space}{json}{space}").into_bytes()
}

/// The query in one of the ways in which clients write it.
fn escaped(dice: &mut Dice, pairs: &[(&str, String)]) -> String {
    let mut query = String::new();
    for (key, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        write!(query, "{key}=").unwrap();
        for byte in value.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"-._~/?:@!$'()*,;".contains(&byte);
            match byte {
                _ if plain && !dice.chance(5) => query.push(char::from(byte)),
                b' ' if dice.chance(2) => query.push('+'),
                _ if dice.chance(2) => write!(query, "%{byte:02X}").unwrap(),
                _ => write!(query, "%{byte:02x}").unwrap(),
            }
        }
    }
    query
}

/// Headers that pass, and more that do not.
fn add_headers(dice: &mut Dice, lines: &mut Vec<String>, headers: &mut BTreeMap<String, String>) {
    let mut has_sdk = false;
    for name in [
        "accept",
        "accept-language",
        "user-agent",
        "x-stainless-lang",
        "x-fern-sdk-version",
        "x-stainless-os",
    ] {
        if !dice.chance(3) {
            continue;
        }
        has_sdk |= name.starts_with("x-");
        let value = *dice.of(&[
            "a",
            "Letta/JS 1.12.1",
            "*/*;q=0.5, \"x\"",
            "a:b",
            "a\\b",
            "(comment)",
            "1.12.1 ~!@#$%^&*()",
        ]);
        let written = if dice.chance(3) { name.to_uppercase() } else { name.to_owned() };
        let pad = *dice.of(&["", " ", "  ", "\t"]);
        lines.push(format!("{written}:{pad}{value}{pad}"));
        headers.insert(name.to_owned(), value.to_owned());
    }
    if !has_sdk {
        headers.insert("x-stainless-package-version".to_owned(), "1.12.1".to_owned());
    }
    for _ in 0..dice.below(6) {
        let dropped = [
            "user_id: user-1",
            "X-Forwarded-For: 1.2.3.4",
            "Connection: keep-alive",
            "Connection: TE, Upgrade",
            "TE: trailers",
            "Upgrade: h2c",
            "Via: 1.1 x",
            "Cookie: a=b; c=d",
            "X-Empty:",
            "X-Obs: \u{e9}",
            "Keep-Alive: timeout=5",
            "Proxy-Authorization: Basic eDp5",
            "Trailer: X",
            "X-Tab: a\tb",
            "Range: bytes=0-1",
            "Accept-Encoding: gzip",
            "If-None-Match: *",
            "Transfer_Encoding: chunked",
            "Content_Length: 3",
            "x-request-id: mine",
            "traceparent: 00-1-1-01",
            "Content-MD5: x",
            "Max-Forwards: 0",
            "Referer: http://x/",
        ];
        lines.push((*dice.of(&dropped)).to_owned());
    }
}

/// The body with its framing and the end of the head, and whether a body is announced.
fn frame(dice: &mut Dice, method: &str, body: &[u8]) -> (Vec<u8>, bool) {
    let admits = !matches!(method, "GET" | "HEAD");
    if body.is_empty() && dice.chance(2) {
        return (b"\r\n".to_vec(), false);
    }
    if !admits || (!body.is_empty() && dice.chance(2)) || (body.is_empty() && dice.chance(2)) {
        let mut framed = format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        framed.extend_from_slice(body);
        return (framed, !body.is_empty());
    }
    let mut framed = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
    let size = *dice.of(&[1, 3, 17, 1000, 10_000]);
    for piece in body.chunks(if body.len() > 200 { size.max(100) } else { size }) {
        let zeros = *dice.of(&["", "0", "00"]);
        let length = if dice.chance(2) {
            format!("{:X}", piece.len())
        } else {
            format!("{:x}", piece.len())
        };
        framed.extend_from_slice(format!("{zeros}{length}\r\n").as_bytes());
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    (framed, true)
}

/// S-17.
#[test]
fn what_arrives_upstream_is_what_was_meant() {
    let wanted = env::var("CKGATE_OUTBOUND_REQUESTS").ok().and_then(|text| text.parse().ok());
    let count: usize = wanted.unwrap_or(REQUESTS);
    let recorder = Recorder::start();
    let gate = Gate::start(&recorder);
    let token = mint(&gate, A, &["read_messages", "write_messages", "read_agent", "write_agent"]);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut expected = BTreeMap::new();
    let mut sent = 0;
    while sent < count {
        let mut connection = Connection::open(gate.public());
        for _ in 0..20 {
            let pipelined = 1 + dice.below(PIPELINED_MAX);
            let cases: Vec<Case> = (0..pipelined).map(|_| case(&mut dice, &token)).collect();
            connection.send(cases.iter().flat_map(|case| case.bytes.clone()).collect::<Vec<u8>>());
            for case in cases {
                let answer = connection.answer(case.method);
                let request = String::from_utf8_lossy(&case.bytes).into_owned();
                assert_eq!(answer.status, 200, "{}: {request:?}", answer.text());
                expected.insert(answer.header("x-request-id").unwrap().to_owned(), case);
                sent += 1;
            }
        }
    }
    compare(&recorder, &expected);
    if let Ok(folder) = env::var("CKGATE_OUTBOUND_FOLDER") {
        keep(&recorder, &expected, &PathBuf::from(folder));
    }
    println!("{sent} requests");
}

/// What the recorder's own strict parser found, against what was meant.
fn compare(recorder: &Recorder, expected: &BTreeMap<String, Case>) {
    let requests = recorder.requests();
    assert_eq!(requests.len(), expected.len());
    for request in requests {
        let id = request.header("x-request-id").unwrap();
        let case = &expected[id];
        assert_eq!((request.method(), request.target()), (case.method, case.target.as_str()));
        assert_eq!(request.body, case.body, "{:?}", request.head);
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &request.head.headers {
            let before = headers.insert(name.to_lowercase(), value.clone());
            assert!(before.is_none(), "{name} twice in {:?}", request.head);
        }
        assert_eq!(headers.remove("host"), Some(recorder.address().to_string()));
        let trace = headers.remove("traceparent").unwrap();
        assert!(trace.contains(&headers.remove("x-request-id").unwrap()));
        let length = headers.remove("content-length");
        match headers.remove("transfer-encoding").as_deref() {
            None => {
                assert!(length.map_or(case.body.is_empty(), |l| l == case.body.len().to_string()));
            }
            Some(coding) => assert_eq!((coding, length), ("chunked", None)),
        }
        assert_eq!(headers, case.headers, "{:?}", String::from_utf8_lossy(&case.bytes));
    }
}

/// The bytes of each connection, and what was meant, for other parsers.
fn keep(recorder: &Recorder, expected: &BTreeMap<String, Case>, folder: &PathBuf) {
    fs::create_dir_all(folder).unwrap();
    let mut meant: Vec<String> = Vec::new();
    for request in recorder.requests() {
        let id = request.header("x-request-id").unwrap();
        let case = &expected[id];
        let body = case.body.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let line = json!({
            "connection": request.connection, "id": id, "method": case.method, "target": case.target,
            "headers": case.headers, "body": body,
        });
        meant.push(line.to_string());
    }
    fs::write(folder.join("meant.jsonl"), meant.join("\n") + "\n").unwrap();
    for (number, bytes) in recorder.connections().into_iter().enumerate() {
        fs::write(folder.join(format!("{number}.bytes")), bytes).unwrap();
    }
}
