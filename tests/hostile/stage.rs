//! What every attack is run against: a gate, its upstream, and callers that are in order.

use crate::harness::{
    A, Answer, Connection, Gate, ORIGIN, Recorder, SERVER_KEY, Settings, agent_path, mint,
};

/// A gate before a recorder, with a token that reads A's messages and one that writes them.
pub(crate) struct Stage {
    pub(crate) recorder: Recorder,
    pub(crate) gate: Gate,
    pub(crate) reader: String,
    pub(crate) writer: String,
}

impl Stage {
    #[track_caller]
    pub(crate) fn set() -> Self {
        Self::set_with(&[])
    }

    #[track_caller]
    pub(crate) fn set_with(settings: Settings<'_>) -> Self {
        let recorder = Recorder::start();
        let gate = Gate::start_with(&recorder, settings);
        let reader = mint(&gate, A, &["read_messages"]);
        let writer = mint(&gate, A, &["write_messages"]);
        Self { recorder, gate, reader, writer }
    }

    /// The head of a request that is in order but for `line` and `rest`; `rest` holds its own line
    /// ends and does not end the head.
    pub(crate) fn head(&self, line: &str, rest: &str) -> String {
        self.head_as(&self.reader, line, rest)
    }

    /// The same with another credential.
    pub(crate) fn head_as(&self, credential: &str, line: &str, rest: &str) -> String {
        let _ = self;
        format!(
            "{line}\r\nHost: gw.test\r\nOrigin: {ORIGIN}\r\nAuthorization: Bearer {credential}\r\n{rest}"
        )
    }

    /// A whole GET of a target.
    pub(crate) fn get(&self, target: &str) -> String {
        self.head(&format!("GET {target} HTTP/1.1"), "\r\n")
    }

    /// The head of a POST of a message, up to its framing.
    pub(crate) fn post(&self, rest: &str) -> String {
        let line = format!("POST {} HTTP/1.1", agent_path(A, "/messages"));
        self.head_as(&self.writer, &line, rest)
    }

    /// A request that would pass; sent behind an attack, it must not be read as a request.
    pub(crate) fn canary(&self) -> String {
        self.get(&agent_path(A, "/messages?limit=77"))
    }

    /// The attack is refused with one of these statuses; not one byte reaches the upstream.
    #[track_caller]
    pub(crate) fn refuses(&self, attack: impl AsRef<[u8]>, statuses: &[u16]) -> Answer {
        let attack = attack.as_ref();
        let mut connection = Connection::open(self.gate.public());
        connection.send(attack);
        let answer = connection.answer("GET");
        let shown = shown(attack);
        assert!(statuses.contains(&answer.status), "{}: {shown}", answer.status);
        assert!(answer.code_if_any() != String::new(), "no error of the gate's own: {shown}");
        if answer.status == 400 {
            connection.assert_closed();
        }
        self.assert_untouched(&shown);
        answer
    }

    /// The same, and the connection ends there: what stands behind is never read as a request.
    #[track_caller]
    pub(crate) fn refuses_and_closes(&self, attack: impl AsRef<[u8]>, statuses: &[u16]) -> Answer {
        let attack = attack.as_ref();
        let mut connection = Connection::open(self.gate.public());
        connection.send([attack, self.canary().as_bytes()].concat());
        let answer = connection.answer("GET");
        let shown = shown(attack);
        assert!(statuses.contains(&answer.status), "{}: {shown}", answer.status);
        let rest = connection.until_close();
        assert!(rest.is_empty(), "{shown} is followed by {:?}", String::from_utf8_lossy(&rest));
        self.assert_untouched(&shown);
        answer
    }

    /// Broken off within a body: closed, perhaps with a refusal before.
    #[track_caller]
    pub(crate) fn breaks_off(&self, attack: impl AsRef<[u8]>) {
        let attack = attack.as_ref();
        let mut connection = Connection::open(self.gate.public());
        connection.send([attack, self.canary().as_bytes()].concat());
        let received = String::from_utf8_lossy(&connection.until_close()).into_owned();
        let answers = received.matches("HTTP/1.1 ").count();
        let refused = received.is_empty() || received.starts_with("HTTP/1.1 4");
        assert!(refused && answers <= 1, "{}: {received}", shown(attack));
        self.assert_untouched(&shown(attack));
    }

    #[track_caller]
    fn assert_untouched(&self, shown: &str) {
        assert_eq!(self.recorder.bytes_total(), 0, "the upstream was reached by {shown}");
    }

    /// The next request on a fresh connection works, for both kinds of callers.
    #[track_caller]
    pub(crate) fn still_serves(&self) {
        let call = self.gate.call("GET", &agent_path(A, "/messages"));
        let answer = call.token(&self.reader).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = self.gate.call("GET", "/v1/tools/").bearer(SERVER_KEY).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The value of a metric of the gate; 0 when it does not stand there yet.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        metric(&self.gate, name)
    }
}

/// The value of a metric, labels included in its name.
#[track_caller]
pub(crate) fn metric(gate: &Gate, name: &str) -> u64 {
    let text = gate.admin_get("/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

fn shown(attack: &[u8]) -> String {
    String::from_utf8_lossy(&attack[..attack.len().min(600)]).escape_debug().to_string()
}
