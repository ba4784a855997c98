//! The JSON body of an inspected operation: what is accepted is JSON to another parser, has no key
//! twice, and no field that is not admitted.

#![no_main]

use std::fmt;
use std::sync::LazyLock;

use bytes::Bytes;
use ckgate::policy::{
    AgentId, Asked, Authority, BoundHost, Bounds, CanonicalPath, Grant, Judged, OriginHeader, Permission,
    PolicyEntry, Query, RouteTable, Rules, WebOrigin, Whence, WithoutOrigin, decide,
};
use http::Method;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

const AGENT: &str = "agent-11111111-1111-4111-8111-111111111111";
const DEPTH_MAX: usize = 8;

static ROUTES: LazyLock<RouteTable> = LazyLock::new(|| RouteTable::built_in().expect("in order"));
static GRANT: LazyLock<Grant> = LazyLock::new(|| Grant {
    host: BoundHost::parse("https://app.test").expect("a host"),
    expires_at: Timestamp::MAX,
    entries: [PolicyEntry {
        agent: AgentId::parse(AGENT).expect("an agent id"),
        access: Permission::ALL.into_iter().collect(),
    }].into(),
});

fuzz_target!(|body: &[u8]| {
    check(&Method::POST, "/messages", body);
    check(&Method::PATCH, "", body);
});

fn check(method: &Method, below: &str, body: &[u8]) {
    let target = format!("/v1/agents/{AGENT}{below}");
    let asked = Asked {
        method,
        path: CanonicalPath::parse(&target).expect("canonical"),
        query: Query::NONE,
        whence: Whence {
            origin: OriginHeader::Web(WebOrigin::parse(b"https://app.test").expect("an origin")),
            host: Authority::parse(b"gate.test").expect("a host"),
            from_browser: true,
        },
    };
    let rules = Rules {
        routes: &ROUTES,
        without_origin: WithoutOrigin::Refuse,
        bounds: Bounds { json_depth_max: DEPTH_MAX, ..Bounds::default() },
    };
    let judged = decide(rules, &GRANT, &asked, Timestamp::UNIX_EPOCH).expect("the head passes");
    let Judged::BodyFirst(pending) = judged else { panic!("no body is waited for") };
    let rule = pending.operation().body.as_ref().expect("a body is admitted");
    let admitted: Vec<String> = rule.fields().map(|(name, _)| name.to_owned()).collect();
    if pending.judge_body(Bytes::copy_from_slice(body)).is_err() || body.is_empty() {
        return;
    }
    let node: Node = serde_json::from_slice(body).expect("another parser refuses it");
    assert!(node.depth() <= DEPTH_MAX);
    assert!(!node.has_key_twice());
    let Node::Object(fields) = &node else { panic!("not an object") };
    assert!(fields.iter().all(|(key, _)| admitted.contains(key)));
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    if below.is_empty() {
        return;
    }
    let Some(Node::List(messages)) = field("messages") else { return };
    for message in messages {
        let Node::Object(fields) = message else { panic!("a message that is no object") };
        for (key, value) in fields {
            match (key.as_str(), value) {
                ("role", Node::Text(text)) => assert_eq!(text, "user"),
                ("type", Node::Text(text)) => assert_eq!(text, "message"),
                ("content", Node::Text(_) | Node::List(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// JSON as another parser reads it, with every key kept.
#[derive(Debug)]
enum Node {
    Scalar,
    Text(String),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match self {
            Self::Scalar | Self::Text(_) => Box::new(std::iter::empty()),
            Self::List(items) => Box::new(items.iter()),
            Self::Object(fields) => Box::new(fields.iter().map(|(_, value)| value)),
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::Scalar | Self::Text(_) => 0,
            node => 1 + node.children().map(Self::depth).max().unwrap_or(0),
        }
    }

    fn has_key_twice(&self) -> bool {
        let twice = match self {
            Self::Object(fields) => {
                let mut keys: Vec<&str> = fields.iter().map(|(key, _)| key.as_str()).collect();
                keys.sort_unstable();
                keys.windows(2).any(|pair| pair[0] == pair[1])
            }
            _ => false,
        };
        twice || self.children().any(Self::has_key_twice)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some(field) = fields.next_entry()? {
            object.push(field);
        }
        Ok(Node::Object(object))
    }
}
