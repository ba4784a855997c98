//! What the policy costs a request: the decision, the body, and a redacted answer.

#[path = "../tests/support/judge.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod judge;

use std::hint::black_box;

use bytes::Bytes;
use ckgate::policy::{
    AgentId, Asked, Authority, BoundHost, Bounds, CanonicalPath, Grant, Judged, OriginHeader,
    PolicyEntry, Query, RouteTable, Rules, WebOrigin, Whence, WithoutOrigin, decide, redact,
};
use criterion::{Criterion, Throughput};
use http::Method;
use jiff::{SignedDuration, Timestamp};

use judge::{OWN, OWN_CONVERSATION, everything};

/// What a bench needs, or nothing to measure.
struct Prepared {
    routes: RouteTable,
    grant: Grant,
    agent: AgentId,
}

impl Prepared {
    fn new() -> Option<Self> {
        let agent = AgentId::parse(OWN).ok()?;
        let grant = Grant {
            host: BoundHost::parse("https://app.test").ok()?,
            expires_at: Timestamp::UNIX_EPOCH.saturating_add(SignedDuration::from_mins(1)).ok()?,
            entries: [PolicyEntry { agent, access: everything() }].into(),
        };
        Some(Self { routes: RouteTable::built_in().ok()?, grant, agent })
    }

    /// The whole judgement of a request whose head has been read: its path, query and origin are
    /// parsed, the operation found, the permission and the parameters judged.
    fn judge(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        body: &Bytes,
    ) -> Option<usize> {
        let whence = Whence {
            origin: OriginHeader::Web(WebOrigin::parse(b"https://app.test")?),
            host: Authority::parse(b"gate.test")?,
            from_browser: true,
        };
        let (path, query) = (CanonicalPath::parse(path).ok()?, Query::parse(query).ok()?);
        let asked = Asked { method, path, query, whence };
        let rules = Rules {
            routes: &self.routes,
            without_origin: WithoutOrigin::Refuse,
            bounds: Bounds::default(),
        };
        let judged = decide(rules, &self.grant, &asked, Timestamp::UNIX_EPOCH).ok()?;
        let judged = match judged {
            Judged::OwnerFirst(pending) => pending.judge_owner(Some(self.agent)).ok()?,
            judged => judged,
        };
        let permit = match judged {
            Judged::Permit(permit) => permit,
            Judged::BodyFirst(pending) => pending.judge_body(body.clone()).ok()?,
            Judged::OwnerFirst(_) => return None,
        };
        Some(permit.target().len())
    }
}

fn decisions(criterion: &mut Criterion) {
    let Some(prepared) = Prepared::new() else { return };
    let nothing = Bytes::new();
    let mut group = criterion.benchmark_group("decision");
    let retrieve = format!("/v1/agents/{OWN}");
    group.bench_function("agent", |b| {
        b.iter(|| prepared.judge(&Method::GET, black_box(&retrieve), None, &nothing));
    });
    let list = format!("/v1/agents/{OWN}/messages");
    group.bench_function("messages, three query keys", |b| {
        let query = Some("limit=50&order=desc&use_assistant_message=true");
        b.iter(|| prepared.judge(&Method::GET, black_box(&list), query, &nothing));
    });
    let conversation = format!("/v1/conversations/{OWN_CONVERSATION}/messages");
    group.bench_function("conversation, owner known", |b| {
        b.iter(|| prepared.judge(&Method::GET, black_box(&conversation), None, &nothing));
    });
    group.bench_function("closed", |b| {
        b.iter(|| prepared.judge(&Method::GET, black_box("/v1/blocks/"), None, &nothing));
    });
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    let Some(prepared) = Prepared::new() else { return };
    let path = format!("/v1/agents/{OWN}/messages");
    let mut group = criterion.benchmark_group("message");
    for kib in [1, 16, 256] {
        let body = message(kib * 1024);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("{kib} KiB"), |b| {
            b.iter(|| prepared.judge(&Method::POST, &path, None, black_box(&body)));
        });
    }
    group.finish();
}

/// What users write.
const SENTENCE: &str = "Tell me what you know about caf\u{e9}s in Vienna, and which of them \
                        \"everybody\" should have seen at least once, whatever the weather.\n";

/// A message of about this size, as the SDKs send it.
fn message(bytes: usize) -> Bytes {
    let frame = r#"{"messages":[{"role":"user","content":[{"type":"text","text":""}]}],"streaming":true,"stream_tokens":true,"include_pings":true,"max_steps":20}"#;
    let text = SENTENCE.repeat(bytes.saturating_sub(frame.len()) / SENTENCE.len());
    let text = serde_json::to_string(&text).unwrap_or_default();
    Bytes::from(frame.replace(r#""text":"""#, &format!(r#""text":{text}"#)))
}

fn redactions(criterion: &mut Criterion) {
    let names: Vec<Box<str>> = vec!["secrets".into(), "tool_exec_environment_variables".into()];
    let tool =
        serde_json::json!({"id": "tool-1", "source_code": "def f():\n    pass\n".repeat(40)});
    let state = serde_json::json!({
        "id": OWN, "tools": vec![tool; 40], "secrets": [{"key": "K", "value": "V"}],
        "memory": {"blocks": [{"value": "x".repeat(5000)}]},
    })
    .to_string();
    let mut group = criterion.benchmark_group("redaction");
    group.throughput(Throughput::Bytes(state.len() as u64));
    group.bench_function("agent state", |b| {
        b.iter(|| redact(black_box(state.as_bytes()), &names).map(|kept| kept.len()));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    decisions(&mut criterion);
    bodies(&mut criterion);
    redactions(&mut criterion);
    criterion.final_summary();
}
