//! Who may ask the decision API: listed addresses only, over HTTP and over gRPC, at each question.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use prost::Message as _;
use tokio::runtime::Runtime;

use crate::harness::{
    A, Call, Connection, DEADLINE, Gate, HOST, ORIGIN, Recorder, Settings, agent_path, field, mint,
};
use crate::reload::{edit, hang_up, section};

const LISTED: &str = "127.0.0.7";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// gRPC's `PERMISSION_DENIED`.
const PERMISSION_DENIED: &str = "7";

/// What Envoy's messages have that is looked at here, by their published field numbers.
mod envoy {
    use super::HashMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct CheckRequest {
        #[prost(message, optional, tag = "1")]
        pub(super) attributes: Option<Attributes>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Attributes {
        #[prost(message, optional, tag = "4")]
        pub(super) request: Option<Request>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Request {
        #[prost(message, optional, tag = "2")]
        pub(super) http: Option<Http>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Http {
        #[prost(string, tag = "2")]
        pub(super) method: String,
        #[prost(map = "string, string", tag = "3")]
        pub(super) headers: HashMap<String, String>,
        #[prost(string, tag = "4")]
        pub(super) path: String,
        #[prost(string, tag = "5")]
        pub(super) host: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct CheckResponse {
        #[prost(message, optional, tag = "1")]
        pub(super) status: Option<Status>,
        #[prost(message, optional, tag = "3")]
        pub(super) ok: Option<Ok>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Status {
        #[prost(int32, tag = "1")]
        pub(super) code: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Ok {
        #[prost(message, repeated, tag = "2")]
        pub(super) headers: Vec<Set>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Set {
        #[prost(message, optional, tag = "1")]
        pub(super) header: Option<Header>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Header {
        #[prost(string, tag = "1")]
        pub(super) key: String,
    }
}

/// A connection of Envoy's, from an address of its own.
struct Envoy {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
}

impl Envoy {
    fn connect(source: IpAddr, address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let requests = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::new(source, 0)).unwrap();
            let stream = socket.connect(address).await.unwrap();
            let (requests, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            requests
        });
        Self { runtime, requests }
    }

    /// The status of the call, and the answer if there is one.
    fn check(&self, token: &str) -> (Option<String>, Option<envoy::CheckResponse>) {
        let headers = [("authorization", format!("Bearer {token}")), ("origin", ORIGIN.to_owned())];
        let http = envoy::Http {
            method: "GET".to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            path: agent_path(A, "/messages"),
            host: HOST.to_owned(),
        };
        let request = Some(envoy::Request { http: Some(http) });
        let message = envoy::CheckRequest { attributes: Some(envoy::Attributes { request }) };
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(message.encoded_len().try_into().unwrap());
        message.encode(&mut framed).unwrap();
        let asked = http::Request::post(format!("http://{HOST}{CHECK}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            // What a peer says of itself changes nothing.
            .header("x-forwarded-for", LISTED)
            .body(())
            .unwrap();
        let exchange = async {
            let mut requests = self.requests.clone().ready().await.unwrap();
            let (answer, mut sending) = requests.send_request(asked, false).unwrap();
            sending.send_data(framed.freeze(), true).unwrap();
            let (head, mut body) = answer.await.unwrap().into_parts();
            let mut bytes = BytesMut::new();
            while let Some(data) = poll_fn(|cx| body.poll_data(cx)).await {
                bytes.extend_from_slice(&data.unwrap());
            }
            let trailers = poll_fn(|cx| body.poll_trailers(cx)).await.unwrap();
            let trailers = trailers.unwrap_or_default();
            let status = head.headers.get("grpc-status").or(trailers.get("grpc-status"));
            (status.map(|status| status.to_str().unwrap().to_owned()), bytes.freeze())
        };
        let exchange = async { tokio::time::timeout(DEADLINE, exchange).await };
        let (status, mut bytes) = self.runtime.block_on(exchange).expect("no answer in time");
        let message = (!bytes.is_empty()).then(|| {
            bytes.advance(5);
            envoy::CheckResponse::decode(bytes).unwrap()
        });
        (status, message)
    }
}

struct Stage {
    recorder: Recorder,
    gate: Gate,
    http: SocketAddr,
    grpc: SocketAddr,
    token: String,
}

fn stage() -> Stage {
    let recorder = Recorder::start();
    let settings: Settings<'_> = &[
        ("listen.decision", "127.0.0.1:0".into()),
        ("listen.decision_grpc", "127.0.0.1:0".into()),
        ("decision.peers", vec![toml::Value::from(LISTED)].into()),
    ];
    let gate = Gate::start_with(&recorder, settings);
    let address = |name: &str| {
        let of = |line: &String| field(line, name)?.as_str()?.parse().ok();
        gate.log_lines().iter().find_map(of).unwrap()
    };
    let (http, grpc) = (address("listen.decision"), address("listen.decision_grpc"));
    let token = mint(&gate, A, &["read_messages"]);
    Stage { recorder, gate, http, grpc, token }
}

/// A good question in the words of every face that is asked over HTTP.
fn questions(stage: &Stage) -> Vec<Call> {
    let messages = agent_path(A, "/messages");
    let call = |target: &str| {
        // What a peer says of itself changes nothing.
        let call = Call::to(stage.http, "GET", target).token(&stage.token);
        call.header("X-Forwarded-For", LISTED).header("X-Real-IP", LISTED)
    };
    let told = |target: &str, kind: &str| {
        let call = call(target).header(&format!("X-{kind}-Method"), "GET");
        call.header(&format!("X-{kind}-Uri"), &messages).header(&format!("X-{kind}-Host"), HOST)
    };
    vec![
        told("/nginx", "Original"),
        told("/haproxy", "Original"),
        told("/caddy", "Forwarded"),
        told("/traefik", "Forwarded"),
        call(&format!("/envoy{messages}")),
        call(&format!("/envoy-with-body{messages}")),
    ]
}

#[test]
fn only_listed_peers_are_answered_over_http_and_grpc() {
    let stage = stage();
    for source in [LISTED, "127.0.0.1", "127.0.0.8"] {
        let (address, listed) = (source.parse().unwrap(), source == LISTED);
        for call in questions(&stage) {
            let mut connection = Connection::open_from(address, stage.http);
            connection.send(call.bytes());
            let answer = connection.answer("GET");
            let case = format!("{} from {source}: {}", call.target(), answer.text());
            assert_eq!(answer.status, if listed { 200 } else { 403 }, "{case}");
            assert_eq!(answer.header("authorization").is_some(), listed, "{case}");
            assert_eq!(
                answer.code_if_any(),
                if listed { "" } else { "peer_not_allowed" },
                "{case}"
            );
        }
        let (status, answer) = Envoy::connect(address, stage.grpc).check(&stage.token);
        if listed {
            let answer = answer.unwrap();
            assert_eq!((status.as_deref(), answer.status.unwrap().code), (Some("0"), 0));
            let set = answer.ok.unwrap().headers;
            assert!(set.iter().any(|set| set.header.as_ref().unwrap().key == "authorization"));
        } else {
            assert_eq!((status.as_deref(), answer), (Some(PERMISSION_DENIED), None), "{source}");
        }
    }
    stage.recorder.assert_untouched();
}

#[test]
fn a_peer_that_is_taken_from_the_list_is_refused_on_the_connections_it_has() {
    let stage = stage();
    let source = LISTED.parse().unwrap();
    let question = questions(&stage).remove(0).bytes();
    let mut http = Connection::open_from(source, stage.http);
    let mut ask = || {
        http.send(&question);
        http.answer("GET").status
    };
    let envoy = Envoy::connect(source, stage.grpc);
    assert_eq!((ask(), envoy.check(&stage.token).0.as_deref()), (200, Some("0")));
    edit(&stage.gate, |table| {
        let peers = vec![toml::Value::from("127.0.0.1")];
        section(table, "decision").insert("peers".to_owned(), peers.into());
    });
    hang_up(&stage.gate);
    assert_eq!((ask(), envoy.check(&stage.token).0.as_deref()), (403, Some(PERMISSION_DENIED)));
    stage.recorder.assert_untouched();
}
