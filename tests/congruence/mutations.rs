use ckgate::policy::{AgentPlace, RouteTable};

use super::corpus::{PIECES, TEXTS, vectors};
use super::judge::{OTHER, OTHER_CONVERSATION, OTHER_RUN, OWN, OWN_CONVERSATION, OWN_RUN};

/// One request.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) body: String,
}

/// Makes requests without end, the same ones each time.
pub(crate) struct Targets {
    routes: Vec<Route>,
    vectors: Vec<String>,
    random: u64,
    made: usize,
}

struct Route {
    method: String,
    path: String,
    place: AgentPlace,
    keys: Vec<String>,
    is_open: bool,
}

impl Targets {
    pub(crate) fn new(table: &RouteTable) -> Self {
        let mut routes = Vec::new();
        for operation in table.operations() {
            for method in &operation.methods {
                routes.push(Route {
                    method: method.to_string(),
                    path: operation.path().to_owned(),
                    place: operation.agent.clone(),
                    keys: operation.query.keys().map(str::to_owned).collect(),
                    is_open: operation.is_open(),
                });
            }
        }
        Self { routes, vectors: vectors(), random: 0x9e37_79b9_7f4a_7c15, made: 0 }
    }

    pub(crate) fn next(&mut self) -> Request {
        self.made += 1;
        let at = self.route();
        let own = !self.one_in(6);
        let mut target = self.path(at, own);
        let body = self.body(at, own);
        target.push_str(&self.query(at, own));
        let mutations = if self.one_in(3) { 0 } else { 1 + self.below(3) };
        for _ in 0..mutations {
            target = self.mutate(&target);
        }
        // The same, by another door.
        if self.one_in(40) {
            target = target.replacen("/v1/", "/latest/", 1);
        }
        let method = match self.below(40) {
            0 => "GET",
            1 => "HEAD",
            2 => "POST",
            _ => self.routes.get(at).map_or("GET", |route| &route.method),
        };
        Request { method: method.to_owned(), target, body }
    }

    /// Open operations nine times of ten.
    fn route(&mut self) -> usize {
        loop {
            let at = self.below(self.routes.len());
            let is_open = self.routes.get(at).is_some_and(|route| route.is_open);
            if is_open || self.one_in(80) {
                return at;
            }
        }
    }

