use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::cache::{Cut, StreamLease};

/// How long a stream that has to end may take to reach the end of an event.
const CUT_PATIENCE: Duration = Duration::from_millis(150);

/// What a client connection has to know of the answer under way on it, so that a stream can be cut
/// even while the client reads nothing.
#[derive(Debug)]
pub struct Connection {
    client: RefCell<Rc<str>>,
    is_tls: bool,
    stream: RefCell<Option<Active>>,
}

/// What the answer under way needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// The stream has been told to end: let it say so.
    Look,
    /// It could not say so in time: end the connection.
    End,
}

#[derive(Debug)]
struct Active {
    told: oneshot::Receiver<Cut>,
    deadline: Pin<Box<Sleep>>,
    at_deadline: Cut,
    cut: Rc<Cell<Option<Cut>>>,
    patience: Option<Pin<Box<Sleep>>>,
}

/// A stream's hold on its connection; dropping it means that the stream is over.
#[derive(Debug)]
pub(super) struct StreamHold {
    connection: Rc<Connection>,
    /// Set once the stream has to end.
    cut: Rc<Cell<Option<Cut>>>,
    _lease: StreamLease,
}

impl Connection {
    /// A connection of the client at this address.
    #[must_use]
    pub fn new(client: IpAddr) -> Self {
        let client = RefCell::new(client.to_string().into());
        Self { client, is_tls: false, stream: RefCell::new(None) }
    }

    /// Within TLS, or in the clear.
    #[must_use]
    pub fn within_tls(self, is_tls: bool) -> Self {
        Self { is_tls, ..self }
    }

    /// Whether it is within TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The client's address, as the log writes it.
    #[must_use]
    pub fn client(&self) -> Rc<str> {
        Rc::clone(&self.client.borrow())
    }

    /// The next request is of the client at this address, as a proxy in front says.
    pub fn is_for(&self, client: IpAddr) {
        let client = client.to_string();
        if **self.client.borrow() != *client {
            *self.client.borrow_mut() = client.into();
        }
    }

    /// Puts the connection under watch for a stream that has to end when it is `told`, and at the
    /// latest after `left`.
    pub(super) fn watch(
        self: &Rc<Self>,
        lease: StreamLease,
        mut told: oneshot::Receiver<Cut>,
        (left, at_deadline): (Duration, Cut),
    ) -> StreamHold {
        // It may have been told while the upstream was thinking: then not one event may pass.
        let cut = Rc::new(Cell::new(told.try_recv().ok()));
        *self.stream.borrow_mut() = Some(Active {
            told,
            deadline: Box::pin(sleep(left)),
            at_deadline,
            patience: cut.get().map(|_| Box::pin(sleep(CUT_PATIENCE))),
            cut: Rc::clone(&cut),
        });
        StreamHold { connection: Rc::clone(self), cut, _lease: lease }
    }

    /// Whether the answer under way needs something now.
    pub fn poll_attention(&self, cx: &mut Context<'_>) -> Poll<Attention> {
        let mut stream = self.stream.borrow_mut();
        let Some(active) = stream.as_mut() else { return Poll::Pending };
        if let Some(patience) = &mut active.patience {
            return patience.as_mut().poll(cx).map(|()| Attention::End);
        }
        let told = match Pin::new(&mut active.told).poll(cx) {
            Poll::Ready(Ok(cut)) => Some(cut),
            // The sender goes only with the lease, and the lease with the stream.
            Poll::Ready(Err(_)) | Poll::Pending => None,
        };
        let due = active.deadline.as_mut().poll(cx).is_ready().then_some(active.at_deadline);
        let Some(cut) = told.or(due) else { return Poll::Pending };
        active.cut.set(Some(cut));
        active.patience = Some(Box::pin(sleep(CUT_PATIENCE)));
        Poll::Ready(Attention::Look)
    }
}

impl StreamHold {
    /// Why the stream has to end, once it has to. Asked before each piece of it: what was told before
    /// the piece came holds for the piece, even if nobody has looked since.
    pub(super) fn cut(&self) -> Option<Cut> {
        if self.cut.get().is_none()
            && let Some(active) = self.connection.stream.borrow_mut().as_mut()
            && let Ok(cut) = active.told.try_recv()
        {
            self.cut.set(Some(cut));
            active.patience = Some(Box::pin(sleep(CUT_PATIENCE)));
        }
        self.cut.get()
    }
}

impl Drop for StreamHold {
    fn drop(&mut self) {
        self.connection.stream.borrow_mut().take();
    }
}
