//! What the model answers: directives in the user's text, otherwise an echo.

use std::time::Duration;

/// Most words a directive can ask for.
const WORDS_MAX: usize = 1000;
/// Longest pause between two pieces.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Pause between two pieces when nothing else is asked for.
const PAUSE: Duration = Duration::from_millis(5);

const WORDS: [&str; 10] =
    ["lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do"];

/// The answer to one message, in the pieces in which a stream shows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) pieces: Vec<String>,
    /// Before each piece.
    pub(super) pause: Duration,
}

impl Script {
    /// `[[words N MS]]` anywhere in the text: N words, MS milliseconds apart. Otherwise the text
    /// comes back after `echo: `, word by word.
    pub(super) fn for_text(text: &str) -> Self {
        if let Some((count, pause)) = words_directive(text) {
            let word = |(at, word)| format!("{word}-{at} ");
            let pieces = WORDS.iter().cycle().take(count).enumerate().map(|(n, w)| word((n, *w)));
            return Self { pieces: pieces.collect(), pause };
        }
        let said = format!("echo: {text}");
        Self { pieces: said.split_inclusive(' ').map(str::to_owned).collect(), pause: PAUSE }
    }

    /// The whole answer.
    pub(super) fn text(&self) -> String {
        self.pieces.concat().trim_end().to_owned()
    }
}

fn words_directive(text: &str) -> Option<(usize, Duration)> {
    let (_, after) = text.split_once("[[words ")?;
    let (arguments, _) = after.split_once("]]")?;
    let mut arguments = arguments.split_ascii_whitespace();
    let count: usize = arguments.next()?.parse().ok()?;
    let milliseconds: u64 = arguments.next().unwrap_or("0").parse().ok()?;
    Some((count.min(WORDS_MAX), Duration::from_millis(milliseconds).min(PAUSE_MAX)))
}