    fn path(&mut self, at: usize, own: bool) -> String {
        let path = self.routes.get(at).map(|route| route.path.clone()).unwrap_or_default();
        let segments: Vec<String> = path
            .split('/')
            .map(|segment| match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                None => segment.to_owned(),
                Some("agent_id") => (if own { OWN } else { OTHER }).to_owned(),
                Some("run_id") => (if own { OWN_RUN } else { OTHER_RUN }).to_owned(),
                Some("conversation_id") => self.conversation(own).to_owned(),
                Some(name) => match name.strip_suffix("_id") {
                    Some(kind) => format!("{kind}-33333333-3333-4333-8333-333333333333"),
                    None => self.text(),
                },
            })
            .collect();
        let mut path = segments.join("/");
        if self.one_in(8) {
            match path.strip_suffix('/') {
                Some(shorter) => path = shorter.to_owned(),
                None => path.push('/'),
            }
        }
        path
    }

    fn conversation(&mut self, own: bool) -> &'static str {
        match (self.below(4), own) {
            (0, true) => OWN,
            (0, false) => OTHER,
            (1, _) => "default",
            (_, true) => OWN_CONVERSATION,
            (_, false) => OTHER_CONVERSATION,
        }
    }

    fn text(&mut self) -> String {
        if self.one_in(3) {
            let vector = self.vector();
            return escaped(&vector);
        }
        pick(TEXTS, self.random()).to_owned()
    }

    fn query(&mut self, at: usize, own: bool) -> String {
        let Some(route) = self.routes.get(at) else { return String::new() };
        let (place, keys) = (route.place.clone(), route.keys.clone());
        let agent = if own { OWN } else { OTHER };
        let mut pairs = Vec::new();
        let needs_agent = matches!(place, AgentPlace::Query(_))
            || (place == AgentPlace::ConversationOrAgent
                && keys.iter().any(|key| key == "agent_id"));
        if needs_agent && !self.one_in(10) {
            pairs.push(format!("agent_id={agent}"));
        }
        for _ in 0..self.below(3) {
            let Some(key) = keys.get(self.below(keys.len().max(1))) else { continue };
            if key != "agent_id" {
                let text = self.text();
                pairs.push(format!("{key}={text}"));
            }
        }
        match self.below(30) {
            0 => pairs.push(format!("agent_id={OTHER}")),
            1 => pairs.insert(0, format!("agent_id={OTHER}")),
            2 => pairs.push(format!("%61gent_id={OTHER}")),
            3 => pairs.push(format!("agent_id[]={OTHER}")),
            4 => pairs.push(format!(";agent_id={OTHER}")),
            5 => pairs.push("=".to_owned()),
            _ => {}
        }
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }

    fn body(&mut self, at: usize, own: bool) -> String {
        let agent = if own { OWN } else { OTHER };
        let message = r#""messages":[{"role":"user","content":"x"}]"#;
        match self.routes.get(at).map(|route| (&*route.method, &route.place, &*route.path)) {
            Some((_, AgentPlace::Body(field), _)) => {
                format!(r#"{{"{field}":"{agent}",{message}}}"#)
            }
            Some(("POST", AgentPlace::ConversationOrAgent, path)) => {
                match path.rsplit('/').next() {
                    Some("messages" | "stream") => format!(r#"{{"agent_id":"{agent}"}}"#),
                    _ => String::new(),
                }
            }
            _ => String::new(),
        }
    }

    fn mutate(&mut self, target: &str) -> String {
        let mut bytes: Vec<char> = target.chars().collect();
        let at = self.below(bytes.len().max(1));
        match self.below(11) {
            // A character, written as an escape.
            0 | 1 => {
                if let Some(c) = bytes.get(at).copied() {
                    let upper = self.one_in(2);
                    let escape: String = c
                        .to_string()
                        .bytes()
                        .map(|b| if upper { format!("%{b:02X}") } else { format!("%{b:02x}") })
                        .collect();
                    bytes.splice(at..=at, escape.chars());
                }
            }
            2 | 3 => {
                let piece = pick(PIECES, self.random());
                bytes.splice(at..at, piece.chars());
            }
            4 => {
                let (from, to) = [
                    (OWN, OTHER),
                    (OTHER, OWN),
                    (OWN_CONVERSATION, OTHER_CONVERSATION),
                    (OWN_RUN, OTHER_RUN),
                    (OWN, OWN_CONVERSATION),
                ]
                .get(self.below(5))
                .copied()
                .unwrap_or((OWN, OTHER));
                return target.replacen(from, to, 1);
            }
            // The end of another target.
            5 => {
                let other = self.route();
                let path = self.path(other, self.made.is_multiple_of(2));
                return format!("{target}{path}");
            }
            6 => {
                if let Some(c) = bytes.get_mut(at) {
                    *c = if c.is_lowercase() {
                        c.to_ascii_uppercase()
                    } else {
                        c.to_ascii_lowercase()
                    };
                }
            }
            7 => {
                let vector = self.vector();
                bytes.splice(at..at, vector.chars());
            }
            // A segment more, fewer, or twice.
            8 => {
                let mut segments: Vec<&str> = target.split('/').collect();
                let at = self.below(segments.len());
                match self.below(3) {
                    0 => drop(segments.remove(at)),
                    1 => segments.insert(at, pick(TEXTS, self.random())),
                    _ => {
                        if let Some(segment) = segments.get(at).copied() {
                            segments.insert(at, segment);
                        }
                    }
                }
                return segments.join("/");
            }
            9 => {
                if at < bytes.len() {
                    bytes.remove(at);
                }
            }
            // Up and down again.
            _ => return target.replacen(OWN, &format!("{OTHER}/../{OWN}"), 1),
        }
        bytes.into_iter().collect()
    }

    fn vector(&mut self) -> String {
        let at = self.below(self.vectors.len().max(1));
        self.vectors.get(at).cloned().unwrap_or_else(|| "x".to_owned())
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn below(&mut self, n: usize) -> usize {
        let random = self.random();
        usize::try_from(random % (n.max(1) as u64)).unwrap_or(0)
    }

    /// Marsaglia's xorshift: the same sequence at each run.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}

fn pick(texts: &[&'static str], random: u64) -> &'static str {
    let at = usize::try_from(random % (texts.len() as u64)).unwrap_or(0);
    texts.get(at).copied().unwrap_or("x")
}

/// A text as clients escape it for a path or a query.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
