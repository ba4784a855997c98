use super::arguments::Audit;
use super::{Outcome, print_line};
use crate::audit_log::{Verdict, verify};

/// Runs `ckgate audit`.
pub(super) fn execute(command: &Audit) -> Outcome {
    let Audit::Verify { files } = command;
    let Verdict { entries, first, problems } = verify(files)?;
    if !problems.is_empty() {
        return Err(problems.join("\n").into());
    }
    match first {
        Some(number) if number > 1 => {
            print_line(&format!("ok: {entries} entries, the first of them number {number}"))
        }
        _ => print_line(&format!("ok: {entries} entries")),
    }
}
