//! The `ckgate` program.
fn main() {}
