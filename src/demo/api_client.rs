//! A tiny HTTP client: one request a connection, bounded and with a deadline.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::token::Secret;

/// How long any one wait may take: connecting, the head of an answer, the next piece of its body.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// Longest body that is read to its end.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Speaks to one API, with one bearer credential unless a call brings its own.
#[derive(Debug)]
pub(super) struct ApiClient {
    authority: String,
    credential: Secret,
}

/// One request, before its headers.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    /// A client token, where the client's own credential is not meant.
    pub(super) token: Option<Secret>,
    pub(super) origin: Option<String>,
    pub(super) body: Option<Value>,
}

/// An answer whose body was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// An answer whose body is still arriving. Dropping it drops the connection.
#[derive(Debug)]
pub(super) struct OpenAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    _connection: Connection,
}

/// Why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The other side could not be reached.
    #[error("could not connect to `{authority}`")]
    Connect {
        /// Where to.
        authority: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The request could not be written down, which a mistyped address causes.
    #[error("the request could not be formed")]
    Form(#[source] http::Error),
    /// The connection failed while it was used.
    #[error("the connection failed")]
    Transfer(#[source] hyper::Error),
    /// Nothing came for a minute.
    #[error("no progress for {} seconds", WAIT_MAX.as_secs())]
    Deadline,
    /// The body did not end within its limit.
    #[error("the answer is longer than {BODY_BYTES_MAX} bytes")]
    TooLong,
}

/// The task that moves the bytes of one connection; it ends with its owner.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl ApiClient {
    /// A client of the API that listens at `address`.
    pub(super) fn to_address(address: SocketAddr, credential: Secret) -> Self {
        Self { authority: address.to_string(), credential }
    }

    /// A client of the API at `HOST:PORT`.
    pub(super) fn to_authority(authority: &str, credential: Secret) -> Self {
        Self { authority: authority.to_owned(), credential }
    }

    /// The client's own credential, to be shown in a printed request.
    pub(super) fn credential(&self) -> &Secret {
        &self.credential
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, ExchangeError> {
        let mut open = self.open(call).await?;
        let mut body = BytesMut::new();
        while let Some(piece) = open.next_piece().await? {
            if body.len() + piece.len() > BODY_BYTES_MAX {
                return Err(ExchangeError::TooLong);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status: open.status, body: body.freeze() })
    }

    /// Sends a request and returns with the head of the answer.
    pub(super) async fn open(&self, call: &Call) -> Result<OpenAnswer, ExchangeError> {
        let request = self.request(call)?;
        let stream = within_wait(TcpStream::connect(&self.authority)).await?.map_err(|source| {
            ExchangeError::Connect { authority: self.authority.clone(), source }
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ExchangeError::Transfer)?;
        let connection = Connection(tokio::spawn(async move {
            // A failure of the connection also ends the body, where it is reported.
            let _ = connection.await;
        }));
        let response =
            within_wait(sender.send_request(request)).await?.map_err(ExchangeError::Transfer)?;
        let (head, body) = response.into_parts();
        Ok(OpenAnswer { status: head.status, headers: head.headers, body, _connection: connection })
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, ExchangeError> {
        let credential = call.token.as_ref().unwrap_or(&self.credential);
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", credential.expose()))
            .map_err(|error| ExchangeError::Form(error.into()))?;
        authorization.set_sensitive(true);
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&call.target)
            .header(HOST, &self.authority)
            .header(AUTHORIZATION, authorization);
        if let Some(origin) = &call.origin {
            request = request.header(ORIGIN, origin);
        }
        let body = match &call.body {
            None => Bytes::new(),
            Some(value) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(value.to_string())
            }
        };
        request.body(Full::new(body)).map_err(ExchangeError::Form)
    }
}

impl OpenAnswer {
    /// The next piece of the body as it arrives; `None` at its end.
    pub(super) async fn next_piece(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        loop {
            match within_wait(self.body.frame()).await? {
                None => return Ok(None),
                Some(Err(error)) => return Err(ExchangeError::Transfer(error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn within_wait<F: Future>(future: F) -> Result<F::Output, ExchangeError> {
    timeout(WAIT_MAX, future).await.map_err(|_| ExchangeError::Deadline)
}
