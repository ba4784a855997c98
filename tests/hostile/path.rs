//! The path that is judged is the path that is sent: what could be read in two ways is refused.

use crate::harness::{A, B, Connection, SERVER_KEY, agent_path};
use crate::stage::Stage;

/// Refused for their form, whoever asks.
#[track_caller]
fn check_malformed(targets: &[String]) {
    let stage = Stage::set();
    for target in targets {
        stage.refuses(stage.get(target), &[400]);
        let line = format!("GET {target} HTTP/1.1");
        stage.refuses(stage.head_as(SERVER_KEY, &line, "\r\n"), &[400]);
    }
    stage.still_serves();
}

/// Canonical, and nothing that this token opens.
#[track_caller]
fn check_closed(targets: &[String]) {
    let stage = Stage::set();
    for target in targets {
        stage.refuses(stage.get(target), &[403, 404]);
    }
    stage.still_serves();
}

/// P-01.
#[test]
fn dot_segments_are_refused() {
    check_malformed(&[
        format!("/v1/agents/{A}/../{B}/messages"),
        format!("/v1/agents/{A}/messages/../../{B}/messages"),
        format!("/v1/./agents/{A}/messages"),
        format!("/v1/agents/{A}/messages/."),
        format!("/v1/agents/{A}/messages/.."),
        format!("/../v1/agents/{A}/messages"),
        format!("/v1/agents/{A}/messages/../?x=1"),
    ]);
}

/// P-02.
#[test]
fn escaped_dot_segments_are_refused() {
    let dots = [
        "%2e%2e",
        "%2E%2E",
        "%2E.",
        ".%2e",
        ".%2E",
        "%2e.",
        "%2e",
        "%2E",
        "%2e%2E",
        "%2e%2e%2f",
        "..%2f",
        "..%2F",
        "..%5c",
        "%2e%2e%5C",
    ];
    let paths: Vec<String> =
        dots.iter().map(|dots| format!("/v1/agents/{A}/{dots}/{B}/messages")).collect();
    check_malformed(&paths);
}

/// P-03: the server decodes escaped slashes before it routes.
#[test]
fn escaped_slashes_are_refused() {
    check_malformed(&[
        format!("/v1%2Fagents%2F{B}%2Fmessages"),
        format!("/v1/agents/{B}%2Fmessages"),
        format!("/v1/agents/{B}%2fmessages"),
        format!("/v1/agents%2F{B}/messages"),
        format!("%2Fv1/agents/{A}/messages"),
        format!("/%2Fv1/agents/{A}/messages"),
        format!("/v1/agents/{A}%5Cmessages"),
        format!("/v1/agents/{A}%5c..%5c{B}/messages"),
    ]);
}

/// P-04.
#[test]
fn escapes_of_characters_that_need_none_are_refused() {
    check_malformed(&[
        format!("/v1/%61gents/{B}/messages"),
        format!("/v1/%61gent{}/messages", &B[5..]),
        format!("/v1/agents/%61{}/messages", &A[1..]),
        format!("/v1/agents/{}%31/messages", &A[..A.len() - 1]),
        format!("/%76%31/agents/{A}/messages"),
        format!("/v1/agents/{A}/message%73"),
        format!("/v1/agents/{}/messages", A.replace('-', "%2D")),
        format!("/v1/agents/{A}/messages%7E"),
    ]);
}

/// P-05, P-16.
#[test]
fn other_names_and_spellings_of_a_route_are_closed() {
    check_closed(&[
        format!("/latest/agents/{B}/messages"),
        format!("/latest/agents/{A}/messages"),
        format!("/V1/AGENTS/{}/MESSAGES", A.to_uppercase()),
        format!("/V1/agents/{A}/messages"),
        format!("/v1/Agents/{A}/messages"),
        format!("/v1/agents/{A}/Messages"),
        format!("/v1/agents/{}/messages", A.to_uppercase()),
        format!("/v1/agents/{}/messages", A.replace("agent-", "AGENT-")),
        format!("/v1/agents/{}/messages", A.replace("agent-", "")),
        format!("/v1/agents/{}/messages", A.replace('-', "")),
        format!("/api/v1/agents/{A}/messages"),
        format!("/v2/agents/{A}/messages"),
        format!("/agents/{A}/messages"),
        format!("/v1/agents/{A}%20/messages"),
        format!("/v1/agents/{A}/messages%20"),
        format!("/v1/agents/{A}/messages%EF%BC%8F{B}"),
        format!("/v1/agents/{A}/messages.json"),
        format!("/v1/agents/{A}/messages:{B}"),
        format!("/v1/agents/{A},{B}/messages"),
        format!("/v1/agents/{A}&agent_id={B}/messages"),
    ]);
}

