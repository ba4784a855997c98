//! Headers that would pass for somebody else's, vanish, or be read twice.

use crate::harness::{A, CREDENTIAL, Connection, ORIGIN, SERVER_KEY, agent_path, says};
use crate::stage::Stage;

/// I-01: also where the second one hides behind the body.
#[test]
fn second_credential_in_any_place_is_refused() {
    let stage = Stage::set();
    let target = agent_path(A, "/messages");
    let line = format!("GET {target} HTTP/1.1");
    for second in [
        format!("Authorization: Bearer {SERVER_KEY}\r\n\r\n"),
        format!("authorization: Bearer {}\r\n\r\n", stage.reader),
        "AUTHORIZATION: Basic eDp5\r\n\r\n".to_owned(),
        "Authorization:\r\n\r\n".to_owned(),
    ] {
        stage.refuses(stage.head(&line, &second), &[400, 401]);
    }
    let body = says("hello").to_string();
    let chunk = format!("{:x}\r\n{body}\r\n", body.len());
    for trailer in
        [format!("authorization: Bearer {SERVER_KEY}\r\n"), "X-A: 1\r\n".into(), "\t\r\n".into()]
    {
        let head = stage.post("Transfer-Encoding: chunked\r\nTrailer: authorization\r\n\r\n");
        stage.breaks_off(format!("{head}{chunk}0\r\n{trailer}\r\n"));
    }
    stage.still_serves();
}

/// I-02, I-03, I-04: the identity upstream is the gate's alone, however often and where it is claimed.
#[test]
fn claimed_identities_arrive_nowhere() {
    let stage = Stage::set();
    let claims = [
        "user_id",
        "USER_ID",
        "user-id",
        "User_Id",
        "X-User-Id",
        "x-organization-id",
        "x-run-id",
        "X-BARE-PASSWORD",
        "x-billing-customer-id",
        "X-Experimental-Letta-V1-Agent",
        "x-api-key",
        "X-Forwarded-User",
        "X-Remote-User",
        "X-Auth-Request-User",
        "Cookie",
        "Cookie2",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Authentication",
        "X-Authorization",
        "Token",
    ];
    for claim in claims {
        let head = format!(
            "{claim}: CLAIMED\r\nGET-{claim}: CLAIMED\r\n{claim}: CLAIMED\r\n{claim}:CLAIMED\r\n\r\n"
        );
        let mut connection = Connection::open(stage.gate.public());
        let line = format!("GET {} HTTP/1.1", agent_path(A, "/messages"));
        connection.send(stage.head(&line, &head));
        assert_eq!(connection.answer("GET").status, 200, "{claim}");
    }
    let requests = stage.recorder.requests();
    assert_eq!(requests.len(), claims.len());
    for request in requests {
        assert!(!request.contains("CLAIMED") && !request.contains("ck-let-"), "{:?}", request.head);
        assert_eq!(request.header_all("authorization"), [format!("Bearer {CREDENTIAL}")]);
        assert!(request.header_all("user_id").is_empty());
    }
}

/// H-07: nothing that speaks of an earlier hop is believed or passed on.
#[test]
fn forwarding_headers_arrive_nowhere() {
    let stage = Stage::set();
    let names = [
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-For",
        "X-Forwarded-Uri",
        "X-Forwarded-Method",
        "X-Forwarded-Server",
        "X-Forwarded-Scheme",
        "X-Forwarded-Ssl",
        "Forwarded",
        "X-Original-URL",
        "X-Original-URI",
        "X-Original-Method",
        "X-Rewrite-URL",
        "X-Real-IP",
        "X_Forwarded_Proto",
        "x_forwarded_for",
        "X_REAL_IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Host",
        "X-HTTP-Host-Override",
        "Via",
        "Max-Forwards",
        "X-Envoy-Original-Path",
        "X-Request-Id",
        "Front-End-Https",
    ];
    for name in names {
        let call = stage.gate.call("GET", &agent_path(A, "/messages")).token(&stage.reader);
        let call = call.header(name, "MARKED").header(&name.to_uppercase(), "MARKED");
        assert_eq!(call.send().status, 200, "{name}");
    }
    for request in stage.recorder.requests() {
        assert!(!request.contains("MARKED"), "{:?}", request.head);
        let lower = request.header_names().join(" ");
        assert!(!lower.contains("forwarded") && !lower.contains("original"), "{lower}");
    }
}

