//! Live updates as server-sent events: new decisions, and the state of the gate once a second.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body::{Body, Frame};
use serde::Serialize;
use tokio::time::Interval;

use super::{Console, DECISIONS_MAX, Pass};

/// How often something new is told.
const INTERVAL: Duration = Duration::from_millis(500);

/// The body of an answer.
pub struct ConsoleBody(Content);

enum Content {
    Whole(Bytes),
    Events(Box<Events>),
}

struct Events {
    console: Rc<Console>,
    pass: Pass,
    interval: Interval,
    told: u64,
    ticks: u64,
}

/// A stream of events, from the newest decisions on, for as long as the pass holds.
pub(super) fn stream(console: Rc<Console>, pass: Pass) -> Response<ConsoleBody> {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let events = Events { console, pass, interval, told: 0, ticks: 0 };
    let mut answer = Response::new(ConsoleBody(Content::Events(Box::new(events))));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

impl ConsoleBody {
    /// A body that is all here.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self(Content::Whole(bytes))
    }
}

impl Events {
    /// What is new since the last time; nothing when this is over.
    fn news(&mut self) -> Option<Bytes> {
        let present = (self.console.present)()?;
        if !self.console.admits(&present, &self.pass) {
            return None;
        }
        let mut text = String::new();
        for decision in present.activity.decisions_after(self.told, DECISIONS_MAX) {
            self.told = decision.sequence;
            write(&mut text, "decision", &decision);
        }
        if self.ticks.is_multiple_of(2) {
            write(&mut text, "overview", &self.console.overview(&present));
        }
        self.ticks += 1;
        Some(text.into())
    }
}

fn write(text: &mut String, name: &str, data: &impl Serialize) {
    // Serialising our own shapes into memory cannot fail.
    let data = serde_json::to_string(data).unwrap_or_default();
    for part in ["event: ", name, "\ndata: ", &data, "\n\n"] {
        text.push_str(part);
    }
}

impl Body for ConsoleBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let content = &mut self.get_mut().0;
        match content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Events(events) => loop {
                if events.interval.poll_tick(cx).is_pending() {
                    return Poll::Pending;
                }
                match events.news() {
                    Some(news) if news.is_empty() => {}
                    Some(news) => return Poll::Ready(Some(Ok(Frame::data(news)))),
                    None => {
                        *content = Content::Whole(Bytes::new());
                        return Poll::Ready(None);
                    }
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match &self.0 {
            Content::Whole(bytes) => http_body::SizeHint::with_exact(bytes.len() as u64),
            Content::Events(_) => http_body::SizeHint::default(),
        }
    }
}
