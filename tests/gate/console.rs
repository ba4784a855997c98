//! The console's API: what it finds among many tokens, and that it follows the configuration.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    A, B, Call, Connection, Gate, ORIGIN, OTHER_SERVER_KEY, Recorder, SERVER_KEY, TOKENS,
    agent_path, edit, eventually, hang_up, mint, section,
};

const CREDENTIAL: &str = "the-admin-credential-of-the-tests-0";
const NEXT_CREDENTIAL: &str = "the-admin-credential-of-the-tests-1";
/// Tokens that one search looks at.
const LOOKED_AT_MAX: u64 = 2000;

/// A file that holds a credential, as the configuration names it.
fn keep(folder: &TempDir, credential: &str) -> toml::Value {
    let path = folder.path().join(credential);
    fs::write(&path, credential).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut file = toml::Table::new();
    file.insert("file".to_owned(), path.to_str().unwrap().into());
    file.into()
}

/// The same in a folder of its own.
pub(crate) fn credential_file(credential: &str) -> (TempDir, toml::Value) {
    let folder = TempDir::new().unwrap();
    let value = keep(&folder, credential);
    (folder, value)
}

struct Stage {
    recorder: Recorder,
    gate: Gate,
    secrets: TempDir,
}

impl Stage {
    fn set() -> Self {
        let stage = Self::without_console();
        stage.open_with(CREDENTIAL);
        stage
    }

    fn without_console() -> Self {
        let recorder = Recorder::start();
        let gate = Gate::start(&recorder);
        Self { recorder, gate, secrets: TempDir::new().unwrap() }
    }

    /// Sets the credential, while the gate runs.
    fn open_with(&self, credential: &str) {
        let credential = keep(&self.secrets, credential);
        edit(&self.gate, |table| {
            section(table, "console").insert("credential".to_owned(), credential);
        });
        hang_up(&self.gate);
    }

    fn call(&self, method: &str, path: &str) -> Call {
        Call::to(self.gate.admin(), method, path)
    }

