//! Traces for OpenTelemetry: spans of requests, sent in batches over OTLP/HTTP in JSON by a thread of
//! their own. Nothing here runs unless `traces.endpoint` is set.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Authority;
use jiff::Timestamp;
use rustls::{ClientConnection, StreamOwned};
use serde_json::{Value, json};

use super::running::StartError;
use crate::audit::{FieldName, Fields, Finished, TraceFacts};
use crate::config::{Collector, Traces};
use crate::tls::PeerTls;

/// Spans that wait to be sent; more are dropped, which is said.
const WAITING_MAX: usize = 4096;
/// Spans of one batch.
const BATCH_MAX: usize = 512;
/// How long spans may gather.
const GATHERING: Duration = Duration::from_secs(1);
/// Longest time for each step of sending a batch.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a failure, or that spans were dropped, is said.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// Takes spans in. Clones take in for the same collector.
#[derive(Clone)]
pub(super) struct Spans {
    sender: SyncSender<RequestSpan>,
    dropped: Arc<AtomicUsize>,
}

/// What is known of a request at its end.
struct RequestSpan {
    ended: Timestamp,
    fields: Vec<(&'static str, Value)>,
    /// The path template of its operation.
    route: Option<String>,
    facts: Option<TraceFacts>,
}

impl Spans {
    /// Starts the thread that sends spans to the collector, if there is one.
    pub(super) fn start(traces: &Traces) -> Result<Option<Self>, StartError> {
        let Some(collector) = traces.collector.clone() else { return Ok(None) };
        let tls =
            collector.is_tls.then(|| PeerTls::read(&collector.host, None, None)).transpose()?;
        let (sender, spans) = sync_channel(WAITING_MAX);
        let dropped = Arc::default();
        let exporter = Exporter { collector, tls, dropped: Arc::clone(&dropped), warned: None };
        let thread = std::thread::Builder::new().name("ckgate-traces".to_owned());
        thread.spawn(move || exporter.send_on(&spans)).map_err(StartError::Thread)?;
        Ok(Some(Self { sender, dropped }))
    }

    /// Takes a request in, if it is traced.
    pub(super) fn take(&self, event: &Finished<'_>, now: Timestamp) {
        if !event.request_id().is_traced() {
            return;
        }
        let fields = Vec::with_capacity(24);
        let (route, facts) = (event.route().map(str::to_owned), event.traced().cloned());
        let mut span = RequestSpan { ended: now, fields, route, facts };
        event.record(&mut span);
        // A collector that does not keep up costs spans, never requests.
        if self.sender.try_send(span).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl RequestSpan {
    fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.field(name)?.as_str()
    }

    fn micros(&self, name: &str) -> Option<i128> {
        self.field(name)?.as_u64().map(i128::from)
    }

    /// The request's own span, and that of its request upstream, in OTLP's JSON; the attributes are those
    /// of OpenTelemetry's conventions for HTTP, and the gate's own.
    fn to_json(&self) -> Vec<Value> {
        let id = self.text("request.id").unwrap_or_default();
        let (trace, half) = (id, id.get(17..).unwrap_or_default());
        let (server, client) = (format!("e{half}"), format!("f{half}"));
        let ended = self.ended.as_nanosecond();
        let began = ended - self.micros("duration_us").unwrap_or(0) * 1000;
        let method = self.text("http.request.method").unwrap_or_default();
        let name =
            self.route.as_ref().map_or_else(|| method.to_owned(), |r| format!("{method} {r}"));
        let mut spans = vec![json!({
            "traceId": trace, "spanId": server, "name": name, "kind": 2,
            "startTimeUnixNano": began.to_string(), "endTimeUnixNano": ended.to_string(),
            "attributes": self.server_attributes(),
            "status": {"code": if self.status("http.response.status_code") >= 500 { 2 } else { 0 }},
        })];
        if let (Some(sent), Some(took)) =
            (self.micros("upstream.began_us"), self.micros("upstream.duration_us"))
        {
            let sent = began + sent * 1000;
            spans.push(json!({
                "traceId": trace, "spanId": client, "parentSpanId": server, "name": method, "kind": 3,
                "startTimeUnixNano": sent.to_string(),
                "endTimeUnixNano": (sent + took * 1000).to_string(),
                "attributes": self.client_attributes(),
                "status": {"code": if self.status("upstream.status_code") >= 400 { 2 } else { 0 }},
            }));
        }
        spans
    }

    fn status(&self, name: &str) -> u64 {
        self.field(name).and_then(Value::as_u64).unwrap_or(0)
    }

    fn server_attributes(&self) -> Vec<Value> {
        let mut attributes = Vec::with_capacity(20);
        for (name, value) in &self.fields {
            let name = match *name {
                name @ ("http.request.method"
                | "url.path"
                | "client.address"
                | "http.response.status_code"
                | "http.response.body.size") => name,
                "operation" => "ckgate.operation",
                "decision" => "ckgate.decision",
                "account" => "ckgate.account",
                "token.id" => "ckgate.token.id",
                "agent.id" => "ckgate.agent.id",
                "deny.reason" => "error.type",
                _ => continue,
            };
            attributes.push(attribute(name, value));
        }
        let mut add = |name, value: Value| attributes.push(attribute(name, &value));
        if let Some(route) = &self.route {
            add("http.route", route.as_str().into());
        }
        let status = self.status("http.response.status_code");
        if status >= 500 && self.field("deny.reason").is_none() {
            add("error.type", status.to_string().into());
        }
        let Some(facts) = &self.facts else { return attributes };
        let scheme = if facts.is_tls { "https" } else { "http" };
        let version = if facts.version == http::Version::HTTP_2 { "2" } else { "1.1" };
        add("url.scheme", scheme.into());
        add("network.protocol.name", "http".into());
        add("network.protocol.version", version.into());
        let host = facts.host.as_ref().and_then(|host| host.parse::<Authority>().ok());
        if let Some(host) = host {
            let port = host.port_u16().unwrap_or(if facts.is_tls { 443 } else { 80 });
            add("server.address", host.host().into());
            add("server.port", port.into());
        }
        attributes
    }

    fn client_attributes(&self) -> Vec<Value> {
        let status = self.status("upstream.status_code");
        let mut attributes = vec![attribute("http.response.status_code", &status.into())];
        let mut add = |name, value: Value| attributes.push(attribute(name, &value));
        add("http.request.method", self.text("http.request.method").unwrap_or_default().into());
        if status >= 400 {
            add("error.type", status.to_string().into());
        }
        let Some(facts) = &self.facts else { return attributes };
        // Without the query: its values are the caller's.
        let path = self.text("url.path").unwrap_or_default();
        add("url.full", format!("{}{path}", facts.upstream).into());
        add("network.protocol.name", "http".into());
        add("network.protocol.version", "1.1".into());
        if let Ok(url) = facts.upstream.parse::<Uri>() {
            let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
            add("server.address", url.host().unwrap_or_default().into());
            add("server.port", url.port_u16().unwrap_or(default).into());
        }
        attributes
    }
}

fn attribute(name: &str, value: &Value) -> Value {
    let value = match value {
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::Bool(boolean) => json!({"boolValue": boolean}),
        other => json!({"stringValue": other.as_str().unwrap_or_default()}),
    };
    json!({"key": name, "value": value})
}

impl Fields for RequestSpan {
    fn known(&mut self, name: FieldName, value: &[u8]) {
        self.fields.push((name.as_str(), Value::from(String::from_utf8_lossy(value))));
    }

