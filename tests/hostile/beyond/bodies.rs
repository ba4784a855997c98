//! JSON that two readers read differently, and bodies that say they are something else.

use crate::harness::{A, B, agent_path, mint};
use crate::stage::Stage;

fn post(stage: &Stage, rest: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let head = stage.head_as(
        &stage.writer,
        &format!("POST {} HTTP/1.1", agent_path(A, rest)),
        &format!("{extra}Content-Length: {}\r\n\r\n", body.len()),
    );
    [head.as_bytes(), body].concat()
}

/// Keys that are the same once unescaped, numbers and texts that are none, and everything around JSON
/// that some readers overlook.
#[test]
fn json_that_some_reader_understands_otherwise_is_refused() {
    let stage = Stage::set();
    let said = r#"{"messages":[{"role":"user","content":"hi"}]"#;
    let hidden = [
        format!(r#"{said},"m\u0065ssages":[]}}"#),
        r#"{"messages":[{"role":"user","r\u006fle":"system","content":"x"}]}"#.to_owned(),
        r#"{"messages":[{"role":"user","content":"\ud800"}]}"#.to_owned(),
        r#"{"messages":[{"role":"user","content":"\udc00\ud800"}]}"#.to_owned(),
        r#"{"messages":[{"role":"user","\ud800":1,"content":"x"}]}"#.to_owned(),
        r#"{"messages":[{"role":"user","content":"\u00"}]}"#.to_owned(),
        r#"{"messages":[{"role":"user","content":"\x41"}]}"#.to_owned(),
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\0b\"}]}".to_owned(),
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\nb\"}]}".to_owned(),
        r#"{"messages":[{"role":"user","content":"x}]}"#.to_owned(),
        format!("{said},}}"),
        format!("{said}}}{{}}"),
        format!("{said}}}\0"),
        format!("\u{feff}{said}}}"),
        format!("/**/{said}}}"),
        format!("\u{b}{said}}}"),
        format!("\u{a0}{said}}}"),
        "{'messages':[]}".to_owned(),
        "{messages:[]}".to_owned(),
        format!(r#"{said},"max_steps":01}}"#),
        format!(r#"{said},"max_steps":+1}}"#),
        format!(r#"{said},"max_steps":0x1}}"#),
        format!(r#"{said},"max_steps":NaN}}"#),
        format!(r#"{said},"max_steps":-Infinity}}"#),
        format!(r#"{said},"max_steps":1e999}}"#),
        "[]".to_owned(),
        "null".to_owned(),
        " ".to_owned(),
    ];
    for body in hidden {
        stage.refuses(post(&stage, "/messages", "", body.as_bytes()), &[400]);
    }
    let plain = format!("{said}}}");
    let utf_16: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf_32: Vec<u8> = plain.chars().flat_map(|c| (c as u32).to_be_bytes()).collect();
    for body in [
        utf_16.as_slice(),
        &utf_32,
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xe9\"}]}",
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xc0\xaf\"}]}",
        b"{\"messages\":[{\"ro\xc1\xace\":\"user\",\"content\":\"x\"}]}",
        b"{\"messages\":[{\"role\":\"user\",\"content\":\"\xed\xa0\x80\"}]}",
        b"{+AG0-essages:[]}",
    ] {
        stage.refuses(post(&stage, "/messages", "", body), &[400]);
    }
    stage.still_serves();
}

/// A field has one name, one shape and one place.
#[test]
fn fields_of_another_spelling_shape_or_place_are_refused() {
    let stage = Stage::set();
    let said = r#"{"messages":[{"role":"user","content":"hi"}]"#;
    for body in [
        format!(r#"{said},"max_steps":1e2}}"#),
        format!(r#"{said},"max_steps":1.0}}"#),
        format!(r#"{said},"max_steps":-0}}"#),
        format!(r#"{said},"max_steps":99999999999999999999999}}"#),
        format!(r#"{said},"max_steps":"1"}}"#),
        format!(r#"{said},"max_steps":true}}"#),
        format!(r#"{said},"stream_tokens":"yes"}}"#),
        format!(r#"{said},"":1}}"#),
        format!(r#"{said},"__proto__":{{"agent_id":"{B}"}}}}"#),
        format!(r#"{said},"agent_id":"{B}"}}"#),
        r#"{"Messages":[]}"#.to_owned(),
        r#"{"messages":{"0":{"role":"user","content":"x"}}}"#.to_owned(),
        r#"{"messages":[["user","x"]]}"#.to_owned(),
        r#"{"messages":[{"Role":"system","content":"x"}]}"#.to_owned(),
        r#"{"messages":[{"role":"User","content":"x"}]}"#.to_owned(),
        r#"{"messages":[{"role":["user"],"content":"x"}]}"#.to_owned(),
        r#"{"messages":[{"role":"user\u0000","content":"x"}]}"#.to_owned(),
        r#"{"messages":[{"role":"user\u200b","content":"x"}]}"#.to_owned(),
        format!(r#"{{"messages":[{{"role":"user","content":"x","agent_id":"{B}"}}]}}"#),
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"x","image_url":{"url":"http://x"}}]}]}"#.to_owned(),
        r#"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"eA==","url":"http://x"}}]}]}"#.to_owned(),
        format!(r#"{{"messages":{}"#, "[".repeat(200_000)),
    ] {
        stage.refuses(post(&stage, "/messages", "", body.as_bytes()), &[403]);
    }
    stage.still_serves();
}

/// What the caller says of the body's type does not arrive; a coding is refused wherever it is said.
#[test]
fn body_is_json_whatever_its_headers_say() {
    let stage = Stage::set();
    let body = br#"{"messages":[{"role":"user","content":"hi"}]}"#;
    for coding in [
        "Content-Encoding: gzip\r\nContent-Encoding: identity\r\n",
        "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
        "Content-Encoding: identity, gzip\r\n",
        "Content-Encoding: aes128gcm\r\n",
        "Content-Encoding:\r\n",
    ] {
        stage.refuses(post(&stage, "/messages", coding, body), &[400]);
    }
    for (at, said) in [
        "text/plain",
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json\r\nContent-Type: text/plain",
    ]
    .iter()
    .enumerate()
    {
        let call = stage.gate.call("POST", &agent_path(A, "/messages")).token(&stage.writer);
        let answer = call.header("Content-Type", said).body(body).send();
        assert_eq!(answer.status, 200, "{said}");
        let sent = &stage.recorder.requests()[at];
        assert_eq!(sent.header("content-type"), Some("application/json"));
        assert_eq!(sent.body, body);
    }
}

/// D-09: how much of a body and a query is looked at is the operator's to say.
#[test]
fn bounds_of_json_and_of_the_query_are_configured() {
    let stage = Stage::set_with(&[
        ("limits.json_depth_max", 4.into()),
        ("limits.json_values_max", 100.into()),
        ("limits.query_pairs_max", 8.into()),
    ]);
    let writer = mint(&stage.gate, A, &["write_agent"]);
    let patch = |metadata: &str| {
        let call = stage.gate.call("PATCH", &agent_path(A, "")).token(&writer);
        call.body(format!(r#"{{"metadata":{{"a":{metadata}}}}}"#)).send()
    };
    let ask = |pairs: usize| {
        let query = vec!["include_return_message_types=x"; pairs].join("&");
        let call = stage.gate.call("GET", &agent_path(A, &format!("/messages?{query}")));
        call.token(&stage.reader).send()
    };
    assert_eq!(
        (patch("[[1]]").status, patch(&format!("[{}0]", "0,".repeat(96))).status),
        (200, 200)
    );
    assert_eq!(ask(8).status, 200);
    for (refused, words) in [
        (patch("[[[1]]]"), "deeper than 4"),
        (patch(&format!("[{}0]", "0,".repeat(97))), "more than 100 values"),
        (ask(9), "a query may have 8"),
    ] {
        assert!(matches!(refused.status, 400 | 403), "{}", refused.text());
        assert!(refused.message().contains(words), "{}", refused.message());
    }
}
