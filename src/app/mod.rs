//! Putting it together: the only place that sees every concrete type.
//!
//! Owns threads and their order of starting and stopping. Leaves every decision to the layers.

mod admin;
mod assemble;
mod background;
mod fixed;
mod handover;
mod logging;
mod openapi;
mod reload;
mod running;
mod serving;
mod store;
mod traces;
mod worker;

pub use assemble::check_files;
pub use handover::Invocation;
pub use reload::Load;
pub use running::{Running, StartError, serve, start};
pub use store::{open_store, postgres_settings};
