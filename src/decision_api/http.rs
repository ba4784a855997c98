//! The faces that ask over HTTP/1.1.

use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use ::http::header::{CONNECTION, HeaderValue};
use ::http::{Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::DecisionApi;
use super::face::Face;
use super::question::Told;
use crate::answer;
use crate::message::{Head, Reply};
use crate::proxy::{BodyLimits, Connection, collect};
use crate::server::{self, Buffers, ConnectionSettings, Incoming, RequestBody};

/// Answers one peer until it or the gate goes; `api` is asked for at each question.
pub async fn serve(
    api: impl Fn() -> Rc<DecisionApi>,
    stream: TcpStream,
    peer: SocketAddr,
    (settings, buffers): (ConnectionSettings, Rc<Buffers>),
    draining: watch::Receiver<bool>,
) {
    let connection = Rc::new(Connection::new(peer.ip()));
    let service = async |incoming: &mut Incoming| {
        Reply::from(api().answer(&connection, peer, incoming).await.map(Full::from))
    };
    let never = |_: &mut std::task::Context<'_>| Poll::Pending;
    server::serve_connection(stream, settings, buffers, service, draining, never).await;
}

impl DecisionApi {
    async fn answer(
        &self,
        connection: &Rc<Connection>,
        peer: SocketAddr,
        incoming: &mut Incoming,
    ) -> Response<Bytes> {
        if !self.admits(peer.ip()) {
            let message = "this address is not among `decision.peers`";
            return self.misasked(StatusCode::FORBIDDEN, "peer_not_allowed", message);
        }
        if let Err(malformed) = incoming.well_formed {
            return self.unreadable(&malformed.to_string());
        }
        let body = incoming.take_body();
        let (face, told) = match self.told(&incoming.head, body).await {
            Ok(told) => told,
            Err(problem) => return self.unreadable(&problem),
        };
        let question = told.read(self.head);
        face.answer(self.judge(connection, &question, face.asking(self.streams)).await)
    }

    async fn told(&self, head: &Head, body: RequestBody) -> Result<(Face, Told), String> {
        let (face, rest) = Face::at(head.target()).map_err(|unasked| unasked.to_string())?;
        let body = if face.gives_body() {
            let limits: BodyLimits = self.core.gate.rules.inspected_body;
            collect(body, limits).await.map_err(|problem| problem.to_string())?
        } else {
            Bytes::new()
        };
        let told = face.read(head, rest, body).map_err(|unasked| unasked.to_string())?;
        Ok((face, told))
    }

    fn unreadable(&self, problem: &str) -> Response<Bytes> {
        self.misasked(StatusCode::BAD_REQUEST, "question_malformed", problem)
    }

    /// The answer to a question that is none; never a permission.
    fn misasked(&self, status: StatusCode, code: &'static str, message: &str) -> Response<Bytes> {
        tracing::warn!(target: "ckgate::decision", code, message, "a peer's question is refused");
        let mut answer = answer::error(status, code, message, self.core.next_request_id());
        // What follows a question in doubt is in doubt as well.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    }
}
