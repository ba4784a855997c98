//! Request lines, paths, queries, headers and framing.

use crate::harness::{A, B, Connection, SERVER_KEY, agent_path};
use crate::stage::Stage;

/// An id has one spelling, and nothing that resembles it reaches an agent.
#[test]
fn spellings_that_resemble_an_agents_id_reach_no_agent() {
    let stage = Stage::set();
    let bare = &A["agent-".len()..];
    for id in [
        A.to_uppercase(),
        A.replace("agent", "Agent"),
        A.replace('-', ""),
        bare.to_owned(),
        format!("urn:uuid:{bare}"),
        format!("{A}%20"),
        format!("%20{A}"),
        format!("{A}%E2%80%8B"),
        format!("{A}*"),
        format!("{A}'or'1'='1"),
        format!("{A},{B}"),
        format!("{A}@{B}"),
        format!("{A}:{B}"),
        // A division slash and a fullwidth solidus: no slashes, until somebody normalises them.
        format!("{B}%E2%88%95..%E2%88%95{A}"),
        format!("{A}%EF%BC%8F..%EF%BC%8F{B}"),
        "...".to_owned(),
        "*".to_owned(),
    ] {
        stage.refuses(stage.get(&format!("/v1/agents/{id}/messages")), &[403]);
    }
    for id in [
        format!("{{{A}}}"),
        format!("{A}|{B}"),
        format!("{A}%00{B}"),
        format!("{A}%7F"),
        format!("{A}%C0%AF"),
        format!("{A}%c3%a9"),
        format!("{A}%u002f{B}"),
        format!("{A}%2"),
        "%25%32%65%25%32%65".to_owned(),
        format!("{A}%E0%80%AF{B}"),
        format!("{A}%ED%A0%80"),
        format!("{A}%F4%90%80%80"),
    ] {
        stage.refuses(stage.get(&format!("/v1/agents/{id}/messages")), &[400]);
    }
    for rest in
        ["/messages:stream", "/messages.json", "/messages.", "/messages&x=1", "/messages/.."]
    {
        stage.refuses(stage.get(&agent_path(A, rest)), &[400, 403]);
    }
    stage.still_serves();
}

/// A query says the same to both sides: what separates or repeats for one of them only is refused, or
/// sent so that it does so for neither.
#[test]
fn queries_that_two_parsers_split_differently_name_nobody_else() {
    let stage = Stage::set();
    let target = |query: &str| stage.get(&agent_path(A, &format!("/messages?{query}")));
    for query in [
        format!("agent%5Fid={B}"),
        format!("agent_id[]={B}"),
        format!("limit[0]=1&agent_id={B}"),
        "limit=1&%6Cimit=2".to_owned(),
        "LIMIT=1".to_owned(),
        "limit%20=1".to_owned(),
        "%26limit=1".to_owned(),
        "limit%3D1=2".to_owned(),
        "=1".to_owned(),
        "?limit=1".to_owned(),
        "limit.x=1".to_owned(),
        "__proto__=1".to_owned(),
        "constructor[prototype]=1".to_owned(),
        "user_id=user-1".to_owned(),
        "_method=DELETE".to_owned(),
    ] {
        stage.refuses(target(&query), &[403]);
    }
    for query in [
        "limit=%C0%AF",
        "limit=%ED%A0%80",
        "limit=%F4%90%80%80",
        "limit=%EF%BF%BD",
        "limit=%00",
        "limit=%",
        "limit=%1",
        "limit=1\\",
        "limit={1}",
        "limit=\u{e9}",
        "limit=1#x",
    ] {
        stage.refuses(target(query), &[400]);
    }
    for (query, sent) in [
        (format!("limit=1;agent_id={B}"), format!("limit=1%3Bagent_id%3D{B}")),
        (format!("limit=1%26agent_id={B}"), format!("limit=1%26agent_id%3D{B}")),
        ("limit=1?order=asc".to_owned(), "limit=1%3Forder%3Dasc".to_owned()),
        ("limit=1+1".to_owned(), "limit=1+1".to_owned()),
        ("&&limit=1&".to_owned(), "limit=1".to_owned()),
        ("limi%74=5".to_owned(), "limit=5".to_owned()),
    ] {
        let before = stage.recorder.requests().len();
        let answer = stage.gate.call("GET", &agent_path(A, &format!("/messages?{query}")));
        assert_eq!(answer.token(&stage.reader).send().status, 200, "{query}");
        let seen = stage.recorder.requests();
        assert_eq!(seen[before].target(), agent_path(A, &format!("/messages?{sent}")));
    }
}

