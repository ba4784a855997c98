//! What a gate writes, anywhere, holds no secret in any spelling, and nothing that lies to its reader.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{
    A, B, CREDENTIAL, Gate, OTHER_SERVER_KEY, Recorder, Reply, SERVER_KEY, TOKENS, agent_path,
    delete, field, mint, says,
};
use crate::stage::{Stage, metric};

/// The spellings a secret could be written in: as it is, in part, escaped, in base64 and hexadecimal.
fn spellings(secret: &str) -> BTreeSet<String> {
    let mut spellings = BTreeSet::from([secret.to_owned()]);
    let end = &secret[secret.len() / 2..];
    spellings.insert(end.to_owned());
    spellings.insert(end.to_lowercase());
    spellings.insert(end.to_uppercase());
    spellings.insert(end.chars().rev().collect());
    spellings.insert(secret.replace('-', "%2D")[10..].to_owned());
    spellings.insert(secret.replace('-', "%2d")[10..].to_owned());
    let (mut percent, mut hex) = (String::new(), String::new());
    for byte in end.bytes() {
        write!(percent, "%{byte:02X}").unwrap();
        write!(hex, "{byte:02x}").unwrap();
    }
    spellings.extend([percent.to_lowercase(), percent, hex.to_uppercase(), hex]);
    // Whatever stands before it, base64 shifts it by 0, 1 or 2; its ends depend on the neighbours.
    for shift in 0..3 {
        let padded = format!("{}{secret}", &"xx"[..shift]);
        let encoded = STANDARD.encode(padded);
        let middle = encoded[4..encoded.len() - 6].to_owned();
        spellings.insert(middle.replace('+', "-").replace('/', "_"));
        spellings.insert(middle);
    }
    spellings
}

#[track_caller]
fn assert_absent(place: &str, bytes: &[u8], secrets: &[String]) {
    let text = String::from_utf8_lossy(bytes);
    for secret in secrets {
        for spelling in spellings(secret) {
            assert!(!text.contains(&spelling), "{place} holds `{spelling}` of a secret");
        }
    }
}

