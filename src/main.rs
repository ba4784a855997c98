//! The `ckgate` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ckgate::cli::run(std::env::args_os(), std::env::vars_os())
}
