use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::token::Secret;

/// Most sessions; the oldest goes first.
const SESSIONS_MAX: usize = 64;
/// Most tokens that a session remembers; those before have expired long ago.
const TOKENS_MAX: usize = 8;

/// Somebody of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    Ann,
    Ben,
}

/// Who is logged in where.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<VecDeque<Session>>);

#[derive(Debug)]
struct Session {
    id: Secret,
    user: User,
    tokens: VecDeque<Secret>,
}

impl User {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "ann" => Some(Self::Ann),
            "ben" => Some(Self::Ben),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ann => "Ann",
            Self::Ben => "Ben",
        }
    }
}

impl Sessions {
    /// A new session; the value of its cookie, or nothing if there is no randomness.
    pub(super) fn begin(&self, user: User) -> Option<Secret> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).ok()?;
        let id = Secret::new(URL_SAFE_NO_PAD.encode(random));
        let mut sessions = self.lock();
        if sessions.len() >= SESSIONS_MAX {
            sessions.pop_front();
        }
        sessions.push_back(Session { id: id.clone(), user, tokens: VecDeque::new() });
        Some(id)
    }

    /// Whose session this is.
    pub(super) fn user(&self, id: &str) -> Option<User> {
        self.lock().iter().find(|session| session.id.expose() == id).map(|session| session.user)
    }

    /// Remembers a token of the session, to be deleted when it ends. False: it has ended meanwhile.
    #[must_use]
    pub(super) fn keep(&self, id: &str, token: Secret) -> bool {
        let mut sessions = self.lock();
        let Some(session) = sessions.iter_mut().find(|session| session.id.expose() == id) else {
            return false;
        };
        if session.tokens.len() >= TOKENS_MAX {
            session.tokens.pop_front();
        }
        session.tokens.push_back(token);
        true
    }

    /// Ends the session; its tokens.
    pub(super) fn end(&self, id: &str) -> Vec<Secret> {
        let mut sessions = self.lock();
        let at = sessions.iter().position(|session| session.id.expose() == id);
        let ended = at.and_then(|at| sessions.remove(at));
        ended.map(|session| session.tokens.into()).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Session>> {
        // Nothing here is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
