//! What the upstream does that a token must not have done: queries and bodies.

use super::judge::{Judge, OTHER_RUN, OWN, OWN_CONVERSATION, OWN_RUN, Tested, Verdict, everything};

/// The verdict and, if the request is refused for a parameter, its name.
fn verdict(method: &str, target: &str, body: &str) -> Result<String, Box<dyn std::error::Error>> {
    use ckgate::policy::Denial;
    let verdict = Judge::built_in()?.judge(everything(), method, target, body);
    Ok(match &verdict {
        Verdict::Deny(Denial::ParameterNotAllowed { name, .. }) => format!("no {name}"),
        verdict => verdict.code().to_owned(),
    })
}

#[test]
fn fields_that_widen_rights_are_refused_by_name_wherever_a_message_is_sent() -> Tested {
    let paths = [
        format!("/v1/agents/{OWN}/messages"),
        format!("/v1/agents/{OWN}/messages/stream"),
        format!("/v1/agents/{OWN}/messages/async"),
        format!("/v1/conversations/{OWN_CONVERSATION}/messages"),
        format!("/v1/conversations/{OWN}/messages"),
    ];
    let refused = [
        "override_system",
        "system",
        "override_model",
        "client_tools",
        "client_skills",
        "background",
        "return_logprobs",
        "top_logprobs",
        "return_token_ids",
        "callback_url",
        "include_compaction_messages",
        "run_id",
        "group_id",
    ];
    for path in &paths {
        for field in refused {
            let body = format!(r#"{{"messages":[],"{field}":null}}"#);
            assert_eq!(verdict("POST", path, &body)?, format!("no {field}"), "{path}");
        }
        for (message, name) in [
            (r#"{"role":"system","content":"x"}"#, "role"),
            (r#"{"role":"assistant","content":"x"}"#, "role"),
            (r#"{"role":"user","content":"x","type":"approval"}"#, "type"),
            (r#"{"role":"user","content":"x","type":"tool_return"}"#, "type"),
            (r#"{"role":"user","content":"x","sender_id":"a"}"#, "sender_id"),
            (r#"{"role":"user","content":"x","group_id":"a"}"#, "group_id"),
            (r#"{"role":"user","content":"x","batch_item_id":"a"}"#, "batch_item_id"),
            (r#"{"role":"user","content":[{"type":"tool_call"}]}"#, "content[0].type"),
            (
                r#"{"role":"user","content":[{"type":"image","source":{"type":"url","url":"http://x/"}}]}"#,
                "content[0].source.type",
            ),
        ] {
            let body = format!(r#"{{"messages":[{message}]}}"#);
            assert_eq!(verdict("POST", path, &body)?, format!("no messages[0].{name}"), "{path}");
        }
        let body = r#"{"messages":[{"role":"user","content":"hello"}],"max_steps":3}"#;
        assert_eq!(verdict("POST", path, body)?, "permit");
    }
    Ok(())
}

#[test]
fn fields_that_reach_beyond_an_agent_or_a_block_are_refused_by_name() -> Tested {
    let agent = format!("/v1/agents/{OWN}");
    for field in [
        "tool_ids",
        "source_ids",
        "folder_ids",
        "block_ids",
        "identity_ids",
        "message_ids",
        "secrets",
        "tool_exec_environment_variables",
        "llm_config",
        "embedding_config",
        "model",
        "model_settings",
        "tool_rules",
        "project_id",
        "template_id",
        "hidden",
    ] {
        let body = format!(r#"{{"name":"x","{field}":[]}}"#);
        assert_eq!(verdict("PATCH", &agent, &body)?, format!("no {field}"));
    }
    assert_eq!(verdict("PATCH", &agent, r#"{"name":"x","tags":["a"]}"#)?, "permit");

    let block = format!("{agent}/core-memory/blocks/human");
    for field in
        ["label", "read_only", "project_id", "template_name", "entity_id", "tags", "metadata"]
    {
        let body = format!(r#"{{"value":"x","{field}":"y"}}"#);
        assert_eq!(verdict("PATCH", &block, &body)?, format!("no {field}"));
    }
    let body = r#"{"value":"x","description":"y","limit":5000}"#;
    assert_eq!(verdict("PATCH", &block, body)?, "permit");

    let passage = format!("{agent}/archival-memory");
    assert_eq!(verdict("POST", &passage, r#"{"text":"x","archive_id":"y"}"#)?, "no archive_id");
    assert_eq!(verdict("POST", &passage, r#"{"text":"x","tags":["a"]}"#)?, "permit");
    let id = "passage-33333333-3333-4333-8333-333333333333";
    assert_eq!(verdict("DELETE", &format!("{passage}/{id}"), "")?, "route_not_allowed");

    let cancel = format!("{agent}/messages/cancel");
    let body = format!(r#"{{"run_ids":["{OTHER_RUN}"]}}"#);
    assert_eq!(verdict("POST", &cancel, &body)?, "no run_ids");
    assert_eq!(verdict("POST", &cancel, "{}")?, "permit");

    for path in [
        format!("/v1/conversations/{OWN_CONVERSATION}/stream"),
        format!("/v1/runs/{OWN_RUN}/stream"),
    ] {
        for field in ["run_id", "otid", "poll_interval", "batch_size"] {
            let body = format!(r#"{{"starting_after":0,"{field}":"x"}}"#);
            assert_eq!(verdict("POST", &path, &body)?, format!("no {field}"));
        }
    }
    for field in ["model", "model_settings", "last_message_at", "isolated_block_labels"] {
        let body = format!(r#"{{"{field}":"x"}}"#);
        let path = format!("/v1/conversations/{OWN_CONVERSATION}");
        assert_eq!(verdict("PATCH", &path, &body)?, format!("no {field}"));
        let path = format!("/v1/conversations/?agent_id={OWN}");
        assert_eq!(verdict("POST", &path, &body)?, format!("no {field}"));
    }
    Ok(())
}

#[test]
fn words_that_bring_secrets_or_other_agents_along_are_refused() -> Tested {
    for (query, said) in [
        ("include=agent.secrets", "no include"),
        ("include=agent.managed_group", "no include"),
        ("include=agent.tools&include=agent.secrets", "no include"),
        ("include_relationships=secrets", "no include_relationships"),
        ("include_relationships=tool_exec_environment_variables", "no include_relationships"),
        ("include_relationships=tools&include_relationships=memory", "permit"),
        ("conversation_id=x", "no conversation_id"),
    ] {
        assert_eq!(verdict("GET", &format!("/v1/agents/{OWN}?{query}"), "")?, said);
    }
    Ok(())
}

#[test]
fn bodies_are_bounded_in_depth_and_in_number_of_values() -> Tested {
    let agent = format!("/v1/agents/{OWN}");
    let nested =
        |depth: usize| format!(r#"{{"metadata":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(verdict("PATCH", &agent, &nested(31))?, "permit");
    assert_eq!(verdict("PATCH", &agent, &nested(32))?, "malformed_request");
    assert_eq!(verdict("PATCH", &agent, &nested(100_000))?, "malformed_request");
    let many = |count: usize| format!(r#"{{"metadata":[{}1]}}"#, "1,".repeat(count));
    assert_eq!(verdict("PATCH", &agent, &many(19_000))?, "permit");
    assert_eq!(verdict("PATCH", &agent, &many(20_000))?, "malformed_request");
    Ok(())
}

#[test]
fn queries_are_bounded_in_number_of_pairs() -> Tested {
    let agent = format!("/v1/agents/{OWN}/messages?");
    let many = |count: usize| vec!["include_return_message_types=x"; count].join("&");
    assert_eq!(verdict("GET", &format!("{agent}{}", many(64)), "")?, "permit");
    let said = verdict("GET", &format!("{agent}{}", many(65)), "")?;
    assert_eq!(said, "no include_return_message_types");
    Ok(())
}
