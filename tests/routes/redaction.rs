//! Secrets leave no answer in which an agent's state can come back.

use std::error::Error;

use ckgate::policy::redact;

use super::judge::{Judge, OWN, Tested, Verdict, everything};

const MARKER: &str = "hunter2";

#[track_caller]
fn check(state: &str) -> Tested {
    for answer in [
        state.to_owned(),
        format!("[{state},{state}]"),
        format!(r#"{{"agents":[{state}],"next":null}}"#),
        format!(r#"{{"managed_group":{{"agents":[[{state}]]}},"id":"x"}}"#),
    ] {
        let names = names()?;
        let kept = String::from_utf8(redact(answer.as_bytes(), &names)?)?;
        assert!(!kept.contains(MARKER), "{kept}");
        assert!(kept.contains("kept"), "{kept}");
        serde_json::from_str::<serde_json::Value>(&kept)?;
    }
    Ok(())
}

/// What the table takes out of an agent's state.
fn names() -> Result<Vec<Box<str>>, Box<dyn Error>> {
    let judge = Judge::built_in()?;
    let verdict = judge.judge(everything(), "GET", &format!("/v1/agents/{OWN}"), "");
    let Verdict::Permit { operation, .. } = verdict else { return Err("refused".into()) };
    let operation = judge.routes.operations().iter().find(|o| *o.name == *operation);
    Ok(operation.ok_or("no such operation")?.redact.clone())
}

#[test]
fn secrets_are_taken_out_of_every_shape_of_an_agents_state() -> Tested {
    // As the current SDKs see it.
    check(r#"{"name":"kept","secrets":[{"key":"K","value":"hunter2"}]}"#)?;
    // As older ones do.
    check(r#"{"name":"kept","tool_exec_environment_variables":[{"key":"K","value":"hunter2"}]}"#)?;
    check(r#"{"name":"kept","tool_exec_environment_variables":{"K":"hunter2"},"secrets":null}"#)?;
    check(r#"{"secrets":"hunter2","secrets":["hunter2"],"name":"kept"}"#)?;
    check(r#"{"\u0073ecrets":"hunter2","name":"kept"}"#)?;
    check(r#"{"name":"kept","memory":{"blocks":[{"secrets":{"a":{"b":["hunter2"]}}}]}}"#)?;
    check("{\n  \"name\" : \"kept\" ,\n  \"secrets\" : [ \"hunter2\" ]\n}")
}

#[test]
fn what_cannot_be_read_whole_is_not_passed_on() -> Tested {
    let names = names()?;
    for answer in [
        r#"{"secrets":"hunter2""#,
        r#"{"secrets":"hunter2"} {"#,
        "",
        "\u{feff}{}",
        r#"{"name":'x',"secrets":1}"#,
    ] {
        assert!(redact(answer.as_bytes(), &names).is_err(), "{answer}");
    }
    let deep = format!(r#"{}{{"secrets":1}}{}"#, r#"{"a":"#.repeat(200), "}".repeat(200));
    assert!(redact(deep.as_bytes(), &names).is_err());
    Ok(())
}

#[test]
fn everything_else_is_kept_byte_for_byte() -> Tested {
    let answer = r#"{"a":1.50,"b":[1e3,"\u00e9é",null],"c":{"d":"secrets"},"e":-0}"#;
    let kept = redact(answer.as_bytes(), &names()?)?;
    assert_eq!(std::str::from_utf8(&kept)?, answer);
    Ok(())
}

#[test]
fn every_operation_that_answers_with_an_agents_state_takes_secrets_out() -> Tested {
    let judge = Judge::built_in()?;
    for operation in judge.routes.operations().iter().filter(|operation| operation.is_open()) {
        let answers_with_agent = operation.path() == "/v1/agents/{agent_id}";
        let takes_out = ["secrets", "tool_exec_environment_variables"]
            .iter()
            .all(|name| operation.redact.iter().any(|redacted| **redacted == **name));
        assert_eq!(answers_with_agent, takes_out, "{}", operation.name);
    }
    Ok(())
}