/// L-01, L-02, L-05, L-07: everything that a busy and badly treated gate wrote.
#[test]
fn nothing_a_gate_wrote_holds_a_secret() {
    let recorder = Recorder::start();
    let mut gate = Gate::start_with(&recorder, &[("log.level", "trace".into())]);
    let token = mint(&gate, A, &["read_messages", "write_messages", "read_agent"]);
    let gone = mint(&gate, A, &["read_messages"]);
    delete(&gate, &gone);
    let secrets =
        [&token, &gone, SERVER_KEY, OTHER_SERVER_KEY, CREDENTIAL].map(ToString::to_string);
    let mut bodies = Vec::new();
    // The credential is nobody's to send; it may come back only from the upstream.
    for secret in &secrets[..4] {
        let escaped = secret.replace('-', "%2D");
        for credential in [&token, &gone, SERVER_KEY, "wrong"] {
            for target in [
                format!("/v1/{secret}"),
                format!("/v1/{escaped}"),
                format!("/v1/x?{secret}"),
                format!("/v1/x?{escaped}=1"),
                agent_path(A, &format!("/messages?{secret}=1")),
                agent_path(A, &format!("/messages?limit={secret}")),
                format!("/v1/agents/{secret}/messages"),
                agent_path(A, &format!("/messages?x={escaped}")),
                format!("/v1/x#{secret}"),
            ] {
                let call = gate.call("GET", &target).token(credential).header("Cookie", secret);
                bodies.push(call.header("X-A", secret).open().answer("GET").text());
            }
        }
        for (method, rest, body) in [
            ("POST", "/messages", serde_json::json!({secret: 1})),
            (
                "POST",
                "/messages",
                serde_json::json!({"messages": [{"role": secret, "content": "x"}]}),
            ),
            ("POST", "/messages", says(secret)),
            ("PATCH", "", serde_json::json!({secret: secret})),
        ] {
            let call = gate.call(method, &agent_path(A, rest)).token(&token);
            let answer = call.json(&body).open().answer(method);
            if answer.status >= 400 {
                bodies.push(answer.text());
            }
        }
        for origin in
            [format!("https://{secret}"), secret.clone(), format!("https://{secret}.test")]
        {
            let call =
                gate.call("GET", &agent_path(A, "")).bearer(&token).origin(&origin).host(secret);
            bodies.push(call.open().answer("GET").text());
        }
        let body = serde_json::json!({"policy": [{"type": secret, "id": secret, "access": [secret]}], secret: 1});
        bodies.push(
            gate.call("POST", TOKENS).bearer(SERVER_KEY).json(&body).open().answer("POST").text(),
        );
        let list = gate.call("GET", &format!("{TOKENS}?agentId={secret}")).bearer(SERVER_KEY);
        bodies.push(list.open().answer("GET").text());
        for method in ["DELETE", "PUT"] {
            let target = format!("{TOKENS}/{secret}/{secret}");
            bodies.push(gate.call(method, &target).bearer(SERVER_KEY).open().answer(method).text());
        }
    }
    // An upstream that breaks, and one that repeats what it was told.
    recorder.answer_next(Reply::raw(format!("HTTP/1.1 {CREDENTIAL}\r\n\r\n")).close());
    bodies.push(
        gate.call("POST", &agent_path(A, "/messages")).token(&token).json(&says("x")).send().text(),
    );
    let metrics = gate.admin_get("/metrics").text();
    gate.terminate();
    gate.wait_for_exit();
    let others: Vec<String> = secrets.to_vec();
    assert_absent("the log", gate.log_lines().join("\n").as_bytes(), &others);
    assert_absent("the metrics", metrics.as_bytes(), &others);
    for body in bodies {
        // An error may repeat what nobody would take for a secret; never a key, a token, a credential.
        let repeated = body.contains(CREDENTIAL);
        assert!(!repeated || !body.contains("HTTP/1.1"), "{body}");
        assert_absent("an answer", body.as_bytes(), &others[..4]);
    }
    let master = fs::read_to_string(gate.directory().join("ckgate.key")).unwrap();
    let kept =
        ["server-key", "other-server-key", "upstream-credential", "ckgate.key", "ckgate.toml"];
    let mut looked_at = 0;
    for entry in fs::read_dir(gate.directory()).unwrap() {
        let path = entry.unwrap().path();
        if kept.contains(&path.file_name().unwrap().to_str().unwrap()) {
            continue;
        }
        looked_at += 1;
        assert_file_clean(&path, &others);
        assert!(
            !fs::read(&path).unwrap().windows(20).any(|w| w == &master.trim().as_bytes()[..20])
        );
    }
    assert!(looked_at > 0, "there is no store");
}

#[track_caller]
fn assert_file_clean(path: &Path, secrets: &[String]) {
    assert_absent(&path.display().to_string(), &fs::read(path).unwrap(), secrets);
}

/// L-01: a line of the log is one event, in characters that show themselves, of bounded length.
#[test]
fn nobody_writes_lines_of_his_own_into_the_log() {
    for format in ["json", "text"] {
        let stage = Stage::set_with(&[("log.format", format.into())]);
        inject(&stage);
        for line in stage.gate.log_lines() {
            let is_event = match format {
                "json" => field(&line, "message").is_some(),
                _ => line.split_once("Z ").is_some_and(|(_, rest)| {
                    let (level, target) = rest.trim_start().split_once(' ').unwrap();
                    matches!(level, "INFO" | "WARN") && target.trim_start().starts_with("ckgate::")
                }),
            };
            assert!(is_event, "no event: {line}");
            assert_harmless(&line);
        }
    }
}

