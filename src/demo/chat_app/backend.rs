use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, HeaderValue, ORIGIN,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::sessions::{Sessions, User};
use crate::clock::{Clock as _, SystemClock};
use crate::demo::DemoError;
use crate::demo::api_client::{ApiClient, Call};
use crate::demo::users::expect_json;
use crate::policy::Permission;
use crate::token::Secret;

/// Longest request body.
const BODY_BYTES_MAX: usize = 4096;
/// How long a token lives that is made to expire.
const SHORTLY: SignedDuration = SignedDuration::from_secs(1);
const LOG_IN_FIRST: &str = "log in first";
const TOKENS: &str = "/v1/client-side-access-tokens";

/// The page, as `page/` builds it; `tests/browser/run` checks that this is so.
const ASSETS: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("assets/index.html")),
    ("/chat.js", "text/javascript; charset=utf-8", include_str!("assets/chat.js")),
    ("/chat.css", "text/css; charset=utf-8", include_str!("assets/chat.css")),
    ("/licenses.txt", "text/plain; charset=utf-8", include_str!("assets/licenses.txt")),
];

/// The application's backend: the only holder of the server key.
#[derive(Debug)]
pub(super) struct Backend {
    gate: ApiClient,
    gate_address: SocketAddr,
    agents: [String; 2],
    token_lifetime: SignedDuration,
    sessions: Sessions,
}

/// Where a page served from this address is, by the name of the host.
pub(super) fn origin(address: SocketAddr) -> String {
    format!("http://localhost:{}", address.port())
}

type Reply = Response<Full<Bytes>>;

impl Backend {
    pub(super) fn new(
        gate: ApiClient,
        gate_address: SocketAddr,
        agents: [String; 2],
        token_lifetime: SignedDuration,
    ) -> Self {
        Self { gate, gate_address, agents, token_lifetime, sessions: Sessions::default() }
    }