/// I-06, I-07: what `Connection` names is neither lost nor passed on.
#[test]
fn connection_header_cannot_take_the_framing_away() {
    let stage = Stage::set();
    let body = says("hello").to_string();
    let sized = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked =
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for named in [
        "Content-Length",
        "Transfer-Encoding",
        "content-length, transfer-encoding",
        "Host",
        "close",
        "keep-alive",
        "authorization",
        "user_id, x-forwarded-for",
        "close, host",
        "TE",
        "trailers",
        "content-type",
        "x-request-id, traceparent",
        ",,,",
        "\t",
        "\"close\"",
    ] {
        for framing in [&sized, &chunked] {
            let mut connection = Connection::open(stage.gate.public());
            connection.send(stage.post(&format!("Connection: {named}\r\n{framing}")));
            assert_eq!(connection.answer("POST").status, 200, "{named}");
        }
    }
    let requests = stage.recorder.requests();
    assert_eq!(requests.len(), 32);
    for request in requests {
        assert_eq!(request.json(), says("hello"));
        assert_eq!(request.header_all("authorization"), [format!("Bearer {CREDENTIAL}")]);
        assert_eq!(request.header_all("content-length"), [body.len().to_string()]);
        assert_eq!(request.header_all("host").len(), 1);
        for name in ["connection", "te", "keep-alive", "transfer-encoding", "upgrade", "trailer"] {
            assert!(request.header_all(name).is_empty(), "{name} in {:?}", request.head);
        }
    }
}

/// I-09: the method is the request line's.
#[test]
fn method_is_overridden_by_nothing() {
    let stage = Stage::set();
    let body = says("hello").to_string();
    for (name, value) in [
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Method-Override", "PATCH"),
        ("X-Original-Method", "DELETE"),
        ("_method", "DELETE"),
    ] {
        let call = stage.gate.call("POST", &agent_path(A, "/messages")).token(&stage.writer);
        let answer =
            call.header(name, value).header("Content-Type", "application/json").body(&body);
        assert_eq!(answer.send().status, 200);
    }
    assert!(stage.recorder.requests().iter().all(|request| request.method() == "POST"));
    let before = stage.recorder.bytes_total();
    let by_form = stage.gate.call("POST", &agent_path(A, "/messages")).token(&stage.writer);
    let by_form = by_form.header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(by_form.body("_method=DELETE").send().status, 400);
    let by_query = stage.gate.call("POST", &agent_path(A, "/messages?_method=DELETE"));
    assert_eq!(by_query.token(&stage.writer).json(&says("x")).send().status, 403);
    assert_eq!(stage.recorder.bytes_total(), before);
}

/// I-11: one grammar for a credential; the letter case of the scheme alone is free.
#[test]
fn credential_has_one_spelling() {
    let stage = Stage::set();
    let token = stage.reader.clone();
    let target = agent_path(A, "/messages");
    let request = |value: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: gw.test\r\nOrigin: {ORIGIN}\r\nAuthorization:{value}\r\n\r\n"
        )
    };
    for value in [
        format!(" Bearer  {token}"),
        format!(" Bearer\t{token}"),
        format!(" Bearer {token} {token}"),
        format!(" Bearer {token},x"),
        format!(" Bearer {token};x"),
        format!(" Bearer \"{token}\""),
        format!(" Bearer={token}"),
        format!(" Bearer: {token}"),
        format!(" Bearer{token}"),
        format!(" {token}"),
        format!(" Basic {token}"),
        format!(" Token {token}"),
        format!(" bearer Bearer {token}"),
        format!(" Bearer ck-let-{token}"),
        format!(" Bearer {}", token.replace("ck-let-", "ck-LET-")),
        format!(" Bearer {}", token.replace("ck-let-", "ck_let_")),
        format!(" Bearer {token}%00"),
        format!(" Bearer {token}\u{200b}"),
        " Bearer".to_owned(),
        " ".to_owned(),
        String::new(),
    ] {
        stage.refuses(request(&value), &[401]);
    }
    for value in [format!(" bearer {token}"), format!(" BEARER {token}"), format!("Bearer {token}")]
    {
        let mut connection = Connection::open(stage.gate.public());
        connection.send(request(&value));
        assert_eq!(connection.answer("GET").status, 200, "{value}");
    }
}

