//! The two agents and what has been said to them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::clock::{Clock as _, SystemClock};
use crate::token::Secret;

/// The ids of the two agents.
pub(in crate::demo) const AGENT_IDS: [&str; 2] =
    ["agent-11111111-1111-4111-8111-111111111111", "agent-22222222-2222-4222-8222-222222222222"];

/// Messages kept for each agent; the oldest go first.
const MESSAGES_MAX: usize = 500;

/// All the state there is.
pub(super) struct Agents {
    password: Secret,
    both: Mutex<[Agent; 2]>,
    ids_given: AtomicU64,
}

/// One agent.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) id: &'static str,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) system: String,
    pub(super) tags: Vec<String>,
    pub(super) metadata: Value,
    pub(super) timezone: String,
    pub(super) message_buffer_autoclear: bool,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) human: String,
    pub(super) secret: String,
    /// Oldest first.
    pub(super) messages: VecDeque<Message>,
}

/// Something that was said.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) date: Timestamp,
    pub(super) role: Role,
    pub(super) content: String,
}

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Assistant,
}

/// Which messages of an agent are asked for.
#[derive(Debug)]
pub(super) struct Page<'q> {
    pub(super) limit: usize,
    pub(super) oldest_first: bool,
    /// Only those that follow this one, in the order asked for.
    pub(super) after: Option<&'q str>,
    /// Only those that precede this one, in the order asked for.
    pub(super) before: Option<&'q str>,
}

impl Agents {
    pub(super) fn new(password: Secret) -> Self {
        let now = SystemClock::default().now();
        let [one, two] = AGENT_IDS;
        let both = [
            Agent::new(one, "ann's agent", "Ann", now),
            Agent::new(two, "ben's agent", "Ben", now),
        ];
        Self { password, both: Mutex::new(both), ids_given: AtomicU64::new(0) }
    }

    /// Whether `authorization` carries the password.
    pub(super) fn admits(&self, authorization: &[u8]) -> bool {
        let password = self.password.expose().as_bytes();
        authorization.strip_prefix(b"Bearer ").is_some_and(|given| {
            aws_lc_rs::constant_time::verify_slices_are_equal(given, password).is_ok()
        })
    }

    /// An id that no other thing of this process has, in the shape of all of Letta's ids.
    pub(super) fn new_id(&self, kind: &str) -> String {
        let number = self.ids_given.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff_ffff;
        format!("{kind}-00000000-0000-4000-8000-{number:012x}")
    }

    /// Lets `look` at the agent named `id`; `None` when there is none.
    pub(super) fn with<R>(&self, id: &str, look: impl FnOnce(&mut Agent) -> R) -> Option<R> {
        self.lock().iter_mut().find(|agent| agent.id == id).map(look)
    }

    /// Lets `look` at each agent.
    pub(super) fn each<R>(&self, look: impl FnMut(&Agent) -> R) -> Vec<R> {
        self.lock().iter().map(look).collect()
    }

    /// Keeps what was said; agents that do not exist hear nothing.
    pub(super) fn say(&self, agent: &str, role: Role, content: String) -> Message {
        let id = self.new_id("message");
        let message = Message { id, date: SystemClock::default().now(), role, content };
        self.with(agent, |agent| agent.keep(message.clone()));
        message
    }

    fn lock(&self) -> MutexGuard<'_, [Agent; 2]> {
        // Nothing here is left half done by a panic.
        self.both.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Agent {
    fn new(id: &'static str, name: &str, user: &str, now: Timestamp) -> Self {
        Self {
            id,
            name: name.to_owned(),
            description: Some("repeats what it is told".to_owned()),
            system: "Repeat what you are told.".to_owned(),
            tags: vec!["demo".to_owned()],
            metadata: Value::Object(Map::new()),
            timezone: "UTC".to_owned(),
            message_buffer_autoclear: false,
            created_at: now,
            updated_at: now,
            human: format!("The human is {user}."),
            secret: format!("secret-of-{id}"),
            messages: VecDeque::new(),
        }
    }

    /// Keeps a message, and forgets the oldest when there are too many.
    pub(super) fn keep(&mut self, message: Message) {
        if self.messages.len() >= MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    /// One page of what was said; newest first unless asked otherwise.
    pub(super) fn page(&self, page: &Page<'_>) -> Vec<&Message> {
        let mut ordered: Vec<&Message> = self.messages.iter().collect();
        if !page.oldest_first {
            ordered.reverse();
        }
        let place_of = |id: &str| ordered.iter().position(|message| message.id == id);
        let start = page.after.and_then(place_of).map_or(0, |at| at + 1);
        let end = page.before.and_then(place_of).unwrap_or(ordered.len());
        ordered.into_iter().take(end).skip(start).take(page.limit).collect()
    }

    /// Takes over the fields of a PATCH that the demo knows; those of another type are left alone.
    pub(super) fn patch(&mut self, fields: &Map<String, Value>) {
        let text = |key: &str| fields.get(key).and_then(Value::as_str).map(str::to_owned);
        self.name = text("name").unwrap_or_else(|| std::mem::take(&mut self.name));
        self.system = text("system").unwrap_or_else(|| std::mem::take(&mut self.system));
        self.timezone = text("timezone").unwrap_or_else(|| std::mem::take(&mut self.timezone));
        self.description = text("description").or_else(|| self.description.take());
        if let Some(metadata @ Value::Object(_)) = fields.get("metadata") {
            self.metadata = metadata.clone();
        }
        if let Some(tags) = fields.get("tags").and_then(Value::as_array) {
            self.tags = tags.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        }
        if let Some(clear) = fields.get("message_buffer_autoclear").and_then(Value::as_bool) {
            self.message_buffer_autoclear = clear;
        }
        self.updated_at = SystemClock::default().now();
    }
}
