//! What a step promises, and whether an answer keeps it.

use std::fmt;

use bytes::BytesMut;
use http::StatusCode;
use serde_json::Value;

use super::Step;
use crate::demo::api_client::{Answer, ApiClient, Call, ExchangeError, OpenAnswer};

/// Pieces that a reply must at least arrive in to count as streamed.
const PIECES_MIN: usize = 3;
/// Pieces read before the token is deleted.
const PIECES_BEFORE_CUT: usize = 3;
/// Longest stream that is read to its end.
const STREAM_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How much of an answer is shown.
const SHOWN_CHARS_MAX: usize = 300;
/// What an agent's state must not carry.
const REDACTED: [&str; 2] = ["secrets", "tool_exec_environment_variables"];

/// What must come of a step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Promise {
    /// 200, with a message of the assistant.
    Message,
    /// 200, event by event, ended by the API itself.
    Stream,
    /// 200, an agent's state without secrets.
    Redacted,
    /// This status with this code.
    Refusal {
        /// The status.
        status: u16,
        /// The code in the body.
        code: &'static str,
    },
    /// A stream that the gate ends with this code.
    Cut {
        /// The code in its last event.
        code: &'static str,
    },
}

/// What came of a step.
pub(super) struct Outcome {
    /// The answer in short.
    pub(super) answered: String,
    /// In what it differs from the promise.
    pub(super) broken: Option<String>,
}

/// Takes a step and compares its answer with its promise.
pub(super) async fn check(client: &ApiClient, step: &Step) -> Outcome {
    let kept = match step.promise {
        Promise::Stream => check_stream(client, &step.call).await,
        Promise::Cut { code } => match &step.meanwhile {
            Some(deletion) => check_cut(client, &step.call, deletion, code).await,
            None => check_stream(client, &step.call).await,
        },
        Promise::Message | Promise::Redacted | Promise::Refusal { .. } => {
            client.send(&step.call).await.map(|answer| check_answer(step.promise, &answer))
        }
    };
    kept.unwrap_or_else(|error| Outcome {
        answered: "nothing".to_owned(),
        broken: Some(error.to_string()),
    })
}

impl Outcome {
    fn new(answered: String, problems: &[(bool, String)]) -> Self {
        let broken = problems.iter().find(|(holds, _)| !holds).map(|(_, claim)| claim.clone());
        Self { answered, broken }
    }
}

fn check_answer(promise: Promise, answer: &Answer) -> Outcome {
    let text = String::from_utf8_lossy(&answer.body);
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let answered = format!("{} {}", answer.status.as_u16(), shortened(&text));
    let ok = (answer.status == StatusCode::OK, "the status is not 200".to_owned());
    let claims = match promise {
        Promise::Message | Promise::Stream | Promise::Cut { .. } => {
            vec![ok, (text.contains("assistant_message"), "no assistant message".to_owned())]
        }
        Promise::Redacted => {
            let redacted = REDACTED.map(|key| {
                let gone = json.get(key).is_none_or(Value::is_null);
                (gone, format!("`{key}` is in the answer"))
            });
            let named = (json.get("id").is_some(), "no agent state".to_owned());
            [ok, named].into_iter().chain(redacted).collect()
        }
        Promise::Refusal { status, code } => {
            let found = json.get("code").and_then(Value::as_str);
            vec![
                (answer.status.as_u16() == status, format!("the status is not {status}")),
                (found == Some(code), format!("the code is not {code}")),
            ]
        }
    };
    Outcome::new(answered, &claims)
}

async fn check_stream(client: &ApiClient, call: &Call) -> Result<Outcome, ExchangeError> {
    let mut open = client.open(call).await?;
    let (pieces, text) = read_to_end(&mut open).await?;
    Ok(Outcome::new(
        answered_in_pieces(&open, pieces, &text),
        &[
            (open.status == StatusCode::OK, "the status is not 200".to_owned()),
            (is_event_stream(&open), "the answer is not a stream of events".to_owned()),
            (pieces >= PIECES_MIN, format!("it came in {pieces} pieces: something buffers")),
            (text.contains("assistant_message"), "no assistant message".to_owned()),
            (text.ends_with("data: [DONE]\n\n"), "the end mark is missing".to_owned()),
        ],
    ))
}

async fn check_cut(
    client: &ApiClient,
    call: &Call,
    deletion: &Call,
    code: &str,
) -> Result<Outcome, ExchangeError> {
    let mut open = client.open(call).await?;
    for _ in 0..PIECES_BEFORE_CUT {
        open.next_piece().await?;
    }
    let deleted = client.send(deletion).await?;
    let (pieces, text) = read_to_end(&mut open).await?;
    let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let is_error = last.starts_with("event: error\n") && last.contains(&format!("\"{code}\""));
    Ok(Outcome::new(
        format!(
            "deletion {}, then {}",
            deleted.status.as_u16(),
            answered_in_pieces(&open, pieces, &text)
        ),
        &[
            (open.status == StatusCode::OK, "the stream's status is not 200".to_owned()),
            (deleted.status == StatusCode::OK, "the deletion's status is not 200".to_owned()),
            (deleted.body.as_ref() == b"{}", "the deletion's answer is not {}".to_owned()),
            (!text.contains("[DONE]"), "the stream was not cut".to_owned()),
            (is_error, format!("its last event is not an error with code {code}")),
        ],
    ))
}

async fn read_to_end(open: &mut OpenAnswer) -> Result<(usize, String), ExchangeError> {
    let mut pieces = 0;
    let mut read = BytesMut::new();
    while let Some(piece) = open.next_piece().await? {
        pieces += 1;
        read.extend_from_slice(&piece);
        if read.len() > STREAM_BYTES_MAX {
            return Err(ExchangeError::TooLong);
        }
    }
    Ok((pieces, String::from_utf8_lossy(&read).into_owned()))
}

fn is_event_stream(open: &OpenAnswer) -> bool {
    open.headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("text/event-stream"))
}

fn answered_in_pieces(open: &OpenAnswer, pieces: usize, text: &str) -> String {
    let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
    format!("{} in {pieces} pieces, the last event: {}", open.status.as_u16(), shortened(last))
}

fn shortened(text: &str) -> String {
    let line = text.replace('\n', " ⏎ ");
    match line.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or_default()),
        None => line,
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message => f.write_str("200, with a message of the assistant"),
            Self::Stream => f.write_str("200, event by event"),
            Self::Redacted => f.write_str("200, without `secrets`"),
            Self::Refusal { status, code } => write!(f, "{status} {code}"),
            Self::Cut { code } => write!(f, "the stream ends with `event: error`, {code}"),
        }
    }
}
