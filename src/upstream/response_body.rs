use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Sleep;

use super::client::Client;
use super::request_body::{BodyError, RequestBody};

/// An answer's body as it comes from the upstream. Dropping it before its end drops the connection.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    returning: Option<Returning>,
    idle_timeout: Duration,
    idle: Option<Pin<Box<Sleep>>>,
}

/// The way back to the pool, for when the exchange turns out complete and regular.
#[derive(Debug)]
pub(super) struct Returning {
    pub(super) client: Rc<Client>,
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) request_handed_over: Rc<Cell<bool>>,
}

/// The upstream sent nothing for longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("the upstream stopped sending for {0:?}")]
pub struct IdleTimeout(Duration);

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        returning: Option<Returning>,
        idle_timeout: Duration,
    ) -> Self {
        let mut body = Self { incoming, returning, idle_timeout, idle: None };
        if body.incoming.is_end_stream() {
            body.ended();
        }
        body
    }

    fn ended(&mut self) {
        if let Some(returning) = self.returning.take()
            && returning.request_handed_over.get()
        {
            returning.client.put_back(returning.sender);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            let timeout = this.idle_timeout;
            let idle = this.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
            return idle.as_mut().poll(cx).map(|()| Some(Err(Box::new(IdleTimeout(timeout)) as _)));
        };
        this.idle = None;
        match frame {
            // Trailers say nothing that the gate has judged.
            Some(Ok(frame)) if frame.is_trailers() => {
                this.ended();
                Poll::Ready(None)
            }
            Some(Ok(frame)) => {
                // A body of known length is never polled to `None`.
                if this.incoming.is_end_stream() {
                    this.ended();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.returning = None;
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                this.ended();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