/// P-06.
#[test]
fn empty_segments_are_refused() {
    check_malformed(&[
        format!("//v1/agents/{A}/messages"),
        format!("///v1/agents/{A}/messages"),
        format!("/v1//agents/{A}/messages"),
        format!("/v1/agents//{A}/messages"),
        format!("/v1/agents/{A}//messages"),
        format!("/v1/agents/{A}/messages//"),
        format!("//evil.test/v1/agents/{A}/messages"),
        "//".to_owned(),
    ]);
}

/// P-07: nothing is decoded twice, because nothing that decodes to an escape is let in.
#[test]
fn escaped_percent_signs_are_refused() {
    check_malformed(&[
        format!("/v1/agents/{A}/messages%252f..%252f..%252f{B}"),
        format!("/v1/agents/{A}/%252e%252e/{B}/messages"),
        format!("/v1/agents/{A}/%25252e%25252e/{B}/messages"),
        format!("/v1/agents/{A}/messages%25"),
        format!("/v1/agents/{A}/messages%2525"),
        format!("/v1/agents/{B}%252Fmessages"),
    ]);
}

/// P-08.
#[test]
fn path_parameters_are_refused() {
    check_malformed(&[
        format!("/v1/agents/{A};x=1/messages"),
        format!("/v1/agents/{A}/messages;{B}"),
        format!("/v1/agents/..;/{B}/messages"),
        format!("/v1/agents/{A}/messages;"),
        format!("/v1;/agents/{A}/messages"),
        format!("/v1/agents/{A}%3B/messages"),
        format!("/v1/agents/{A}/..%3B/{B}"),
    ]);
}

/// P-10: a fragment never comes over the wire from a browser; who sends one wants it read twice.
#[test]
fn fragments_are_refused() {
    check_malformed(&[
        format!("/v1/agents/{A}/messages#/../../{B}/messages"),
        format!("/v1/agents/{A}#"),
        format!("/v1/agents/{A}/messages?limit=1#x"),
        format!("/v1/agents/{A}/messages%23/../{B}"),
        format!("/#/v1/agents/{A}/messages"),
    ]);
}

/// P-11.
#[test]
fn nul_and_other_controls_are_refused_raw_and_escaped() {
    let mut targets = vec![
        format!("/v1/agents/{A}/messages%00"),
        format!("/v1/agents/{A}%00/messages"),
        format!("/v1/agents/{A}/mess%00ages"),
    ];
    for control in ["%01", "%07", "%08", "%1B", "%1F", "%7F", "\0", "\x01", "\x1b", "\x7f", "\x0b"]
    {
        targets.push(format!("/v1/agents/{A}/messages{control}"));
    }
    check_malformed(&targets);
}

/// P-13.
#[test]
fn escaped_line_ends_are_refused() {
    check_malformed(&[
        format!("/v1/agents/{A}/messages%0d%0aX-Injected:%20y"),
        format!("/v1/agents/{A}/messages%0D%0AX-Injected:%20y"),
        format!("/v1/agents/{A}%0a/messages"),
        format!("/v1/agents/{A}%0A/messages"),
        format!("/v1/agents/{A}/messages%0D%0A%0D%0AGET%20/v1/admin/users%20HTTP/1.1"),
        format!("/v1/agents/{A}/messages%09x"),
        format!("/v1/agents/{A}/messages%E2%80%A8%0Ax"),
    ]);
}

/// The same in a query: whatever it decodes to, it is sent on escaped and on one line.
#[test]
fn line_ends_in_a_query_never_split_the_request() {
    let stage = Stage::set();
    for query in ["?after=%0d%0aX-Injected:%20y", "?after=%0D%0A%0D%0AGET%20/%20HTTP/1.1", "?%0a=1"]
    {
        let target = agent_path(A, &format!("/messages{query}"));
        let answer = stage.gate.call("GET", &target).token(&stage.reader).send();
        assert!(matches!(answer.status, 200 | 400 | 403), "{query}: {}", answer.status);
    }
    for request in stage.recorder.requests() {
        assert!(!request.contains("\nX-Injected"), "{:?}", request.head);
        assert!(request.target().starts_with(&agent_path(A, "/messages?after=")));
    }
}

/// P-17: one form of target, one place for the authority.
#[test]
fn absolute_forms_are_refused() {
    let targets: Vec<String> = [
        "http://evil.test",
        "http://gw.test",
        "https://gw.test",
        "http://u:p@gw.test",
        "HTTP://GW.TEST",
        "http:/",
        "http:",
        "ftp://gw.test",
        "gw.test",
    ]
    .iter()
    .map(|authority| format!("{authority}/v1/agents/{A}/messages"))
    .collect();
    check_malformed(&targets);
}

