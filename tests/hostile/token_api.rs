//! The token API and the configuration: no way around the server key, nothing dangerous by default.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::harness::{
    A, Connection, ORIGIN, SERVER_KEY, TOKENS, agent_path, create, create_answer,
};
use crate::stage::Stage;

/// in any spelling of the path, by any method.
#[test]
fn client_token_has_no_way_into_the_token_api() {
    let stage = Stage::set();
    let body = json!({"policy": [{"type": "agent", "id": A, "access": ["write_agent"]}], "hostname": ORIGIN});
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for target in [
            TOKENS.to_owned(),
            format!("{TOKENS}/"),
            format!("{TOKENS}//"),
            format!("{TOKENS}/x/y"),
            format!("{TOKENS}?limit=1"),
            format!("{TOKENS}/{}", stage.reader),
            format!("{TOKENS}/../agents/"),
        ] {
            let call = stage.gate.call(method, &target).token(&stage.reader);
            let call =
                if matches!(method, "POST" | "PUT" | "PATCH") { call.json(&body) } else { call };
            let answer = call.open().answer(method);
            assert!(matches!(answer.status, 400 | 403), "{method} {target}: {}", answer.status);
        }
    }
    for target in [
        "/V1/client-side-access-tokens",
        "/v1/client-side-access-tokens%2F",
        "/latest/client-side-access-tokens",
        "/v1/Client-Side-Access-Tokens",
        "/v1/client%2Dside-access-tokens",
        "//v1/client-side-access-tokens",
    ] {
        let answer =
            stage.gate.call("POST", target).token(&stage.reader).json(&body).open().answer("POST");
        assert!(matches!(answer.status, 400 | 403 | 404), "{target}: {}", answer.status);
    }
    stage.recorder.assert_untouched();
    stage.still_serves();
}

/// a server key is a credential in one place only, and it makes nobody else.
#[test]
fn server_key_counts_only_as_the_credential_of_its_request() {
    let stage = Stage::set();
    let target = "/v1/tools/";
    for (lines, query) in [
        (String::new(), format!("?key={SERVER_KEY}")),
        (String::new(), format!("?access_token={SERVER_KEY}")),
        (format!("X-Api-Key: {SERVER_KEY}\r\n"), String::new()),
        (format!("Cookie: key={SERVER_KEY}\r\n"), String::new()),
        (format!("Proxy-Authorization: Bearer {SERVER_KEY}\r\n"), String::new()),
        (format!("X-BARE-PASSWORD: password {SERVER_KEY}\r\n"), String::new()),
        (format!("Authorization: Basic {SERVER_KEY}\r\n"), String::new()),
        (format!("Authorization: {SERVER_KEY}\r\n"), String::new()),
    ] {
        stage.refuses(
            format!("GET {target}{query} HTTP/1.1\r\nHost: gw.test\r\n{lines}\r\n"),
            &[401],
        );
        stage.refuses(
            format!("GET {TOKENS}{query} HTTP/1.1\r\nHost: gw.test\r\n{lines}\r\n"),
            &[401],
        );
    }
    let shortened = &SERVER_KEY[..SERVER_KEY.len() - 1];
    for key in
        [shortened, &format!("{SERVER_KEY}0"), &SERVER_KEY.to_uppercase(), "sk-let-", "undefined"]
    {
        stage.refuses(stage.head_as(key, &format!("GET {target} HTTP/1.1"), "\r\n"), &[401]);
    }
    let call = stage.gate.call("GET", target).bearer(SERVER_KEY).header("user_id", "user-x");
    assert_eq!(call.send().status, 200);
    assert!(stage.recorder.only_request().header("user_id").is_none());
}

/// a filter is data.
#[test]
fn listing_takes_no_instructions() {
    let stage = Stage::set();
    for query in [
        "agentId=%27%20OR%20%271%27=%271",
        "agentId=agent-%25",
        "agentId=",
        "agentId=%00",
        "account=other",
        "limit=-1",
        "limit=0",
        "limit=1000000000",
        "limit=1&limit=2",
        "limit=1%3BDROP%20TABLE",
        "offset=-1",
        "offset=1e9",
        "limit=NaN",
        "limit=Infinity",
        "order=asc",
        "limit[]=1",
        "agent_id=x",
        "agentId=*",
    ] {
        let answer = stage.gate.call("GET", &format!("{TOKENS}?{query}")).bearer(SERVER_KEY).send();
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
    }
    let past_the_end = stage.gate.call("GET", &format!("{TOKENS}?offset=9007199254740991"));
    assert!(matches!(past_the_end.bearer(SERVER_KEY).send().status, 200 | 400));
}

/// what is for operators is nowhere on the public listener.
#[test]
fn public_listener_shows_nothing_of_the_admin_one() {
    let stage = Stage::set();
    for target in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/debug/pprof/",
        "/debug/vars",
        "/console",
        "/admin",
        "/stats",
    ] {
        let answer = stage.gate.call("GET", target).send();
        assert_eq!(answer.status, 401, "{target}");
        let answer = stage.gate.call("GET", target).token(&stage.reader).send();
        assert_eq!(answer.status, 403, "{target}");
    }
    stage.recorder.assert_untouched();
    let admin = stage.gate.admin_get("/metrics").text();
    assert!(admin.contains("ckgate_requests_total"));
    for target in ["/v1/tools/", TOKENS, "/debug/pprof/", "/metrics/../v1/", "//metrics"] {
        assert_eq!(stage.gate.admin_get(target).status, 404, "{target}");
    }
}

