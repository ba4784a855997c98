//! What the recorder sends back, step by step.

use serde_json::Value;

use super::Signal;

/// Steps that are taken in order, on the connection of the request.
#[derive(Clone, Default)]
pub(crate) struct Reply(pub(super) Vec<Step>);

#[derive(Clone)]
pub(super) enum Step {
    Send(Vec<u8>),
    /// Goes on when the test says so.
    Wait(Signal),
    /// Tells the test that everything before has been sent.
    Raise(Signal),
    /// Ends the connection in order.
    Close,
    /// Ends it with a reset.
    Reset,
}

impl Reply {
    /// Nothing at all: the request is left without an answer.
    pub(crate) fn silence() -> Self {
        Self::default()
    }

    /// Exactly these bytes.
    pub(crate) fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self::silence().then(bytes)
    }

    /// A JSON answer as the real server frames it.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let body = body.to_string();
        Self::raw(format!(
            "HTTP/1.1 {status} Reason\r\ndate: Fri, 01 Jan 2100 00:00:00 GMT\r\nserver: uvicorn\r\n\
             content-length: {}\r\ncontent-type: application/json\r\n\r\n{body}",
            body.len()
        ))
    }

    /// The head of a stream of events; [`Reply::event`] goes on.
    pub(crate) fn stream() -> Self {
        Self::raw(
            "HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncache-control: no-cache\r\n\
             content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n",
        )
    }

    /// More bytes.
    pub(crate) fn then(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.push(Step::Send(bytes.as_ref().to_vec()));
        self
    }

    /// Goes on with another reply.
    pub(crate) fn and(mut self, next: Self) -> Self {
        self.0.extend(next.0);
        self
    }

    /// One chunk of a chunked body.
    pub(crate) fn chunk(self, data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref();
        let mut framed = format!("{:x}\r\n", data.len()).into_bytes();
        framed.extend_from_slice(data);
        framed.extend_from_slice(b"\r\n");
        self.then(framed)
    }

    /// One event, in a chunk of its own.
    pub(crate) fn event(self, data: &str) -> Self {
        self.chunk(format!("data: {data}\n\n"))
    }

    /// The end of a chunked body.
    pub(crate) fn last_chunk(self) -> Self {
        self.then("0\r\n\r\n")
    }

    /// Waits until the test raises `signal`.
    pub(crate) fn wait(mut self, signal: &Signal) -> Self {
        self.0.push(Step::Wait(signal.clone()));
        self
    }

    /// Raises `signal` when it gets here.
    pub(crate) fn raise(mut self, signal: &Signal) -> Self {
        self.0.push(Step::Raise(signal.clone()));
        self
    }

    /// Closes the connection.
    pub(crate) fn close(mut self) -> Self {
        self.0.push(Step::Close);
        self
    }

    /// Resets the connection.
    pub(crate) fn reset(mut self) -> Self {
        self.0.push(Step::Reset);
        self
    }
}
