//! The operator's console, on the admin listener, when an admin credential is set.
//!
//! Owns the page, its sessions, and what it is told. Leaves tokens to `token_api` and decisions to
//! `proxy`. Must always hold: nothing is told without the credential but the page itself, no text of
//! a token is ever shown (a new one is handed over once, to be copied), and whatever changes
//! something is asked for by this page or with the credential itself.

mod answers;
mod assets;
mod events;
mod sessions;
mod tokens;
mod wire;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::watch;

use crate::activity::Activity;
use crate::answer::RequestId;
use crate::policy::Query;
use crate::proxy::Gate;
use crate::token::Secret;
use crate::token_api::TokenApi;
use answers::{empty, json, problem};
pub use events::ConsoleBody;
use sessions::Sessions;
pub use wire::{
    LogIn, NewToken, OpenStream, Overview, PermissionUse, PolicyRow, TokenPage, TokenRow,
};

/// Largest body of a request.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a body may take.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a wrong credential waits for its answer.
const WRONG_CREDENTIAL_PAUSE: Duration = Duration::from_millis(500);
/// Decisions in one answer.
const DECISIONS_MAX: usize = 200;

/// The console of a gate.
pub struct Console {
    present: Box<dyn Fn() -> Option<Present>>,
    draining: watch::Receiver<bool>,
    sessions: Sessions,
    began: Instant,
}

/// What the gate works with at present: a new configuration puts another one in its place.
#[derive(Clone)]
pub struct Present {
    /// What is shown.
    pub gate: Arc<Gate>,
    /// What makes and deletes tokens.
    pub token_api: Arc<TokenApi>,
    /// What has lately happened.
    pub activity: Arc<Activity>,
    /// What opens the console.
    pub credential: Secret,
}

/// How a request showed that it may ask; what it began goes on only while that holds.
#[derive(Clone)]
enum Pass {
    Credential(Secret),
    Session(String),
}

impl Console {
    /// A console that asks at each request what the gate works with; `None`: there is no console.
    #[must_use]
    pub fn new(
        present: impl Fn() -> Option<Present> + 'static,
        draining: watch::Receiver<bool>,
    ) -> Self {
        let (sessions, began) = (Sessions::default(), Instant::now());
        Self { present: Box::new(present), draining, sessions, began }
    }

