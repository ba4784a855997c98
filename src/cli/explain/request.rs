use std::error::Error;

use bytes::Bytes;

use crate::cli::arguments::Explain;
use crate::config::Limits;
use crate::message::Head;
use crate::message::names::HOST;
use crate::policy::Asked;
use crate::proxy::{HeadRefusal, admits_coding, asked_of};
use crate::server::{HeadLimits, read_head};

/// A request as it was given on the command line, written as it would be sent.
pub(super) struct Request {
    head: Result<Head, HeadRefusal>,
    target: String,
    body: Bytes,
}

/// `Host`, when none is given: it matters only to requests without an `Origin`.
const HOST_STAND_IN: &str = "gate.invalid";
/// What a configuration says that says nothing of it.
const LIMITS_DEFAULT: HeadLimits =
    HeadLimits { head_bytes_max: 32 << 10, headers_max: 64, target_bytes_max: 8 << 10 };

impl Request {
    /// Reads the request. What the gate itself would say of it is for [`Request::asked`]; an error is
    /// one of the command.
    pub(super) fn read(
        options: &Explain,
        body: Bytes,
        limits: Option<&Limits>,
    ) -> Result<Self, Box<dyn Error>> {
        let method = options.method.as_deref().unwrap_or_default();
        let target = options.target.clone().unwrap_or_default();
        let mut lines = Vec::with_capacity(options.header.len() + 2);
        for line in &options.header {
            let (name, value) = line.split_once(':').ok_or("a header is written `NAME: VALUE`")?;
            lines.push((name, value.trim()));
        }
        let has = |name: &str| lines.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        let framed = has("content-length") || has("transfer-encoding");
        if !has(HOST) {
            lines.push(("Host", HOST_STAND_IN));
        }
        let length = body.len().to_string();
        if !body.is_empty() && !framed {
            lines.push(("Content-Length", &length));
        }
        let mut written = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in &lines {
            written.extend([name, ": ", value, "\r\n"]);
        }
        written.push_str("\r\n");
        let limits = limits.map_or(LIMITS_DEFAULT, |limits| HeadLimits {
            head_bytes_max: limits.head_bytes_max,
            headers_max: limits.headers_max,
            target_bytes_max: limits.target_bytes_max,
        });
        let head = read_head(written.as_bytes(), limits);
        let head = head.map(|read| read.head).map_err(|malformed| HeadRefusal {
            code: "malformed_request",
            message: malformed.to_string(),
        });
        Ok(Self { head, target, body })
    }

    /// The target as it was given.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// What the policy is asked, as the gate reads the head; how it refuses it otherwise.
    pub(super) fn asked(&self) -> Result<Asked<'_>, HeadRefusal> {
        self.head.as_ref().map_err(HeadRefusal::clone).and_then(asked_of)
    }

    /// The body, if the gate can look at it.
    pub(super) fn body(&self) -> Result<&Bytes, HeadRefusal> {
        self.head.as_ref().map_err(HeadRefusal::clone).and_then(admits_coding)?;
        Ok(&self.body)
    }

    /// Whether there is a body.
    pub(super) fn has_body(&self) -> bool {
        !self.body.is_empty()
    }
}
