//! One HTTP/1.1 connection, from accepting to closing, in one task.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{Method, Version};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use super::body::{Arrivals, RequestBody};
use super::head::{Malformed, RequestHead};
use super::response::{Answered, BodyFraming, end_chunk, write_head};
use super::sending::Sending;
use super::settings::ConnectionSettings;
use super::wire::{Buffers, Next, Wire};
use crate::message::names::CONNECTION;
use crate::message::{Head, Reply};

/// What a client that expects it is told before its body is read.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// How long a kept connection may still bring a request when the gate drains: one may be on its way,
/// and is answered. A connection that has not brought any has the time that it has for its first.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// Above this nothing more is put behind what waits to be written.
const OUT_BYTES_MAX: usize = 16 << 10;

/// What a connection's watchdog wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The answer under way has something new to say: look at it again.
    Attention,
    /// The connection must end at once.
    End,
}

/// A request in front of a service: well-formed, or a stand-in for one whose head was refused and
/// that can only be answered with a refusal.
#[derive(Debug)]
pub struct Incoming {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: RequestBody,
    /// Whether its head left no doubt.
    pub well_formed: Result<(), Malformed>,
}

impl Incoming {
    /// Its body, to be read once: what is left has none.
    pub fn take_body(&mut self) -> RequestBody {
        std::mem::replace(&mut self.body, RequestBody::whole(Bytes::new()))
    }
}

/// The client has gone, or must go: there is nobody to answer.
struct Gone;

/// What there is to do while an answer is being waited for.
enum Meanwhile {
    /// Look again: something has come, or somebody wants to be heard.
    Look,
    /// Nothing, for now.
    Wait,
}

/// What has to be known of a request to answer it.
struct AskedFor {
    answered: Answered,
    /// Its body, while it is on its way.
    arrivals: Option<Rc<Arrivals>>,
    /// Whether the client still waits to be told to send it.
    expects_continue: bool,
}

