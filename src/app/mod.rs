//! Putting it together: the only place that sees every concrete type.
//!
//! Owns threads and their order of starting and stopping. Leaves every decision to the layers.

mod admin;
mod assemble;
mod background;
mod logging;
mod openapi;
mod running;
mod store;
mod worker;

pub use running::{Running, StartError, serve, start};
pub use store::{open_store, postgres_settings};