    /// Answers one request. `None`: it is not the console's.
    pub async fn answer<B>(self: &Rc<Self>, head: &Parts, body: B) -> Option<Response<ConsoleBody>>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let present = (self.present)()?;
        let path = head.uri.path();
        if let Some(asset) = assets::find(head) {
            return Some(asset);
        }
        let path = path.strip_prefix("/api/")?;
        let answer = match self.entitled(&present, &head.headers) {
            _ if path == "session" && head.method == Method::POST => {
                self.open_session(&present, head, body).await
            }
            None => problem(
                StatusCode::UNAUTHORIZED,
                "credential_missing",
                "log in, or send `Authorization: Bearer` with the admin credential",
            ),
            Some(Pass::Session(_)) if changes(head) && !is_own_page(&head.headers) => problem(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "only the console's own page may ask for this",
            ),
            Some(pass) => self.answer_entitled((present, pass), path, head, body).await,
        };
        Some(answer)
    }

    async fn answer_entitled<B>(
        self: &Rc<Self>,
        (present, pass): (Present, Pass),
        path: &str,
        head: &Parts,
        body: B,
    ) -> Response<ConsoleBody>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let request_id = random_request_id();
        match (&head.method, path) {
            (&Method::DELETE, "session") => self.close_session(&head.headers),
            (&Method::GET, "overview") => json(&self.overview(&present)),
            (&Method::GET, "routes") => json(&present.routes()),
            (&Method::GET, "decisions") => {
                json(&present.activity.decisions_after(0, DECISIONS_MAX))
            }
            (&Method::GET, "events") => events::stream(Rc::clone(self), pass),
            (&Method::GET, "tokens") => match Query::parse(head.uri.query()) {
                Ok(query) => present.list(query).await,
                Err(refusal) => {
                    problem(StatusCode::BAD_REQUEST, "invalid_request", &refusal.to_string())
                }
            },
            (&Method::POST, "tokens") => match read(body).await {
                Some(body) => present.create(&body, request_id).await,
                None => unreadable(),
            },
            (&Method::DELETE, path) if path.starts_with("tokens/") => {
                present.delete(path.trim_start_matches("tokens/"), request_id).await
            }
            _ => problem(StatusCode::NOT_FOUND, "not_found", "there is no such endpoint"),
        }
    }

    async fn open_session<B>(
        &self,
        present: &Present,
        head: &Parts,
        body: B,
    ) -> Response<ConsoleBody>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !is_own_page(&head.headers) {
            let message = "only the console's own page may log in";
            return problem(StatusCode::FORBIDDEN, "origin_not_allowed", message);
        }
        let Some(body) = read(body).await else { return unreadable() };
        let Ok(given) = serde_json::from_slice::<LogIn>(&body) else {
            let message = "the body must be `{\"credential\": …}`";
            return problem(StatusCode::BAD_REQUEST, "invalid_request", message);
        };
        if !present.is_credential(given.credential.as_bytes()) {
            tokio::time::sleep(WRONG_CREDENTIAL_PAUSE).await;
            tracing::warn!(target: "ckgate::console", "a wrong admin credential was given");
            let message = "this is not the admin credential";
            return problem(StatusCode::UNAUTHORIZED, "credential_wrong", message);
        }
        let mut answer = empty(StatusCode::NO_CONTENT);
        if let Some(cookie) = self.sessions.begin(&present.credential) {
            answer.headers_mut().insert(http::header::SET_COOKIE, cookie);
        }
        answer
    }

    fn close_session(&self, headers: &HeaderMap) -> Response<ConsoleBody> {
        for id in sessions_in(headers) {
            self.sessions.end(&id);
        }
        let mut answer = empty(StatusCode::NO_CONTENT);
        answer.headers_mut().insert(http::header::SET_COOKIE, Sessions::expired_cookie());
        answer
    }

    fn entitled(&self, present: &Present, headers: &HeaderMap) -> Option<Pass> {
        let bearer = text(headers, &AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let passes: Vec<Pass> = match bearer {
            Some(bearer) => vec![Pass::Credential(Secret::new(bearer.to_owned()))],
            None => sessions_in(headers).map(Pass::Session).collect(),
        };
        passes.into_iter().find(|pass| self.admits(present, pass))
    }

    /// Whether what was shown still entitles.
    fn admits(&self, present: &Present, pass: &Pass) -> bool {
        match pass {
            Pass::Credential(given) => present.is_credential(given.expose().as_bytes()),
            Pass::Session(id) => self.sessions.knows(id, &present.credential),
        }
    }
}

impl Present {
    fn is_credential(&self, given: &[u8]) -> bool {
        let credential = self.credential.expose().as_bytes();
        aws_lc_rs::constant_time::verify_slices_are_equal(given, credential).is_ok()
    }
}

fn changes(head: &Parts) -> bool {
    !matches!(head.method, Method::GET | Method::HEAD)
}

/// Whether a request comes from a page of this same host and port: browsers send `Origin` with all
/// that changes something, and no page can write it.
fn is_own_page(headers: &HeaderMap) -> bool {
    let origin = text(headers, &ORIGIN).and_then(|origin| origin.split_once("://"));
    matches!((origin, text(headers, &HOST)), (Some((_, origin)), Some(host)) if origin == host)
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn sessions_in(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let cookies =
        headers.get_all(COOKIE).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    let pairs = cookies.flat_map(|cookies| cookies.split("; "));
    pairs
        .filter_map(|pair| pair.strip_prefix(sessions::COOKIE_NAME)?.strip_prefix('='))
        .map(str::to_owned)
}

async fn read<B>(body: B) -> Option<Bytes>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let reading = std::pin::pin!(Limited::new(body, BODY_BYTES_MAX).collect());
    let read = tokio::time::timeout(BODY_TIME_MAX, reading).await.ok()?;
    Some(read.ok()?.to_bytes())
}

fn unreadable() -> Response<ConsoleBody> {
    let message = "the body is too large, too slow, or broke off";
    problem(StatusCode::BAD_REQUEST, "invalid_request", message)
}

fn random_request_id() -> RequestId {
    let mut bytes = [0; 16];
    // Without randomness the ids repeat, which harms nobody.
    let _ = getrandom::fill(&mut bytes);
    RequestId::new(u128::from_be_bytes(bytes))
}