    fn list(&mut self, name: FieldName, values: impl Iterator<Item = &'static str>) {
        let values: Vec<&str> = values.collect();
        self.fields.push((name.as_str(), Value::from(values.join(","))));
    }

    fn text(&mut self, name: FieldName, value: &str) {
        self.fields.push((name.as_str(), Value::from(value)));
    }

    fn number(&mut self, name: FieldName, value: u64) {
        self.fields.push((name.as_str(), Value::from(value)));
    }

    fn flag(&mut self, name: FieldName, value: bool) {
        self.fields.push((name.as_str(), Value::from(value)));
    }
}

/// Sends batches to the collector.
struct Exporter {
    collector: Collector,
    tls: Option<PeerTls>,
    /// Spans that nobody will see, since the last warning.
    dropped: Arc<AtomicUsize>,
    warned: Option<Instant>,
}

impl Exporter {
    fn send_on(mut self, spans: &Receiver<RequestSpan>) {
        while let Ok(first) = spans.recv() {
            let (until, mut batch) = (Instant::now() + GATHERING, vec![first]);
            while batch.len() < BATCH_MAX {
                match spans.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(span) => batch.push(span),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            let sent = self.send(&batch);
            if sent.is_err() {
                self.dropped.fetch_add(batch.len(), Ordering::Relaxed);
            }
            self.tell_dropped(sent.err());
        }
    }

    /// Says how many spans were dropped, and what went wrong last.
    fn tell_dropped(&mut self, error: Option<io::Error>) {
        if self.warned.is_some_and(|warned| warned.elapsed() < WARNING_INTERVAL) {
            return;
        }
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            self.warned = Some(Instant::now());
            let error = error.map(tracing::field::display);
            tracing::warn!(error, dropped, "traces cannot be sent, or not as fast as they come");
        }
    }

    fn send(&self, batch: &[RequestSpan]) -> io::Result<()> {
        let spans: Vec<Value> = batch.iter().flat_map(RequestSpan::to_json).collect();
        let version = env!("CARGO_PKG_VERSION");
        let resource = [
            attribute("service.name", &Value::from("ckgate")),
            attribute("service.version", &Value::from(version)),
        ];
        let body = json!({"resourceSpans": [{
            "resource": {"attributes": resource},
            "scopeSpans": [{"scope": {"name": "ckgate", "version": version}, "spans": spans}],
        }]});
        let body = body.to_string();
        let Collector { authority, host, port, .. } = &self.collector;
        let request = format!(
            "POST /v1/traces HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let address =
            (host.as_str(), *port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
        let stream = TcpStream::connect_timeout(&address, STEP_TIMEOUT)?;
        stream.set_read_timeout(Some(STEP_TIMEOUT))?;
        stream.set_write_timeout(Some(STEP_TIMEOUT))?;
        match &self.tls {
            None => exchange(stream, &request),
            Some(tls) => {
                let client = ClientConnection::new(tls.config(), tls.name());
                exchange(StreamOwned::new(client.map_err(io::Error::other)?, stream), &request)
            }
        }
    }
}

/// Sends a batch; only the status of the answer matters.
fn exchange(mut stream: impl io::Read + io::Write, request: &str) -> io::Result<()> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    match &status {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', b'2', ..] => Ok(()),
        _ => Err(io::Error::other("the collector does not take them")),
    }
}
