/// The shape of a JSON value in an inspected body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Anything, as long as it is strict JSON.
    Any,
    /// Text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A number without fraction or exponent.
    Integer,
    /// Text, a number, `true` or `false`.
    Scalar,
    /// The id of the agent that the request is judged for.
    Agent,
    /// Text that is one of these words.
    Word(&'static [&'static str]),
    /// A list of such items.
    ListOf(&'static Shape),
    /// Text, or a list of such items.
    TextOr(&'static Shape),
    /// An object with these fields and no others.
    Object(&'static [Field]),
}

/// A field of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
}

const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true }
}

const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false }
}

/// An image that comes with the message. A `url` source would make the server fetch it, following
/// redirects, from any host; `letta` would read a file by its id.
const IMAGE_SOURCE: Shape = Shape::Object(&[
    required("type", Shape::Word(&["base64"])),
    required("media_type", Shape::String),
    required("data", Shape::String),
    optional("detail", Shape::String),
]);

const CONTENT_PART: Shape = Shape::Object(&[
    required("type", Shape::Word(&["text", "image"])),
    optional("text", Shape::String),
    optional("source", IMAGE_SOURCE),
]);

/// A message of the end user's own. Other roles speak for the agent or its operator, other types
/// approve pending tool calls or forge their results, and ids tie the message to other agents' data.
const USER_MESSAGE: Shape = Shape::Object(&[
    required("role", Shape::Word(&["user"])),
    required("content", USER_CONTENT),
    optional("type", Shape::Word(&["message"])),
]);

const USER_CONTENT: Shape = Shape::TextOr(&CONTENT_PART);
const USER_MESSAGES: Shape = Shape::ListOf(&USER_MESSAGE);

/// The shapes a route table can name.
const NAMED: [(&str, Shape); 9] = [
    ("any", Shape::Any),
    ("string", Shape::String),
    ("boolean", Shape::Boolean),
    ("integer", Shape::Integer),
    ("strings", Shape::ListOf(&Shape::String)),
    ("scalar", Shape::Scalar),
    ("agent", Shape::Agent),
    ("user_messages", USER_MESSAGES),
    ("user_content", USER_CONTENT),
];

impl Shape {
    /// The shape a route table calls `name`.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let found = NAMED.iter().find(|(word, _)| *word == name).map(|(_, shape)| *shape);
        found.ok_or_else(|| {
            let words: Vec<&str> = NAMED.iter().map(|(word, _)| *word).collect();
            format!("`{name}` is not a shape: use {}", words.join(", "))
        })
    }

    /// The name a route table calls it by.
    pub(super) fn name(&self) -> &'static str {
        NAMED.iter().find(|(_, shape)| shape == self).map_or("object", |(word, _)| word)
    }

    /// What it is, after "must be".
    pub(super) fn description(&self) -> String {
        match self {
            Self::Any => "any JSON value".to_owned(),
            Self::String => "a string".to_owned(),
            Self::Boolean => "a boolean".to_owned(),
            Self::Integer => "an integer".to_owned(),
            Self::Scalar => "a string, a number or a boolean".to_owned(),
            Self::Agent => "the id of an agent".to_owned(),
            Self::Word(words) => format!("`{}` for client tokens", words.join("` or `")),
            Self::ListOf(_) => "a list".to_owned(),
            Self::TextOr(_) => "a string or a list of text and image parts".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}
