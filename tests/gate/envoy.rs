//! Envoy's side of `ext_authz` over gRPC, as far as the tests need it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use prost::Message as _;
use tokio::runtime::Runtime;

use crate::harness::{DEADLINE, HOST, ORIGIN};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// gRPC's `PERMISSION_DENIED`.
pub(crate) const PERMISSION_DENIED: &str = "7";

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(message, optional, tag = "1")]
    attributes: Option<Attributes>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Attributes {
    #[prost(message, optional, tag = "4")]
    request: Option<Request>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(message, optional, tag = "2")]
    http: Option<Http>,
}

/// The request that is asked about.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Http {
    #[prost(string, tag = "2")]
    method: String,
    #[prost(map = "string, string", tag = "3")]
    headers: HashMap<String, String>,
    #[prost(string, tag = "4")]
    path: String,
    #[prost(string, tag = "5")]
    host: String,
    #[prost(string, tag = "11")]
    body: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CheckResponse {
    #[prost(message, optional, tag = "2")]
    denied: Option<Denied>,
    #[prost(message, optional, tag = "3")]
    ok: Option<Permitted>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Denied {
    #[prost(string, tag = "3")]
    body: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Permitted {
    #[prost(message, repeated, tag = "2")]
    headers: Vec<Set>,
    #[prost(string, repeated, tag = "5")]
    headers_to_remove: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Set {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Header {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

impl Http {
    pub(crate) fn of(method: &str, path: &str) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        let http = Self { method, path, host: HOST.to_owned(), ..Self::default() };
        http.with("origin", ORIGIN)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// With a whole body.
    pub(crate) fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        let length = body.len().to_string();
        self.with("content-length", &length).with("x-envoy-auth-partial-body", "false")
    }
}

impl CheckResponse {
    /// What a header of the permitted request is set to.
    pub(crate) fn sets(&self, name: &str) -> Option<&str> {
        let mut set = self.ok.as_ref()?.headers.iter().filter_map(|set| set.header.as_ref());
        set.find(|header| header.key == name).map(|header| &*header.value)
    }

    /// Whether a header of the caller's is taken out.
    pub(crate) fn removes(&self, name: &str) -> bool {
        let removed = self.ok.as_ref().map(|ok| &ok.headers_to_remove);
        removed.is_some_and(|removed| removed.iter().any(|found| found == name))
    }

    /// The code of the answer that the caller gets in the place of the upstream's.
    pub(crate) fn code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(&self.denied.as_ref()?.body).unwrap();
        Some(body["code"].as_str().unwrap().to_owned())
    }
}

/// A connection of Envoy's, from an address of its own.
pub(crate) struct Envoy {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
}

impl Envoy {
    pub(crate) fn connect(source: IpAddr, address: SocketAddr) -> Self {
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
    pub(crate) fn check(&self, http: &Http) -> (Option<String>, Option<CheckResponse>) {
        let request = Some(Request { http: Some(http.clone()) });
        let message = CheckRequest { attributes: Some(Attributes { request }) };
        let mut framed = BytesMut::new();
        framed.put_u8(0);
        framed.put_u32(message.encoded_len().try_into().unwrap());
        message.encode(&mut framed).unwrap();
        let asked = http::Request::post(format!("http://{HOST}{CHECK}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            // What a peer says of itself changes nothing.
            .header("x-forwarded-for", "127.0.0.7")
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
            CheckResponse::decode(bytes).unwrap()
        });
        (status, message)
    }
}