fn inject(stage: &Stage) {
    let evil = [
        "\r\n{\"message\":\"fake\"}",
        "\u{202e}txt",
        "\u{2028}fake",
        "\u{1b}[2J",
        "\u{2066}x\u{2069}",
        "\u{85}",
        "\u{feff}",
    ];
    for evil in evil {
        let escaped = evil.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
        for target in [
            agent_path(A, &format!("/messages?{escaped}=1")),
            agent_path(A, &format!("/messages?limit={escaped}")),
            format!("/v1/x{escaped}"),
            format!("/v1/agents/{escaped}/messages"),
        ] {
            stage.gate.call("GET", &target).token(&stage.reader).open().answer("GET");
            stage.gate.call("GET", &target).bearer(SERVER_KEY).open().answer("GET");
        }
        let call = stage.gate.call("POST", &agent_path(A, "/messages")).token(&stage.writer);
        call.json(&serde_json::json!({evil: evil})).open().answer("POST");
        let create = stage.gate.call("POST", TOKENS).bearer(SERVER_KEY);
        create.json(&serde_json::json!({"hostname": evil, evil: 1})).open().answer("POST");
    }
    let long = "a".repeat(7000);
    stage.gate.call("GET", &format!("/v1/{long}")).token(&stage.reader).open().answer("GET");
    stage
        .gate
        .call("GET", &agent_path(A, &format!("/messages?{long}=1")))
        .token(&stage.reader)
        .send();
    let host = format!("{}.test", "a.".repeat(120));
    let call = stage.gate.call("GET", &agent_path(A, "/messages")).bearer(&stage.reader);
    call.host(&host).origin(&format!("https://{host}")).send();
}

#[track_caller]
fn assert_harmless(line: &str) {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    assert!(!line.chars().any(hidden), "{}", line.escape_debug());
    assert!(line.len() < 2500, "{} bytes: {line}", line.len());
}

/// L-05: to the caller, unknown, deleted and another gate's token are one and the same.
#[test]
fn answer_does_not_tell_why_a_token_is_not_valid() {
    let stage = Stage::set();
    let other = Gate::start(&stage.recorder);
    let foreign = mint(&other, A, &["read_messages"]);
    let gone = mint(&stage.gate, A, &["read_messages"]);
    delete(&stage.gate, &gone);
    let mut changed = stage.reader.clone();
    changed.replace_range(20..21, if &changed[20..21] == "A" { "B" } else { "A" });
    let told = |token: &str| {
        let answer = stage.gate.call("GET", &agent_path(A, "/messages")).token(token).send();
        let names: Vec<String> = answer.head.headers.iter().map(|(name, _)| name.clone()).collect();
        (
            answer.status,
            answer.code(),
            answer.message(),
            answer.header("www-authenticate").map(str::to_owned),
            names,
        )
    };
    let first = told(&foreign);
    assert_eq!(first.0, 401);
    for token in [&gone, &changed] {
        assert_eq!(told(token), first);
    }
}

/// L-01: metrics have the same labels after any traffic.
#[test]
fn labels_of_metrics_do_not_grow_with_what_is_asked() {
    let stage = Stage::set();
    let series = || {
        let text = stage.gate.admin_get("/metrics").text();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|l| l.split(' ').next().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    let traffic = |round: usize| {
        for n in 0..50 {
            let target = format!("/v1/{round}-{n}/x?{round}{n}=1");
            stage.gate.call("GET", &target).token(&stage.reader).send();
            stage.gate.call("GET", &target).bearer(SERVER_KEY).send();
            stage.gate.call("DELETE", &target).bearer(&format!("x{round}{n}")).send();
            stage
                .gate
                .call("GET", &agent_path(B, &format!("/messages?{n}")))
                .token(&stage.reader)
                .send();
            let origin = format!("https://{round}-{n}.test");
            stage.gate.call("GET", &agent_path(A, "")).bearer(&stage.reader).origin(&origin).send();
            stage.gate.call(["BREW", "get", "PRI"][n % 3], &target).open().answer("GET");
        }
    };
    traffic(0);
    let before = series();
    traffic(1);
    traffic(2);
    assert_eq!(series(), before);
    assert!(before.len() < 200, "{} series", before.len());
    assert!(metric(&stage.gate, "ckgate_refusals_total{reason=\"malformed_request\"}") > 0);
}