/// Serves one connection to its end: until the client or an answer closes it, the gate drains and
/// what it brings at once is answered, or `watchdog` wants it ended.
pub async fn serve_connection<IO, S, B>(
    stream: IO,
    settings: ConnectionSettings,
    buffers: Rc<Buffers>,
    service: S,
    draining: watch::Receiver<bool>,
    watchdog: impl FnMut(&mut Context<'_>) -> Poll<Wanted>,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: AsyncFn(&mut Incoming) -> Reply<B>,
    B: Body<Data = Bytes>,
{
    let wire = Wire::new(stream, settings, Rc::clone(&buffers));
    let mut connection = Http1 { wire, buffers, out: Vec::new(), sent: 0, watchdog };
    let mut waiting = draining.clone();
    let mut drain = pin!(async move {
        // An error means that whoever could ask is gone: as good as being asked.
        let _ = waiting.wait_for(|draining| *draining).await;
    });
    let (mut drains, mut is_first, mut drain_is_awaited) = (false, true, false);
    loop {
        let next = poll_fn(|cx| {
            // Awaited once, it wakes this task: until there is news, there is no need to ask again.
            let is_news = !std::mem::replace(&mut drain_is_awaited, true) || has_news(&draining);
            if !drains && is_news && drain.as_mut().poll(cx).is_ready() {
                drains = true;
                if !is_first {
                    connection.wire.await_head_until(Instant::now() + LAST_REQUEST);
                }
            }
            connection.wire.poll_head(cx)
        });
        let Some(next) = next.await else {
            if drains {
                // One that is on its way all the same is not to be answered with a reset.
                connection.wire.close().await;
            }
            return;
        };
        is_first = false;
        match connection.answer(next, &service, &draining).await {
            Ok(true) => connection.wire.await_head(),
            Ok(false) => return connection.wire.close().await,
            Err(Gone) => return,
        }
    }
}

/// Whether there was anything since the receiver was made, when nothing drained. Costs less than a look.
fn has_news(draining: &watch::Receiver<bool>) -> bool {
    draining.has_changed().unwrap_or(true)
}

struct Http1<IO, W> {
    wire: Wire<IO>,
    buffers: Rc<Buffers>,
    /// What waits to be written, from `sent` on.
    out: Vec<u8>,
    sent: usize,
    watchdog: W,
}

impl<IO, W> Http1<IO, W>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    W: FnMut(&mut Context<'_>) -> Poll<Wanted>,
{
    /// Answers one request; whether the connection serves another.
    async fn answer<S, B>(
        &mut self,
        next: Next,
        service: &S,
        draining: &watch::Receiver<bool>,
    ) -> Result<bool, Gone>
    where
        S: AsyncFn(&mut Incoming) -> Reply<B>,
        B: Body<Data = Bytes>,
    {
        // The request stays where it is; it goes before its answer is sent.
        let (reply, answered) = {
            let (mut incoming, mut asked) = self.receive(next);
            let mut service = pin!(service(&mut incoming));
            let answering = poll_fn(|cx| {
                loop {
                    // What has come counts before any deadline that ends now.
                    self.bring_body(cx, &mut asked)?;
                    if let Poll::Ready(reply) = service.as_mut().poll(cx) {
                        return Poll::Ready(Ok(reply));
                    }
                    if self.bring_body(cx, &mut asked)? {
                        continue;
                    }
                    match self.meanwhile(cx)? {
                        Meanwhile::Look => {}
                        Meanwhile::Wait => return Poll::Pending,
                    }
                }
            });
            (answering.await?, asked.answered)
        };
        let closes = reply.fields.get(CONNECTION) == Some(b"close")
            || (has_news(draining) && *draining.borrow());
        let keeps_alive = answered.keeps_alive && self.wire.is_at_head() && !closes;
        self.send(reply, Answered { keeps_alive, ..answered }).await?;
        Ok(keeps_alive)
    }

    fn receive(&mut self, next: Next) -> (Incoming, AskedFor) {
        let head = match next {
            Next::Head(head) => head,
            Next::Refused(malformed, head_only) => return stand_in(malformed, head_only),
        };
        let RequestHead { head, framing, keeps_alive, expects_continue } = head;
        let answered = Answered::to(&head.method, head.version, keeps_alive);
        let (body, arrivals) = if let Some(bytes) = self.wire.take_whole_body() {
            (RequestBody::whole(bytes), None)
        } else {
            let (body, arrivals) = RequestBody::arriving(framing);
            (body, Some(arrivals))
        };
        let asked = AskedFor { answered, arrivals, expects_continue };
        (Incoming { head, body, well_formed: Ok(()) }, asked)
    }

    /// Brings the next piece of a request's body, if it is asked for and there.
    fn bring_body(&mut self, cx: &mut Context<'_>, asked: &mut AskedFor) -> Result<bool, Gone> {
        let Some(arrivals) = asked.arrivals.as_ref().filter(|arrivals| arrivals.is_asked_for())
        else {
            return Ok(false);
        };
        if std::mem::take(&mut asked.expects_continue) {
            self.out.extend_from_slice(CONTINUE);
        }
        if self.poll_flush(cx)?.is_pending() {
            return Ok(false);
        }
        let Poll::Ready(piece) = self.wire.poll_body(cx) else { return Ok(false) };
        let ended = self.wire.is_at_head() || !matches!(piece, Some(Ok(_)));
        arrivals.hand_on(piece, ended, cx);
        Ok(true)
    }

    /// Notices that the client has gone, and what the watchdog wants.
    fn meanwhile(&mut self, cx: &mut Context<'_>) -> Result<Meanwhile, Gone> {
        if self.wire.poll_gone(cx).is_ready() {
            return Err(Gone);
        }
        match (self.watchdog)(cx) {
            Poll::Ready(Wanted::Attention) => Ok(Meanwhile::Look),
            Poll::Ready(Wanted::End) => Err(Gone),
            Poll::Pending => Ok(Meanwhile::Wait),
        }
    }

    /// Sends an answer: each piece of its body as soon as it is there.
    async fn send<B>(&mut self, reply: Reply<B>, answered: Answered) -> Result<(), Gone>
    where
        B: Body<Data = Bytes>,
    {
        let Reply { status, fields, body } = reply;
        self.take_buffer();
        let length = body.size_hint().exact();
        let framing = write_head(&mut self.out, status, &fields, length, answered);
        drop(fields);
        let mut body = pin!(body);
        let ended = framing == BodyFraming::None || body.is_end_stream();
        let mut sending = Sending::new(framing);
        if ended {
            sending.end(&mut self.out);
        }
        poll_fn(|cx| self.poll_send(cx, body.as_mut(), &mut sending)).await
    }

    fn poll_send<B>(
        &mut self,
        cx: &mut Context<'_>,
        mut body: Pin<&mut B>,
        sending: &mut Sending,
    ) -> Poll<Result<(), Gone>>
    where
        B: Body<Data = Bytes>,
    {
        loop {
            let mut waits = false;
            while sending.wants_more() && self.out.len() < OUT_BYTES_MAX {
                let Poll::Ready(frame) = body.as_mut().poll_frame(cx) else {
                    waits = true;
                    break;
                };
                self.take_buffer();
                sending.take(frame, body.is_end_stream(), &mut self.out);
            }
            let flushed = self.poll_flush(cx)?.is_ready();
            if !flushed || self.poll_write_large(cx, sending)?.is_pending() {
                return self.poll_ended_by_watchdog(cx).map(Err);
            }
            if !self.out.is_empty() {
                continue;
            }
            if sending.ended {
                self.give_buffer_back();
                return Poll::Ready(if sending.broken { Err(Gone) } else { Ok(()) });
            }
            if waits {
                self.give_buffer_back();
                match self.meanwhile(cx)? {
                    Meanwhile::Look => {}
                    Meanwhile::Wait => return Poll::Pending,
                }
            }
        }
    }

    /// While the client takes nothing: an answer that has something new to say cannot say it.
    fn poll_ended_by_watchdog(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        while let Poll::Ready(wanted) = (self.watchdog)(cx) {
            if wanted == Wanted::End {
                return Poll::Ready(Gone);
            }
        }
        Poll::Pending
    }

    /// Writes all that waits to be written.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Gone> {
        if self.out.is_empty() {
            return Ok(Poll::Ready(()));
        }
        while let Some(left) = self.out.get(self.sent..).filter(|left| !left.is_empty()) {
            match self.wire.poll_write(cx, left) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(Gone),
                Poll::Ready(Ok(written)) => self.sent += written,
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        match self.wire.poll_flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Err(Gone),
            Poll::Pending => return Ok(Poll::Pending),
        }
        self.out.clear();
        self.sent = 0;
        Ok(Poll::Ready(()))
    }

    fn poll_write_large(
        &mut self,
        cx: &mut Context<'_>,
        sending: &mut Sending,
    ) -> Result<Poll<()>, Gone> {
        while !sending.large.is_empty() {
            match self.wire.poll_write(cx, &sending.large) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(Gone),
                Poll::Ready(Ok(written)) => sending.large.advance(written),
                Poll::Pending => return Ok(Poll::Pending),
            }
            if sending.large.is_empty() {
                end_chunk(&mut self.out, sending.framing);
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Between answers, and while one has nothing to say, the core has the buffer.
    fn take_buffer(&mut self) {
        if self.out.capacity() == 0 {
            self.out = self.buffers.write.take();
        }
    }

    fn give_buffer_back(&mut self) {
        let buffer = std::mem::take(&mut self.out);
        if buffer.capacity() <= 2 * OUT_BYTES_MAX {
            self.buffers.write.replace(buffer);
        }
    }
}

fn stand_in(malformed: Malformed, head_only: bool) -> (Incoming, AskedFor) {
    let method = if head_only { Method::HEAD } else { Method::GET };
    let head = Head::new(method, Version::HTTP_11, "/");
    let answered = Answered::to(&head.method, head.version, false);
    let asked = AskedFor { answered, arrivals: None, expects_continue: false };
    let body = RequestBody::whole(Bytes::new());
    (Incoming { head, body, well_formed: Err(malformed) }, asked)
}
