//! Agents that are named in another place than the path, or in several.

use super::judge::{
    Judge, OTHER, OTHER_CONVERSATION, OTHER_RUN, OWN, OWN_CONVERSATION, OWN_RUN, Tested, Verdict,
    everything,
};

/// A conversation that the upstream does not know.
const NO_CONVERSATION: &str = "conv-33333333-3333-4333-8333-333333333333";

#[track_caller]
fn check(method: &str, target: &str, body: &str, code: &str) -> Tested {
    let verdict = Judge::built_in()?.judge(everything(), method, target, body);
    assert_eq!(verdict.code(), code, "{method} {target} {body}: {verdict:?}");
    Ok(())
}

#[test]
fn conversation_of_the_tokens_agent_is_permitted_and_another_one_is_not() -> Tested {
    for (method, rest) in [
        ("GET", ""),
        ("PATCH", ""),
        ("GET", "/messages"),
        ("POST", "/messages"),
        ("POST", "/stream"),
        ("POST", "/cancel"),
        ("POST", "/fork"),
    ] {
        for (conversation, code) in [
            (OWN_CONVERSATION, "permit"),
            (OTHER_CONVERSATION, "permission_denied"),
            (NO_CONVERSATION, "permission_denied"),
            (OWN_RUN, "permission_denied"),
            ("conv-11111111-1111-4111-8111-11111111111G", "permission_denied"),
            ("*", "permission_denied"),
        ] {
            check(method, &format!("/v1/conversations/{conversation}{rest}"), "", code)?;
        }
    }
    Ok(())
}

#[test]
fn run_of_the_tokens_agent_is_permitted_and_another_one_is_not() -> Tested {
    for (method, rest) in
        [("GET", ""), ("GET", "/messages"), ("GET", "/usage"), ("POST", "/stream")]
    {
        for (run, code) in [
            (OWN_RUN, "permit"),
            (OTHER_RUN, "permission_denied"),
            (OWN_CONVERSATION, "permission_denied"),
            (OWN, "permission_denied"),
            ("default", "permission_denied"),
        ] {
            check(method, &format!("/v1/runs/{run}{rest}"), "", code)?;
        }
    }
    Ok(())
}

#[test]
fn what_is_not_there_and_what_is_not_the_tokens_look_the_same() -> Tested {
    let judge = Judge::built_in()?;
    let said =
        |id: &str| match judge.judge(everything(), "GET", &format!("/v1/conversations/{id}"), "") {
            Verdict::Deny(denial) => Ok(denial.to_string()),
            verdict => Err(format!("{verdict:?}")),
        };
    assert_eq!(said(OTHER_CONVERSATION)?, said(NO_CONVERSATION)?);
    assert_eq!(said(OTHER_CONVERSATION)?, said("conv-1")?);
    Ok(())
}

#[test]
fn agent_in_the_place_of_a_conversation_is_that_agent() -> Tested {
    for (agent, code) in [(OWN, "permit"), (OTHER, "permission_denied")] {
        check("GET", &format!("/v1/conversations/{agent}/messages"), "", code)?;
        check("POST", &format!("/v1/conversations/{agent}/messages"), "{}", code)?;
        check("POST", &format!("/v1/conversations/{agent}/cancel"), "", code)?;
    }
    // Upstream, these two take no agent.
    check("GET", &format!("/v1/conversations/{OWN}"), "", "permission_denied")?;
    check("PATCH", &format!("/v1/conversations/{OWN}"), "", "permission_denied")
}