/// I-12: what is no token's text costs no look-up.
#[test]
fn text_that_is_no_token_is_refused_without_asking_the_store() {
    let stage = Stage::set();
    let lookups = stage.metric("ckgate_store_lookups_total");
    let target = agent_path(A, "/messages");
    let tail = &stage.reader["ck-let-".len()..];
    let texts: Vec<Vec<u8>> = vec![
        b"ck-let-".to_vec(),
        b"ck-let-\x80".to_vec(),
        format!("ck-let-{}\u{e9}", &tail[1..]).into_bytes(),
        format!("ck-let-{}", "A".repeat(52)).into_bytes(),
        format!("ck-let-{}", "A".repeat(4096)).into_bytes(),
        format!("ck-let-{tail}=").into_bytes(),
        format!("ck-let-{}", tail.replacen(&tail[20..21], "+", 1)).into_bytes(),
        format!("ck-let-{}", "\u{661}".repeat(52)).into_bytes(),
        format!("ck%2Dlet%2D{tail}").into_bytes(),
        format!("ck-let-{}", tail.to_lowercase()).into_bytes(),
        format!("ck-let-{}", tail.chars().rev().collect::<String>()).into_bytes(),
    ];
    for text in &texts {
        let head = format!("GET {target} HTTP/1.1\r\nHost: gw.test\r\nAuthorization: Bearer ");
        stage.refuses([head.as_bytes(), text, b"\r\n\r\n"].concat(), &[401]);
    }
    let huge = format!("Authorization: Bearer ck-let-{}\r\n\r\n", "A".repeat(64 << 10));
    let line = format!("GET {target} HTTP/1.1\r\nHost: gw.test\r\n{huge}");
    stage.refuses_and_closes(line, &[431]);
    assert_eq!(stage.metric("ckgate_store_lookups_total"), lookups);
}

/// I-14.
#[test]
fn methods_are_matched_letter_by_letter() {
    let stage = Stage::set();
    for method in [
        "get",
        "GeT",
        "Post",
        "FOO",
        "TRACE",
        "TRACK",
        "DEBUG",
        "PROPFIND",
        "MOVE",
        "SEARCH",
        "QUERY",
        "PURGE",
        "LINK",
        "PRI",
        "M-SEARCH",
        "GET\u{e9}",
        "G\0ET",
        "\"GET\"",
        "GET,GET",
        "_GET",
    ] {
        let line = format!("{method} {} HTTP/1.1", agent_path(A, "/messages"));
        stage.refuses_and_closes(stage.head(&line, "\r\n"), &[400, 405, 501]);
    }
    let long = format!("{} {} HTTP/1.1", "M".repeat(64), agent_path(A, "/messages"));
    stage.refuses_and_closes(stage.head(&long, "\r\n"), &[405, 501]);
    stage.still_serves();
}

#[test]
fn header_lines_that_two_parsers_read_differently_are_refused() {
    let stage = Stage::set();
    let line = format!("GET {} HTTP/1.1", agent_path(A, "/messages"));
    for header in [
        "X-A : 1\r\n",
        "X-A\t: 1\r\n",
        " X-A: 1\r\n",
        "X-A: 1\r\n folded\r\n",
        "X-A: 1\r\n\tfolded\r\n",
        "X-A\r\n",
        ": 1\r\n",
        "\r\r\n",
        "X A: 1\r\n",
        "X-A: 1\r\rX-B: 2\r\n",
        "X-A: 1\rX-B: 2\r\n",
        "X-A: \0\r\n",
        "X-A: \x01\r\n",
        "X-A: \x7f\r\n",
        "X-A: \x0b\r\n",
        "X-\0A: 1\r\n",
        "X-A: 1\n",
        "X(A): 1\r\n",
        "X,A: 1\r\n",
        "X;A: 1\r\n",
        "X/A: 1\r\n",
        "X@A: 1\r\n",
        "X[A]: 1\r\n",
        "\"X\": 1\r\n",
        "X-\u{e9}: 1\r\n",
        "{X}: 1\r\n",
        "X=A: 1\r\n",
        "X?A: 1\r\n",
        "X\\A: 1\r\n",
        "<X>: 1\r\n",
    ] {
        stage.refuses_and_closes(stage.head(&line, &format!("{header}\r\n")), &[400]);
    }
    stage.still_serves();
}
