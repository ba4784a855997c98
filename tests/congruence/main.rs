//! What the gate judged is what the upstream runs: makes request targets, judges them as the gate
//! does, and keeps what would be sent, for the real router to be asked (`tests/congruence/run`).
//!
//! `CKGATE_CONGRUENCE_TARGETS` says how many, `CKGATE_CONGRUENCE_OUT` where they are kept.

#[path = "../support/judge.rs"]
mod judge;

mod corpus;
mod mutations;

use std::env;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use serde_json::json;

use judge::{Judge, OTHER, OWN, Tested, Verdict, everything};
use mutations::Targets;

/// Attack P-26: with a count that fits each change; the whole class runs by the command.
const TARGETS_DEFAULT: usize = 20_000;

#[test]
fn what_would_be_sent_is_judged_the_same_again_and_names_no_other_agent() -> Tested {
    let count = env::var("CKGATE_CONGRUENCE_TARGETS").map_or(Ok(TARGETS_DEFAULT), |n| n.parse())?;
    let out = env::var_os("CKGATE_CONGRUENCE_OUT").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("congruence.jsonl"),
        PathBuf::from,
    );
    let judge = Judge::built_in()?;
    let mut kept = BufWriter::new(File::create(out)?);
    let mut targets = Targets::new(&judge.routes);
    let (mut permits, mut rebuilt) = (0, 0);
    for _ in 0..count {
        let request = targets.next();
        let (method, received, body) = (&*request.method, &*request.target, &*request.body);
        let verdict = judge.judge(everything(), method, received, body);
        let Verdict::Permit { operation, agent, target: sent } = &verdict else {
            let row = json!({
                "method": method, "received": received, "body": body, "code": verdict.code(),
            });
            writeln!(kept, "{row}")?;
            continue;
        };
        permits += 1;
        rebuilt += usize::from(sent != received);
        assert_eq!(agent.to_string(), OWN, "{method} {received}");
        assert!(!sent.split('?').next().unwrap_or_default().contains(OTHER), "{sent}");
        match judge.judge(everything(), method, sent, body) {
            Verdict::Permit { operation: again, target, .. } => {
                assert_eq!((&again, &target), (operation, sent), "{method} {received}");
            }
            verdict => return Err(format!("{received} becomes {sent}: {verdict:?}").into()),
        }
        let operation = judge.routes.operations().iter().find(|o| *o.name == **operation);
        let operation = operation.ok_or("an operation without a name")?;
        let row = json!({
            "method": method, "received": received, "body": body, "sent": sent,
            "operation": *operation.name, "template": operation.path(),
            "place": operation.agent.to_string(), "agent": agent.to_string(),
        });
        writeln!(kept, "{row}")?;
    }
    kept.flush()?;
    // A suite in which nothing is permitted, or nothing rebuilt, would show nothing.
    assert!(permits * 20 > count && rebuilt > 0, "{permits} of {count}, {rebuilt} rebuilt");
    Ok(())
}
