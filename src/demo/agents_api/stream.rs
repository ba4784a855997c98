//! A reply as server-sent events, paced by a timer; nobody reads, nothing runs.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::Full;
use serde_json::Value;
use tokio::time::{Sleep, sleep};

use crate::clock::{Clock as _, SystemClock};

use super::agents::{Agents, Role};
use super::script::Script;
use super::shapes;

/// The body of an answer.
pub(super) enum ReplyBody {
    /// All of it at once.
    Whole(Full<Bytes>),
    /// Event by event.
    Events(Events),
}

/// The events of one reply. Dropping it ends the reply, and what was not said is not kept.
pub(super) struct Events {
    queue: VecDeque<Event>,
    pause: Option<Pin<Box<Sleep>>>,
    reply: Option<Reply>,
}

struct Event {
    after: Duration,
    text: Bytes,
}

/// What is kept once everything has been said.
struct Reply {
    agents: Arc<Agents>,
    agent: &'static str,
    text: String,
}

impl Events {
    /// A ping at once, the pieces with their pauses, then the reason for stopping, the usage and
    /// the end mark.
    pub(super) fn new(
        agents: &Arc<Agents>,
        agent: &'static str,
        said: &str,
        script: &Script,
    ) -> Self {
        let now = SystemClock::default().now();
        let id = agents.new_id("message");
        let text = script.text();
        let at_once = |value: &Value| Event::new(Duration::ZERO, &value.to_string());
        let mut queue = VecDeque::from([at_once(&shapes::ping(&agents.new_id("message"), now))]);
        queue.extend(script.pieces.iter().map(|piece| {
            let shape = shapes::piece(&id, "assistant_message", now, piece);
            Event::new(script.pause, &shape.to_string())
        }));
        queue.push_back(at_once(&shapes::stop_reason()));
        queue.push_back(at_once(&shapes::usage(said, &text)));
        queue.push_back(Event::new(Duration::ZERO, "[DONE]"));
        let reply = Reply { agents: Arc::clone(agents), agent, text };
        Self { queue, pause: None, reply: Some(reply) }
    }
}

impl Event {
    fn new(after: Duration, data: &str) -> Self {
        Self { after, text: Bytes::from(format!("data: {data}\n\n")) }
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let Some(next) = this.queue.front() else {
            if let Some(reply) = this.reply.take() {
                reply.agents.say(reply.agent, Role::Assistant, reply.text);
            }
            return Poll::Ready(None);
        };
        if !next.after.is_zero() {
            let pause = this.pause.get_or_insert_with(|| Box::pin(sleep(next.after)));
            ready!(pause.as_mut().poll(context));
            this.pause = None;
        }
        let text = this.queue.pop_front().map(|event| event.text);
        Poll::Ready(text.map(|text| Ok(Frame::data(text))))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Events(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(body) => body.size_hint(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Events(body) => body.is_end_stream(),
        }
    }
}
