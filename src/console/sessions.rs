use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

use crate::token::Secret;

/// The cookie of a session.
pub(super) const COOKIE_NAME: &str = "ckgate_console";
/// Most sessions at once; the oldest ends first.
const SESSIONS_MAX: usize = 16;
/// How long a session lasts.
const LIFETIME: Duration = Duration::from_hours(12);

/// Who has shown the credential.
#[derive(Default)]
pub(super) struct Sessions(Mutex<VecDeque<Session>>);

struct Session {
    id: String,
    began: Instant,
    /// What was shown: a session does not outlive it.
    credential: Secret,
}

impl Sessions {
    /// A new session's cookie; nothing without randomness.
    pub(super) fn begin(&self, credential: &Secret) -> Option<HeaderValue> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).ok()?;
        let id = URL_SAFE_NO_PAD.encode(random);
        let cookie = format!(
            "{COOKIE_NAME}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}",
            LIFETIME.as_secs()
        );
        let mut sessions = self.lock();
        if sessions.len() >= SESSIONS_MAX {
            sessions.pop_front();
        }
        sessions.push_back(Session { id, began: Instant::now(), credential: credential.clone() });
        HeaderValue::try_from(cookie).ok()
    }

    /// Whether this is a session of whoever has shown the credential that holds now.
    pub(super) fn knows(&self, id: &str, credential: &Secret) -> bool {
        let mut sessions = self.lock();
        sessions.retain(|session| {
            session.began.elapsed() < LIFETIME && session.credential.expose() == credential.expose()
        });
        // Ids are 256 random bits: how long a comparison takes tells nothing of use.
        sessions.iter().any(|session| session.id == id)
    }

    pub(super) fn end(&self, id: &str) {
        self.lock().retain(|session| session.id != id);
    }

    pub(super) fn expired_cookie() -> HeaderValue {
        HeaderValue::from_static("ckgate_console=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Session>> {
        // Nothing here is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