    fn ask(&self, path: &str) -> Value {
        let answer = self.call("GET", path).bearer(CREDENTIAL).send_to_admin();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// A session's cookie.
    fn log_in(&self, credential: &str) -> Option<String> {
        let origin = format!("http://{}", crate::harness::HOST);
        let call = self.call("POST", "/api/session").origin(&origin);
        let answer = call.json(&json!({"credential": credential})).open().answer("POST");
        let cookie = answer.header("set-cookie")?;
        Some(cookie.split(';').next().unwrap().to_owned())
    }

    fn status_with(&self, cookie: &str) -> u16 {
        self.call("GET", "/api/overview").header("Cookie", cookie).send_to_admin().status
    }

    fn events_with(&self, cookie: &str) -> Connection {
        let (answer, mut events) = self.call("GET", "/api/events").header("Cookie", cookie).start();
        assert_eq!(answer.status, 200);
        events.read_until("the state of the gate", |read| read.contains("event: overview"));
        events
    }
}

fn create(gate: &Gate, key: &str, agent: &str, hostname: &str) {
    let policy = json!([{"type": "agent", "id": agent, "access": ["read_messages"]}]);
    let body = json!({"policy": policy, "hostname": hostname});
    let answer = gate.call("POST", TOKENS).bearer(key).json(&body).send();
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// Every page of a search.
fn pages(stage: &Stage, query: &str) -> Vec<Value> {
    let mut pages = vec![stage.ask(&format!("/api/tokens?{query}"))];
    while let Some(next) = pages.last().unwrap()["next"].as_str() {
        let next = stage.ask(&format!("/api/tokens?{query}&before={next}"));
        pages.push(next);
    }
    pages
}

fn tokens(pages: &[Value]) -> Vec<Value> {
    pages.iter().flat_map(|page| page["tokens"].as_array().unwrap().clone()).collect()
}

#[test]
fn search_finds_any_token_of_any_account_with_bounded_work_for_each_page() {
    let stage = Stage::set();
    let gate = &stage.gate;
    create(gate, OTHER_SERVER_KEY, B, "https://the.needle.test");
    thread::scope(|scope| {
        for worker in 0..8 {
            let key = if worker % 2 == 0 { SERVER_KEY } else { OTHER_SERVER_KEY };
            scope.spawn(move || (0..280).for_each(|_| create(gate, key, A, "https://hay.test")));
        }
    });
    let made = 8 * 280 + 1;

    let found = pages(&stage, "hostname=NEEDLE");
    assert_eq!(tokens(&found).len(), 1);
    assert!(found.len() > 1 && found[0]["tokens"] == json!([]), "{found:?}");
    let looked_at = |page: &Value| page["looked_at"].as_u64().unwrap();
    assert!(found.iter().all(|page| looked_at(page) <= LOOKED_AT_MAX));
    assert_eq!(found.iter().map(looked_at).sum::<u64>(), made);

    // By agent, and by account, an index finds it at once.
    let by_agent = pages(&stage, &format!("agent={B}"));
    assert_eq!((by_agent.len(), looked_at(&by_agent[0])), (1, 1));
    assert_eq!(tokens(&pages(&stage, "account=other&limit=200")).len(), 4 * 280 + 1);
    assert_eq!(tokens(&pages(&stage, "account=nobody")), Vec::<Value>::new());

    // The pages of both accounts join into one list, newest first, with each token once.
    let ids: Vec<String> = tokens(&pages(&stage, "limit=150"))
        .iter()
        .map(|token| token["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.windows(2).all(|pair| pair[0] > pair[1]));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len() as u64, made);

    let long = format!("hostname={}", "x".repeat(257));
    for query in [
        "limit=0",
        "limit=201",
        "before=x",
        "before=ck-let-x",
        "agent=a",
        "offset=1",
        "account=%0A",
        &long,
    ] {
        let call = stage.call("GET", &format!("/api/tokens?{query}")).bearer(CREDENTIAL);
        assert_eq!(call.send_to_admin().status, 400, "{query}");
    }
    stage.recorder.assert_untouched();
}

#[test]
fn what_a_token_was_used_for_is_shown_and_outlives_the_gate() {
    let mut stage = Stage::set();
    let token = mint(&stage.gate, A, &["read_messages", "write_messages"]);
    let row = |stage: &Stage| stage.ask("/api/tokens")["tokens"][0].clone();
    let unused = json!({"permission": "write_messages", "requests": 0, "last_used_at": null});
    assert_eq!(
        (row(&stage)["last_used_at"].clone(), row(&stage)["usage"][1].clone()),
        (Value::Null, unused.clone())
    );
    for _ in 0..3 {
        let call = stage.gate.call("GET", &agent_path(A, "/messages")).token(&token);
        assert_eq!(call.send().status, 200);
    }
    eventually("the use is counted", || row(&stage)["usage"][0]["requests"] == 3);
    stage.gate.restart();
    let row = row(&stage);
    let used = &row["usage"][0];
    assert_eq!((&used["permission"], &used["requests"]), (&json!("read_messages"), &json!(3)));
    assert!(used["last_used_at"].is_string() && used["last_used_at"] == row["last_used_at"]);
    assert_eq!(row["usage"][1], unused);
}

#[test]
fn a_session_and_its_stream_end_with_the_logout_and_with_the_credential() {
    let stage = Stage::set();
    assert_eq!(stage.log_in("wrong"), None);
    let cookie = stage.log_in(CREDENTIAL).unwrap();
    let mut events = stage.events_with(&cookie);
    let origin = format!("http://{}", crate::harness::HOST);
    let out = stage.call("DELETE", "/api/session").header("Cookie", &cookie).origin(&origin);
    assert_eq!(out.open().answer("DELETE").status, 204);
    events.rest();
    assert_eq!(stage.status_with(&cookie), 401);

    let cookie = stage.log_in(CREDENTIAL).unwrap();
    let mut events = stage.events_with(&cookie);
    assert_eq!(stage.status_with(&cookie), 200);
    stage.open_with(NEXT_CREDENTIAL);
    events.rest();
    assert_eq!((stage.status_with(&cookie), stage.log_in(CREDENTIAL)), (401, None));
    assert!(stage.log_in(NEXT_CREDENTIAL).is_some());
}

#[test]
fn the_console_follows_the_configuration() {
    let stage = Stage::without_console();
    assert_eq!(stage.call("GET", "/api/overview").send_to_admin().status, 404);
    stage.open_with(CREDENTIAL);
    assert_eq!(stage.ask("/api/overview")["accounts"], json!(["default", "other"]));
    let new = |account: &str| {
        let policy = json!([{"type": "agent", "id": A, "access": ["read_messages"]}]);
        let body = json!({"account": account, "token": {"policy": policy, "hostname": ORIGIN}});
        let call = stage.call("POST", "/api/tokens").bearer(CREDENTIAL).json(&body);
        call.open().answer("POST").status
    };
    assert_eq!((new("other"), new("third")), (201, 400));
    edit(&stage.gate, |table| {
        let other = table["accounts"][1].as_table_mut().unwrap();
        other.insert("name".to_owned(), "third".into());
    });
    hang_up(&stage.gate);
    assert_eq!(stage.ask("/api/overview")["accounts"], json!(["default", "third"]));
    assert_eq!((new("other"), new("third")), (400, 201));
    edit(&stage.gate, |table| drop(section(table, "console").remove("credential")));
    hang_up(&stage.gate);
    assert_eq!(stage.call("GET", "/").send_to_admin().status, 404);
}