#[test]
fn default_conversation_belongs_to_the_agent_that_query_or_body_names() -> Tested {
    let list = "/v1/conversations/default/messages";
    check("GET", &format!("{list}?agent_id={OWN}"), "", "permit")?;
    check("GET", &format!("{list}?agent_id={OTHER}"), "", "permission_denied")?;
    check("GET", &format!("{list}?agent_id="), "", "permission_denied")?;
    check("GET", list, "", "parameter_not_allowed")?;
    check("GET", &format!("{list}?agent_id={OWN}&agent_id={OTHER}"), "", "parameter_not_allowed")?;
    check("GET", &format!("{list}?agent_id={OWN}&agent_id={OWN}"), "", "parameter_not_allowed")?;
    check("GET", &format!("{list}?%61gent_id={OTHER}"), "", "permission_denied")?;
    check("POST", list, &format!(r#"{{"agent_id":"{OWN}"}}"#), "permit")?;
    check("POST", list, &format!(r#"{{"agent_id":"{OTHER}"}}"#), "permission_denied")?;
    check("POST", list, &format!(r#"{{"\u0061gent_id":"{OTHER}"}}"#), "permission_denied")?;
    check("POST", list, r#"{"agent_id":null}"#, "parameter_not_allowed")?;
    check("POST", list, r#"{"agent_id":""}"#, "parameter_not_allowed")?;
    check("POST", list, "{}", "parameter_not_allowed")?;
    check("POST", list, "", "parameter_not_allowed")?;
    check("POST", &format!("{list}?agent_id={OWN}"), "", "parameter_not_allowed")?;
    check(
        "POST",
        list,
        &format!(r#"{{"agent_id":"{OWN}","agent_id":"{OTHER}"}}"#),
        "malformed_request",
    )
}

#[test]
fn agents_named_in_several_places_must_agree() -> Tested {
    for (conversation, named, code) in [
        (OWN_CONVERSATION, OWN, "permit"),
        (OWN_CONVERSATION, OTHER, "parameter_not_allowed"),
        (OWN, OTHER, "parameter_not_allowed"),
        (OTHER_CONVERSATION, OWN, "permission_denied"),
        (OTHER, OWN, "permission_denied"),
    ] {
        let messages = format!("/v1/conversations/{conversation}/messages");
        check("GET", &format!("{messages}?agent_id={named}"), "", code)?;
        check("POST", &messages, &format!(r#"{{"agent_id":"{named}"}}"#), code)?;
    }
    Ok(())
}

#[test]
fn conversations_are_listed_and_begun_for_one_agent_only() -> Tested {
    for (query, code) in [
        (format!("?agent_id={OWN}"), "permit"),
        (format!("?agent_id={OTHER}"), "permission_denied"),
        ("?agent_id=".to_owned(), "permission_denied"),
        (String::new(), "parameter_not_allowed"),
        (format!("?agent_id={OTHER}&agent_id={OWN}"), "parameter_not_allowed"),
        (format!("?agent_id={OWN}&agent_ids={OTHER}"), "parameter_not_allowed"),
    ] {
        check("GET", &format!("/v1/conversations/{query}"), "", code)?;
        check("POST", &format!("/v1/conversations/{query}"), "{}", code)?;
    }
    Ok(())
}

#[test]
fn chat_completions_are_for_the_agent_that_stands_in_model() -> Tested {
    let path = "/v1/chat/completions";
    let with = |model: &str, rest: &str| {
        format!(
            r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hi"}}]{rest}}}"#
        )
    };
    check("POST", path, &with(OWN, ""), "permit")?;
    check("POST", path, &with(OTHER, ""), "permission_denied")?;
    check("POST", path, &with("gpt-4o", ""), "parameter_not_allowed")?;
    // It would choose the acting user of the server.
    let user = r#","user":"user-00000000-0000-4000-8000-000000000000""#;
    check("POST", path, &with(OWN, user), "parameter_not_allowed")?;
    check("POST", path, "{}", "parameter_not_allowed")?;
    check("POST", path, "", "parameter_not_allowed")
}

#[test]
fn token_without_the_permission_is_refused_before_anything_is_looked_up() -> Tested {
    use ckgate::policy::{Permission, Permissions};
    let judge = Judge::built_in()?;
    let access: Permissions = [Permission::ReadAgent].into_iter().collect();
    for target in [format!("/v1/runs/{OWN_RUN}"), "/v1/conversations/".to_owned()] {
        assert_eq!(judge.judge(access, "GET", &target, "").code(), "permission_denied");
    }
    Ok(())
}
