//! A request in convenient form. What is sent is still exactly what it says.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::Value;

use super::connection::{Answer, Connection};
use super::inspection::{Listener, inspect};
use super::tls::Pki;
use super::{HOST, ORIGIN};

/// A request that is being put together.
#[derive(Clone)]
pub(crate) struct Call {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    /// Whose word is taken for the server's certificate, within TLS.
    pki: Option<Pki>,
}

impl Call {
    /// A request with no header but `Host`.
    pub(crate) fn to(address: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            address,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("Host".to_owned(), HOST.to_owned())],
            body: None,
            pki: None,
        }
    }

    /// Within TLS, if there is an authority.
    pub(crate) fn within_tls(mut self, pki: Option<Pki>) -> Self {
        self.pki = pki;
        self
    }

    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The value of `Host`.
    pub(crate) fn host_header(&self) -> &str {
        &self.headers[0].1
    }

    /// Every header but `Host`.
    pub(crate) fn other_headers(&self) -> &[(String, String)] {
        &self.headers[1..]
    }

    pub(crate) fn body_bytes(&self) -> Option<&[u8]> {
        self.body.as_deref()
    }

    /// With this credential, and nothing about where it comes from.
    pub(crate) fn bearer(self, credential: &str) -> Self {
        self.header("Authorization", &format!("Bearer {credential}"))
    }

    /// With this client token, from the page that the tests' tokens are bound to.
    pub(crate) fn token(self, token: &str) -> Self {
        self.bearer(token).origin(ORIGIN)
    }

    pub(crate) fn origin(self, origin: &str) -> Self {
        self.header("Origin", origin)
    }

    /// In the place of the usual `Host`.
    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.headers[0].1);
        self
    }

    /// One more header, even if there is one of that name.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    /// A body with its `Content-Length`, and without a `Content-Type`.
    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// Sends it on a connection of its own and reads the whole answer, which is inspected.
    #[track_caller]
    pub(crate) fn send(&self) -> Answer {
        let mut connection = self.open();
        let answer = connection.answer(&self.method);
        inspect(Listener::Public, &self.method, &self.target, &answer);
        answer
    }

    /// Like [`Call::send`], by the rules of the admin listener.
    #[track_caller]
    pub(crate) fn send_to_admin(&self) -> Answer {
        let answer = self.open().answer(&self.method);
        inspect(Listener::Admin, &self.method, &self.target, &answer);
        answer
    }

    /// Like [`Call::send`], on a connection that goes on afterwards.
    #[track_caller]
    pub(crate) fn send_on(&self, connection: &mut Connection) -> Answer {
        connection.send(self.bytes());
        let answer = connection.answer(&self.method);
        inspect(Listener::Public, &self.method, &self.target, &answer);
        answer
    }

    /// Sends it and returns with the head of the answer, the body still to come.
    #[track_caller]
    pub(crate) fn start(&self) -> (Answer, Connection) {
        let mut connection = self.open();
        let answer = connection.answer_head();
        (answer, connection)
    }

    /// Sends it and reads nothing.
    pub(crate) fn open(&self) -> Connection {
        let mut connection = match &self.pki {
            None => Connection::open(self.address),
            Some(pki) => Connection::open_secure(self.address, pki, HOST).unwrap(),
        };
        connection.send(self.bytes());
        connection
    }

    /// What goes over the wire.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        if let Some(body) = &self.body {
            write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend(self.body.iter().flatten());
        bytes
    }
}