    /// Answers one request of the page.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path().to_owned();
        let mut reply = match *request.method() {
            Method::GET | Method::HEAD => self.asset(&path),
            Method::POST if is_own_page(request.headers()) => self.act(&path, request).await,
            Method::POST => text(StatusCode::FORBIDDEN, "not from this application's page"),
            _ => text(StatusCode::METHOD_NOT_ALLOWED, "GET and POST only"),
        };
        let headers = reply.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        reply
    }

    fn asset(&self, path: &str) -> Reply {
        let Some((_, kind, content)) = ASSETS.iter().find(|(name, ..)| *name == path) else {
            return text(StatusCode::NOT_FOUND, "there is only the chat");
        };
        let mut reply = Response::new(Full::from(*content));
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        // The gate is another origin, and the only one this page speaks to beside its own.
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
             connect-src 'self' http://{}; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
            self.gate_address
        );
        headers.extend(HeaderValue::try_from(policy).map(|value| (CONTENT_SECURITY_POLICY, value)));
        reply
    }

    async fn act(&self, path: &str, request: Request<Incoming>) -> Reply {
        let session = session_of(request.headers());
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let port = host.and_then(|host| host.rsplit_once(':')).map_or("80", |(_, port)| port);
        let origin = format!("http://localhost:{port}");
        let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if path == "/api/login" {
            let user = body.get("user").and_then(Value::as_str).and_then(User::named);
            let Some(user) = user else { return text(StatusCode::BAD_REQUEST, "ann or ben?") };
            return self.log_in(user, &origin).await;
        }
        let Some((session, user)) =
            session.and_then(|id| self.sessions.user(&id).map(|user| (id, user)))
        else {
            return text(StatusCode::UNAUTHORIZED, LOG_IN_FIRST);
        };
        match path {
            "/api/token" => self.token(&session, user, &origin).await,
            "/api/logout" => self.log_out(&session).await,
            "/api/useless" => self.useless(user, &origin, body.get("kind")).await,
            _ => text(StatusCode::NOT_FOUND, "there is no such thing"),
        }
    }

    /// Whoever it is gets a session: a real application asks for a password here.
    async fn log_in(&self, user: User, origin: &str) -> Reply {
        let Some(session) = self.sessions.begin(user) else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "no randomness");
        };
        let mut reply = self.token(session.expose(), user, origin).await;
        let cookie = format!("session={}; HttpOnly; SameSite=Strict; Path=/", session.expose());
        reply.headers_mut().extend(HeaderValue::try_from(cookie).map(|value| (SET_COOKIE, value)));
        reply
    }

    /// A token for the user's own agent, bound to the page's origin, for a little while.
    async fn token(&self, session: &str, user: User, origin: &str) -> Reply {
        match self.create(user, origin, self.token_lifetime).await {
            Err(error) => failed(&error),
            Ok((token, _)) if !self.sessions.keep(session, token.clone()) => {
                match self.delete(&token).await {
                    Ok(()) => text(StatusCode::UNAUTHORIZED, LOG_IN_FIRST),
                    Err(error) => failed(&error),
                }
            }
            Ok((token, expires_at)) => {
                let (own, other) = self.agents_of(user);
                json_reply(&json!({
                    "user": user.name(),
                    "agentId": own,
                    "otherAgentId": other,
                    "gate": format!("http://{}", self.gate_address),
                    "token": token.expose(),
                    "expiresAt": expires_at.to_string(),
                }))
            }
        }
    }

    /// Deletes the session's tokens: their streams end, wherever they are open.
    async fn log_out(&self, session: &str) -> Reply {
        let mut deleted = Ok(());
        for token in self.sessions.end(session) {
            deleted = self.delete(&token).await.and(deleted);
        }
        match deleted {
            Ok(()) => json_reply(&json!({})),
            Err(error) => failed(&error),
        }
    }

    /// A token that is refused, to show how.
    async fn useless(&self, user: User, origin: &str, kind: Option<&Value>) -> Reply {
        let made = match kind.and_then(Value::as_str) {
            Some("expired") => {
                let made = self.create(user, origin, SHORTLY).await;
                tokio::time::sleep(SHORTLY.unsigned_abs() + Duration::from_millis(100)).await;
                made
            }
            Some("deleted") => match self.create(user, origin, self.token_lifetime).await {
                Ok(made) => self.delete(&made.0).await.map(|()| made),
                Err(error) => Err(error),
            },
            _ => return text(StatusCode::BAD_REQUEST, "deleted or expired?"),
        };
        match made {
            Ok((token, _)) => json_reply(&json!({"token": token.expose()})),
            Err(error) => failed(&error),
        }
    }

    async fn create(
        &self,
        user: User,
        origin: &str,
        lifetime: SignedDuration,
    ) -> Result<(Secret, Timestamp), DemoError> {
        let (agent, _) = self.agents_of(user);
        let now = SystemClock::default().now();
        let expires_at = now.saturating_add(lifetime).unwrap_or(now);
        let access = [Permission::ReadMessages, Permission::WriteMessages, Permission::ReadAgent];
        let call = Call {
            method: Method::POST,
            target: TOKENS.to_owned(),
            token: None,
            origin: None,
            body: Some(json!({
                "policy": [{"type": "agent", "id": agent, "access": access}],
                "hostname": origin,
                "expires_at": expires_at.to_string(),
            })),
        };
        let created = expect_json(&self.gate, &call, StatusCode::CREATED).await?;
        let token = created.get("token").and_then(Value::as_str).unwrap_or_default();
        Ok((Secret::new(token.to_owned()), expires_at))
    }

    async fn delete(&self, token: &Secret) -> Result<(), DemoError> {
        let call = Call {
            method: Method::DELETE,
            target: format!("{TOKENS}/{}", token.expose()),
            token: None,
            origin: None,
            body: None,
        };
        expect_json(&self.gate, &call, StatusCode::OK).await.map(drop)
    }

    /// The user's agent, and the other one's.
    fn agents_of(&self, user: User) -> (&str, &str) {
        let [ann, ben] = &self.agents;
        match user {
            User::Ann => (ann, ben),
            User::Ben => (ben, ann),
        }
    }
}

/// Whether a request comes from the page of this same host and port (`Origin`, which browsers send
/// with every POST and no page can change).
fn is_own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match (text(ORIGIN), text(HOST)) {
        (Some(origin), Some(host)) => origin.strip_prefix("http://") == Some(host),
        _ => false,
    }
}

fn session_of(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split("; "));
    pairs.find_map(|pair| pair.strip_prefix("session=")).map(str::to_owned)
}

fn json_reply(value: &Value) -> Reply {
    let mut reply = Response::new(Full::from(value.to_string()));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn text(status: StatusCode, text: &'static str) -> Reply {
    let mut reply = Response::new(Full::from(text));
    *reply.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, plain);
    reply
}

/// The gate did not do what the backend needs. Its own words may hold a token: they stay here.
fn failed(_: &DemoError) -> Reply {
    text(StatusCode::BAD_GATEWAY, "the gate did not make or delete a token")
}