/// a hostname is compared, and never looked up or connected to.
#[test]
fn hostname_is_never_connected_to() {
    let stage = Stage::set();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    for hostname in [format!("http://{address}"), address.to_string()] {
        let body = json!({"policy": [{"type": "agent", "id": A, "access": ["read_messages"]}], "hostname": hostname});
        let token = create(&stage.gate, &body)["token"].as_str().unwrap().to_owned();
        let call = stage.gate.call("GET", &agent_path(A, "/messages")).bearer(&token);
        assert_eq!(call.origin(&format!("http://{address}")).send().status, 200);
    }
    assert!(listener.accept().is_err(), "somebody connected");
    for hostname in ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "gopher://x"]
    {
        let body = json!({"policy": [{"type": "agent", "id": A, "access": ["read_messages"]}], "hostname": hostname});
        assert_eq!(create_answer(&stage.gate, &body).status, 400, "{hostname}");
    }
}

/// L-06: nothing that holds a token is kept by anyone on the way.
#[test]
fn answers_with_tokens_are_not_stored() {
    let stage = Stage::set();
    let body = json!({"policy": [{"type": "agent", "id": A, "access": ["read_messages"]}], "hostname": ORIGIN});
    for answer in [
        create_answer(&stage.gate, &body),
        stage.gate.call("GET", TOKENS).bearer(SERVER_KEY).send(),
    ] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("location").is_none() && answer.header("etag").is_none());
    }
}

/// D-09 on the wire of creation: numbers, dates and strings at their extremes.
#[test]
fn extreme_values_are_refused_or_meant() {
    let stage = Stage::set();
    let entry = json!({"type": "agent", "id": A, "access": ["read_messages"]});
    for expires_at in [
        json!("NaN"),
        json!(f64::MAX),
        json!(-1),
        json!("0000-00-00T00:00:00Z"),
        json!("9999-12-31T23:59:59Z"),
        json!("+292278994-08-17T07:12:55Z"),
        json!("2026-02-30T00:00:00Z"),
        json!(""),
        json!("now"),
        json!({"$date": 1}),
        json!([]),
        json!(true),
        json!("1e400"),
        json!("2100-01-01T00:00:00.9999999999999999Z"),
    ] {
        let body = json!({"policy": [entry], "hostname": ORIGIN, "expires_at": expires_at});
        assert_eq!(create_answer(&stage.gate, &body).status, 400, "{expires_at}");
    }
    let many = vec![entry.clone(); 101];
    assert_eq!(
        create_answer(&stage.gate, &json!({"policy": many, "hostname": ORIGIN})).status,
        400
    );
    for text in [
        "{\"policy\":[],\"policy\":[]}",
        "[]",
        "\"x\"",
        "{\"hostname\":\"\u{202e}\"}",
        "{\"a\":1e999}",
    ] {
        let line = format!("POST {TOKENS} HTTP/1.1");
        let framing = format!("Content-Length: {}\r\n\r\n{text}", text.len());
        let mut connection = Connection::open(stage.gate.public());
        connection.send(stage.head_as(SERVER_KEY, &line, &framing));
        assert_eq!(connection.answer("POST").status, 400, "{text}");
    }
}

/// What `ckgate check` says to a file with these lines.
fn check(text: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ckgate.toml");
    fs::write(&file, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_ckgate"))
        .arg("check")
        .arg(&file)
        .current_dir(&folder)
        .env_clear()
        .env("CKGATE_SERVER_KEY", SERVER_KEY)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// each of these stops the gate before it listens, with words about the key.
#[test]
fn dangerous_configuration_does_not_start() {
    assert_eq!(check("").status.code(), Some(0));
    for (text, about) in [
        ("[upstream]\nurl = \"http://169.254.169.254\"", "url"),
        ("[upstream]\nurl = \"http://[fe80::1]:80\"", "url"),
        ("[upstream]\nurl = \"http://[::ffff:169.254.169.254]\"", "url"),
        ("[upstream]\nurl = \"http://2852039166\"", "url"),
        ("[upstream]\nurl = \"http://0xA9FEA9FE\"", "url"),
        ("[upstream]\nurl = \"file:///etc/passwd\"", "url"),
        ("[upstream]\nurl = \"http://u:p@letta\"", "url"),
        ("[upstream]\nurl = \"http://letta/v1\"", "url"),
        ("[upstream]\nurl = \"http://letta?x\"", "url"),
        ("[upstream]\nurl = \"http://letta\\r\\nx: y\"", "url"),
        ("[upstream]\ncredential = \"in plain\"", "credential"),
        ("[upstream]\ncredential = { env = \"NOT_SET\" }", "NOT_SET"),
        ("[upstream]\ncredential = { file = \"/etc/passwd\" }", "credential"),
        ("[[accounts]]\nname = \"default\"\nserver_keys = []", "server_keys"),
        ("[[accounts]]\nname = \"default\"\nserver_keys = [{ env = \"NOT_SET\" }]", "NOT_SET"),
        ("[listn]\npublic = \"0.0.0.0:1\"", "listn"),
        ("[listen]\npublik = \"0.0.0.0:1\"", "publik"),
        ("[listen]\npublic = \"127.0.0.1:8285\"", "listen"),
        ("[limits]\nhead_bytes_max = -1", "head_bytes_max"),
        ("[limits]\ntarget_bytes_max = 70000", "target_bytes_max"),
        ("[log]\nlevel = \"all\"", "level"),
        ("[store]\nurl = \"mysql://x\"", "url"),
    ] {
        let output = check(text);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}: {told}");
        assert!(told.contains(about), "{text}: {told}");
        assert!(!told.contains("in plain") && !told.contains(SERVER_KEY), "{told}");
    }
}

/// without any server key there is no gate.
#[test]
fn gate_without_any_credential_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ckgate"))
        .arg("serve")
        .current_dir(&folder)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("server key"), "{output:?}");
}
