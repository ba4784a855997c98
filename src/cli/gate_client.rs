//! One request to a gate, within TLS if its URL says so.
//!
//! Must always hold: the server key goes to the host that the operator named and nowhere else (no
//! redirect is followed), and neither a slow nor a talkative peer can hold the command up.

use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::HttpTarget;
use crate::tls::{PeerTls, TlsError};
use crate::token::Secret;

/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for a question and its whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of an answer: a page of 1000 tokens with long policies fits.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Speaks to one gate.
pub(super) struct GateClient {
    target: HttpTarget,
    tls: Option<PeerTls>,
    server_key: Secret,
}

/// What is asked.
pub(super) struct Question {
    /// The method.
    pub(super) method: Method,
    /// The path and query.
    pub(super) target: String,
    /// The JSON, if any.
    pub(super) body: Option<Vec<u8>>,
}

/// What the gate says.
pub(super) struct Answer {
    /// The status.
    pub(super) status: StatusCode,
    /// The body.
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("`--gate` {0}")]
    Url(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot start")]
    Start(#[source] std::io::Error),
    #[error("cannot connect to the gate at `{authority}`")]
    Connect { authority: String, source: std::io::Error },
    #[error("the gate at `{authority}` does not answer in time")]
    Timeout { authority: String },
    #[error("the request cannot be sent")]
    Request(#[from] http::Error),
    #[error("the gate's answer cannot be read")]
    Answer(#[source] Box<dyn Error + Send + Sync>),
}

impl GateClient {
    /// A client for the gate at `url`, verified by the authorities in the file `ca`, or else by those
    /// that the web trusts.
    pub(super) fn new(url: &str, ca: Option<&Path>, server_key: Secret) -> Result<Self, AskError> {
        let target = HttpTarget::parse(url).map_err(AskError::Url)?;
        let tls = target.is_tls.then(|| PeerTls::read(&target.host, ca, None)).transpose()?;
        Ok(Self { target, tls, server_key })
    }

    /// Asks, and waits for the whole answer.
    pub(super) fn ask(&self, question: Question) -> Result<Answer, AskError> {
        let request = self.request(question)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(AskError::Start)?.block_on(async {
            let connect = TcpStream::connect((self.target.host.as_str(), self.target.port));
            let stream = self.in_time(CONNECT_TIMEOUT, connect).await?.map_err(|source| {
                AskError::Connect { authority: self.target.authority.clone(), source }
            })?;
            let Some(tls) = &self.tls else {
                return self.finish(exchange(stream, request)).await;
            };
            let shaking = TlsConnector::from(tls.config()).connect(tls.name(), stream);
            let stream = self.in_time(CONNECT_TIMEOUT, shaking).await?.map_err(|source| {
                AskError::Connect { authority: self.target.authority.clone(), source }
            })?;
            self.finish(exchange(stream, request)).await
        })
    }

    async fn finish(
        &self,
        exchange: impl Future<Output = Result<Answer, Box<dyn Error + Send + Sync>>>,
    ) -> Result<Answer, AskError> {
        self.in_time(ANSWER_TIMEOUT, exchange).await?.map_err(AskError::Answer)
    }

    fn request(&self, question: Question) -> Result<Request<Full<Bytes>>, AskError> {
        let bearer = format!("Bearer {}", self.server_key.expose());
        let mut bearer = HeaderValue::try_from(bearer).map_err(http::Error::from)?;
        bearer.set_sensitive(true);
        let mut request = Request::builder()
            .method(question.method)
            .uri(question.target)
            .header(HOST, &self.target.authority)
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("ckgate/", env!("CARGO_PKG_VERSION")));
        if question.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        Ok(request.body(Full::from(question.body.unwrap_or_default()))?)
    }

    async fn in_time<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, AskError> {
        let late = |_| AskError::Timeout { authority: self.target.authority.clone() };
        timeout(limit, work).await.map_err(late)
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let ask = async move {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
        // Dropping the sender ends the connection, which the gate may keep open for long.
        Ok(Answer { status, body })
    };
    // The connection's own error shows in the answer as well.
    let (answer, _) = tokio::join!(ask, connection);
    answer
}