/// P-18.
#[test]
fn targets_that_are_no_path_are_refused_and_connect_never_tunnels() {
    let stage = Stage::set();
    for line in [
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET evil:80 HTTP/1.1",
        "GET  HTTP/1.1",
        "GET ?x=1 HTTP/1.1",
        "CONNECT evil:80 HTTP/1.1",
        "CONNECT 127.0.0.1:22 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT * HTTP/1.1",
    ] {
        stage.refuses_and_closes(stage.head(line, "\r\n"), &[400, 405, 501]);
    }
    stage.still_serves();
}

/// P-21: a query is data, whatever it looks like.
#[test]
fn query_that_looks_like_a_path_moves_nothing() {
    let stage = Stage::set();
    for query in [
        format!("x=/../{B}"),
        format!("agent_id={B}"),
        "%2e%2e".to_owned(),
        format!("limit=1&agent_id={B}"),
        format!("limit=1&agent_ids={B}"),
        format!("limit=1&limit=2&%61gent_id={B}"),
        format!("/../../{B}/messages"),
    ] {
        let target = agent_path(A, &format!("/messages?{query}"));
        stage.refuses(stage.get(&target), &[400, 403]);
    }
    // One reading for every server: what is a value here cannot be a key there.
    let target = agent_path(A, &format!("/messages?limit=1;agent_id={B}"));
    assert_eq!(stage.gate.call("GET", &target).token(&stage.reader).send().status, 200);
    let sent = agent_path(A, &format!("/messages?limit=1%3Bagent_id%3D{B}"));
    assert_eq!(stage.recorder.only_request().target(), sent);
    stage.still_serves();
}

/// P-22.
#[test]
fn odd_mixtures_of_dots_and_slashes_are_refused() {
    let targets = [
        "/....//v1/admin",
        "/%2e%2e%2e%2e//x",
        "/..",
        "/.",
        "/a/b/../../../../c",
        "/.//",
        "/../",
        "/./../",
        "/v1/agents/.%2e/x",
        "/v1/agents/%2e%2e;/x",
        "/v1/agents/..%00/x",
        "/v1/agents/..%0d/x",
        "/v1/agents/..\\x",
        "/..\\..\\v1/agents/",
        "/%c0%ae%c0%ae/x",
        "/%C0%AE%C0%AE/x",
        "/%C0%AF/x",
        "/%E0%80%AF/x",
        "/%F0%80%80%AF/x",
        "/%ED%A0%80/x",
        "/%FF/x",
        "/%u002e%u002e/x",
        "/%zz",
        "/%",
        "/%2",
        "/x%",
        "/a|b",
        "/a\"b",
        "/a<b>",
        "/a^b",
        "/a`b",
        "/{x}",
        "/[x]",
    ];
    check_malformed(&targets.map(str::to_owned));
}

#[test]
fn raw_bytes_beyond_ascii_are_refused() {
    let stage = Stage::set();
    for bytes in [&b"\xc3\xa9"[..], b"\xff", b"\xc0\xaf", b"\xe2\x80\xae", b"\x80"] {
        let line = [b"GET /v1/agents/", A.as_bytes(), b"/messages", bytes, b" HTTP/1.1"].concat();
        let rest = stage.head("", "\r\n").into_bytes();
        stage.refuses_and_closes([line, rest].concat(), &[400]);
    }
    stage.still_serves();
}

/// P-26 in small: whatever a path of pieces is taken for, nobody but A is ever reached with it. The
/// suite `outbound` asks a real router of the upstream's kind.
#[test]
fn no_mixture_of_pieces_leads_to_another_agent() {
    const PIECES: [&str; 22] = [
        "/", "v1", "agents", A, B, "messages", "..", ".", "%2e", "%2F", "%252F", ";", "//", "\\",
        "#", "?", "%00", "%5C", "stream", "latest", "%61", "@",
    ];
    let stage = Stage::set();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(random >> 33).unwrap() % below
    };
    for _ in 0..600 {
        let mut target = agent_path(A, "/messages");
        for _ in 0..=next(3) {
            let at = target.match_indices('/').map(|(at, _)| at).nth(next(5)).unwrap_or(0);
            let piece = PIECES[next(PIECES.len())];
            if next(2) == 0 {
                target.insert_str(at + 1, piece);
            } else {
                target.push_str(piece);
            }
        }
        let mut connection = Connection::open(stage.gate.public());
        connection.send(stage.get(&target));
        connection.answer("GET");
    }
    for request in stage.recorder.requests() {
        let target = request.target();
        let path = target.split('?').next().unwrap();
        assert_eq!(path, agent_path(A, "/messages"), "{target}");
    }
}
