//! The heads of messages: a request's, and an answer's.
//!
//! Owns how header fields are kept and found: every line in the order in which it came, its name in
//! lower case, in one piece of memory that is used again. Reading them off a connection is for `server`
//! and `upstream`. Must always hold: a name is a token, a value has no control characters but tabs, and
//! nothing of one message is left in the next.

mod fields;
mod head;
mod lines;
mod memory;
mod reply;
mod spare;
mod syntax;

pub mod names;

pub use fields::{Fields, InvalidField, Repeated};
pub use head::Head;
pub use lines::{BareLineFeed, Lines};
pub use reply::Reply;
pub(crate) use spare::Spare;
pub use syntax::{
    content_length, is_field_name, is_field_value, lower_name, name_end, trim_end, trim_start,
};