/// A header whose name another server would read as one that matters is not passed on.
#[test]
fn names_with_underscores_are_passed_on_nowhere() {
    let stage = Stage::set();
    for name in [
        "X-Stainless-User_id",
        "X-Stainless_Lang",
        "x-fern-user_id",
        "x-fern-a.b",
        "x-stainless-a'b",
        "Content_Length",
        "Transfer_Encoding",
        "X_Stainless_Lang",
        "Authorization_",
    ] {
        let before = stage.recorder.requests().len();
        let call = stage.gate.call("GET", &agent_path(A, "/messages")).token(&stage.reader);
        let call = call.header(name, "smuggled").header("X-Stainless-Lang", "python");
        assert_eq!(call.send().status, 200, "{name}");
        let sent = &stage.recorder.requests()[before];
        assert!(!sent.contains("smuggled"), "{name}");
        assert_eq!(sent.header("x-stainless-lang"), Some("python"));
    }
}

/// Other ways to name a credential, a length, a coding, an expectation.
#[test]
fn rare_spellings_of_what_frames_a_request_are_refused() {
    let stage = Stage::set();
    let body = r#"{"messages":[{"role":"user","content":"hi"}]}"#;
    let length = body.len();
    let chunked = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let framings = [
        (format!("Content-Length: \u{b2}{length}\r\n"), body),
        ("Content-Length: 1e1\r\n".to_owned(), body),
        ("Content-Length: 4_5\r\n".to_owned(), body),
        ("Content-Length: 45;\r\n".to_owned(), body),
        (format!("Content-Length: \"{length}\"\r\n"), body),
        (format!("Content-Length:\r\n {length}\r\n"), body),
        (format!("content-length: {length}\r\nCONTENT-LENGTH: {length}\r\n"), body),
        ("Content-Length: 18446744073709551661\r\n".to_owned(), body),
        (format!("Transfer-Encoding: \r\nContent-Length: {length}\r\n"), body),
        (format!("Transfer-Encoding: identity\r\nContent-Length: {length}\r\n"), body),
        ("Transfer-Encoding: chunked,\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: ,chunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding:\u{a0}chunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: trailers, chunked\r\n".to_owned(), &chunked),
        ("Transfer-Encoding: chunked\u{b}\r\n".to_owned(), &chunked),
        (format!("Expect: 100-continue;q=1\r\nContent-Length: {length}\r\n"), body),
        (format!("Expect: \"100-continue\"\r\nContent-Length: {length}\r\n"), body),
        (format!("Expect: 200-ok\r\nContent-Length: {length}\r\n"), body),
        (format!("Expect:\r\nContent-Length: {length}\r\n"), body),
    ];
    for (framing, body) in framings {
        stage.refuses_and_closes(stage.post(&format!("{framing}\r\n{body}")), &[400, 417]);
    }
    for chunks in [
        format!("{length:x};a=\"\r\n0\r\n\"\r\n{body}\r\n0\r\n\r\n"),
        format!("{length:x}\r\r\n{body}\r\n0\r\n\r\n"),
        format!("\u{ff12}d\r\n{body}\r\n0\r\n\r\n"),
        "-0\r\n\r\n".to_owned(),
        "000000000\r\n\r\n".to_owned(),
        format!("{length:x}\r\n{body}0\r\n\r\n"),
        format!("{length:x}\r\n{body}\r\n0\r\nAuthorization: Bearer {SERVER_KEY}\r\n\r\n"),
    ] {
        stage.breaks_off(stage.post(&format!("Transfer-Encoding: chunked\r\n\r\n{chunks}")));
    }
    stage.still_serves();
}

/// What is no HTTP/1.1 at all ends where it begins.
#[test]
fn other_protocols_are_answered_once_at_most_and_reach_nobody() {
    let stage = Stage::set();
    let get = stage.get(&agent_path(A, "/messages"));
    let attacks: [Vec<u8>; 9] = [
        [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", get.as_bytes()].concat(),
        [b"\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0".as_slice(), get.as_bytes()]
            .concat(),
        [b"\xef\xbb\xbf".as_slice(), get.as_bytes()].concat(),
        [b"\r\n".as_slice(), get.as_bytes()].concat(),
        get.replace("HTTP/1.1\r\n", "HTTP/1.1\0\r\n").into_bytes(),
        get.replace("HTTP/1.1\r\n", "HTTP/1,1\r\n").into_bytes(),
        get.replace("HTTP/1.1\r\n", "HTTP/1.1\r\n X: y\r\n").into_bytes(),
        get.replace("GET ", "QUERY ").into_bytes(),
        get.replace("Host: gw.test", ":authority: gw.test").into_bytes(),
    ];
    for attack in attacks {
        stage.refuses_and_closes(attack, &[400, 501, 505]);
    }
    for silent in [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], b"SSH-2.0-x\r\n", b"\0\0\0\0"]
    {
        let mut connection = Connection::open(stage.gate.public());
        connection.send(silent);
        connection.finish();
        let answer = String::from_utf8_lossy(&connection.until_close()).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    stage.recorder.assert_untouched();
    stage.still_serves();
}
