//! Route tables of operators: everything that is wrong, at once, with its line.

use ckgate::policy::RouteTable;

use super::judge::Tested;

#[track_caller]
fn check(text: &str, problems: &[&str]) {
    let found = match RouteTable::parse(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, problems, "{text}");
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    check(
        r#"
owner = "me"
[queries.page]
limit = "once"
[bodies.unused]
value = "string"
[[operations]]
name = "Agents.Retrieve"
methods = ["GET", "HEAD"]
path = "/v1/agents/{agent_id}"
permission = "read_all"
[[operations]]
name = "a"
methods = ["GET"]
path = "/v1/things/{thing_id}"
permission = "read_agent"
query = ["page", "pages"]
bodies = "x"
[[operations]]
name = "b"
methods = ["GET"]
path = "/v1//things;x"
permission = "read_agent"
refuse = "because"
"#,
        &[
            "line 2: unknown key `owner`",
            "line 4: `limit` must be `one`, `many`, `agent` or a list of words",
            "line 5: no operation uses `bodies.unused`",
            "line 8: `Agents.Retrieve`: a name is 1 to 80 of a-z, 0-9, `_` and `.`",
            "line 9: `HEAD` is not one of GET, POST, PUT, PATCH and DELETE",
            "line 11: unknown permission `read_all`: use read_messages, write_messages, read_agent or write_agent",
            "line 12: `a`: its path has no `{agent_id}` to tell the agent by",
            "line 17: there is no `queries.pages`",
            "line 18: unknown key `bodies`",
            "line 19: an operation needs either `permission` or `refuse`",
            "line 22: no canonical path has the segment ``",
        ],
    );
}

#[test]
fn operations_that_can_never_be_reached_are_problems() {
    check(
        r#"
[[operations]]
name = "a"
methods = ["GET"]
path = "/v1/agents/{agent_id}"
permission = "read_agent"
[[closed]]
reason = "no"
[closed.operations]
"b" = "GET /v1/agents/{other}/"
"a" = "POST /v1/agents/"
[[operations]]
name = "c"
methods = ["POST"]
path = "/v1/client-side-access-tokens/{agent_id}"
permission = "read_agent"
"#,
        &[
            "line 10: `b` is never reached: line 2 answers GET /v1/agents/{other}/",
            "line 11: line 2 has the name `a` already",
            "line 12: `c`: the gate itself answers at this path",
        ],
    );
}

#[test]
fn open_operation_must_say_where_its_agent_is() {
    check(
        r#"
[[operations]]
name = "a"
methods = ["GET"]
path = "/v1/things"
permission = "read_agent"
[[operations]]
name = "b"
methods = ["GET"]
path = "/v1/others"
permission = "read_agent"
agent = "query.agent_id"
[[operations]]
name = "c"
methods = ["POST"]
path = "/v1/conversations/{conversation_id}"
permission = "read_agent"
agent = "conversation_or_agent"
[[operations]]
name = "d"
methods = ["POST"]
path = "/v1/conversations/{conversation_id}/x/{agent_id}"
permission = "read_agent"
agent = "conversation"
[[operations]]
name = "e"
methods = ["GET"]
path = "/v1/e/{agent_id}"
permission = "read_agent"
agent = "header"
streams = true
redact = ["secrets"]
[operations.body]
x = "text"
"#,
        &[
            "line 2: `a`: its path has no `{agent_id}` to tell the agent by",
            "line 7: `b`: `query.agent_id` must be admitted as an `agent`",
            "line 13: `c`: query or body must admit `agent_id` as an `agent`, for the conversation `default`",
            "line 19: `d`: its path has an `{agent_id}` that is not where the agent is",
            "line 25: `e`: an event stream cannot be redacted",
            "line 30: `header` is no place of the agent: use `path`, `query.KEY`, `body.FIELD`, `conversation`, `conversation_or_agent` or `run`",
            "line 34: `x`: `text` is not a shape: use any, string, boolean, integer, strings, scalar, agent, user_messages, user_content",
        ],
    );
}

#[test]
fn built_in_table_is_whole() -> Tested {
    let table = RouteTable::built_in().map_err(|problems| format!("{problems:?}"))?;
    let open = table.operations().iter().filter(|operation| operation.is_open()).count();
    assert_eq!((open, table.operations().len()), (36, 336));
    Ok(())
}
