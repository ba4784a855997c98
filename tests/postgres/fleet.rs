//! Several gates on one store, before one upstream.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use toml::{Table, Value};

use crate::harness::{A, Answer, Call, Connection, Gate, SERVER_KEY, TOKENS, agent_path, says};
use crate::upstream;

/// The gate's own promise, at its default.
pub(crate) const STALENESS_MAX: Duration = Duration::from_secs(3);
/// How long a stream that has to end may take to say so, and a busy machine to notice.
pub(crate) const CUT_SLACK: Duration = Duration::from_secs(1);

pub(crate) struct Fleet {
    pub(crate) gates: Vec<Gate>,
    upstream: String,
    keys: TempDir,
}

impl Fleet {
    /// A gate for each of these store URLs. A stream has one event and then stays open.
    #[track_caller]
    pub(crate) fn start(urls: &[String]) -> Self {
        Self::start_with(urls, &[])
    }

    #[track_caller]
    pub(crate) fn start_with(urls: &[String], settings: &[(&str, Value)]) -> Self {
        let upstream = upstream::start().to_string();
        let keys = tempfile::tempdir().unwrap();
        for (name, seed) in [("key-1", b'A'), ("key-2", b'B')] {
            let path = keys.path().join(name);
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(path).unwrap();
            file.write_all(&[seed; 42]).unwrap();
            // The last character of 43 carries four bits that count, and two that must be zero.
            file.write_all(b"A").unwrap();
        }
        let mut fleet = Self { gates: Vec::new(), upstream, keys };
        for url in urls {
            let gate = fleet.gate(url, &["key-1"], settings);
            fleet.gates.push(gate);
        }
        fleet
    }

    /// One more gate, with these keys: the first mints.
    #[track_caller]
    pub(crate) fn gate(&self, url: &str, keys: &[&str], settings: &[(&str, Value)]) -> Gate {
        let mut all = vec![("store.url", url.into()), ("tokens.keys", self.keys(keys))];
        all.extend(settings.iter().cloned());
        Gate::start_before(&self.upstream, &all)
    }

    /// These keys as the configuration names them.
    pub(crate) fn keys(&self, names: &[&str]) -> Value {
        let key = |name: &&str| {
            let mut key = Table::new();
            key.insert("id".to_owned(), i64::from(name.as_bytes()[4] - b'0').into());
            let file = self.keys.path().join(name);
            key.insert("file".to_owned(), file.to_str().unwrap().into());
            Value::Table(key)
        };
        Value::Array(names.iter().map(key).collect())
    }
}

/// Asks for something the token may have.
pub(crate) fn read(gate: &Gate, token: &str) -> Answer {
    read_call(gate, token).send()
}

pub(crate) fn read_call(gate: &Gate, token: &str) -> Call {
    gate.call("GET", &agent_path(A, "/messages")).token(token)
}

/// Opens a stream and reads its first event.
#[track_caller]
pub(crate) fn open_stream(gate: &Gate, token: &str) -> Connection {
    let call = gate.call("POST", &agent_path(A, "/messages/stream")).token(token);
    let (head, mut stream) = call.json(&says("hello")).start();
    assert_eq!(head.status, 200, "{:?}", head.head);
    stream.read_until("the first event", |read| read.ends_with("\n\n"));
    stream
}

/// Waits for the end of a stream, which has to say why; returns when, and its code.
#[track_caller]
pub(crate) fn end_of(stream: &mut Connection) -> (Instant, String) {
    let rest = stream.rest();
    let at = Instant::now();
    let data = rest.split("data: ").nth(1).unwrap_or_else(|| panic!("no last event: {rest:?}"));
    let data: serde_json::Value = serde_json::from_str(data.trim()).unwrap();
    (at, data["code"].as_str().unwrap().to_owned())
}

/// Asks a gate to delete a token, and what it said.
pub(crate) fn try_delete(gate: &Gate, token: &str) -> Answer {
    gate.call("DELETE", &format!("{TOKENS}/{token}")).bearer(SERVER_KEY).send()
}

/// Asks for a token again and again for so long. No request that was begun later than `bound` after
/// `deleted` may be admitted. Returns the statuses in order, repeats left out.
#[track_caller]
pub(crate) fn assert_felt(
    gate: &Gate,
    token: &str,
    deleted: Instant,
    bound: Duration,
    watched: Duration,
) -> Vec<u16> {
    let mut statuses = Vec::new();
    while deleted.elapsed() < watched {
        let asked = Instant::now();
        let status = read(gate, token).status;
        let late = asked.duration_since(deleted);
        assert!(status != 200 || late <= bound, "admitted {late:?} after the deletion");
        if statuses.last() != Some(&status) {
            statuses.push(status);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    statuses
}
