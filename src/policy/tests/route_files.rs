use http::Method;

use super::super::{CanonicalPath, RouteTable};

const OPENING: &str = r#"[[operations]]
name = "agents.retrieve"
methods = ["GET"]
path = "/v1/agents/{agent_id}"
permission = "read_agent"
"#;

/// Every problem of a table, each as its line and words that must be in it.
#[track_caller]
fn check(text: &str, expected: &[(usize, &str)]) {
    let problems = RouteTable::parse(text).err().unwrap_or_default();
    let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
    let expected_lines: Vec<usize> = expected.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, expected_lines, "{found:#?}");
    for (problem, (_, words)) in found.iter().zip(expected) {
        assert!(problem.contains(words), "{problem:?} without {words:?}");
    }
}

/// One operation, with one line put in place of its own.
fn with(key: &str, line: &str) -> String {
    let changed = OPENING.lines().map(|own| if own.starts_with(key) { line } else { own });
    changed.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn compiled_in_table_is_in_order() {
    let table = RouteTable::built_in().unwrap();
    assert!(table.operations().len() >= 7);
    for operation in table.operations() {
        assert!(operation.lines.entry > 0, "{}", operation.name);
    }
}

#[test]
fn good_table_has_no_problems() {
    check(OPENING, &[]);
    check("operations = []", &[]);
}

#[test]
fn text_that_is_no_table_is_one_problem_with_its_line() {
    check("\n\noperations = [", &[(3, "")]);
    check("[[operations]]\nname = \"a\"\nname = \"b\"\n", &[(3, "duplicate key")]);
    check("routes = []\n", &[(1, "unknown key `routes`")]);
    check("operations = []\nmore = 1\n", &[(2, "unknown key `more`")]);
}

#[test]
fn each_faulty_operation_is_told_with_its_line() {
    for (key, line, at, words) in [
        ("name", "name = \"\"", 2, "a name is 1 to 80"),
        ("name", "name = \"Agents Retrieve\"", 2, "a name is 1 to 80"),
        ("methods", "methods = []", 3, "and not empty"),
        ("methods", "methods = [\"get\"]", 3, "`get`"),
        ("methods", "methods = [\"GET\", \"TRACE\"]", 3, "`TRACE`"),
        ("path", "path = \"v1/agents/{agent_id}\"", 4, "must start with `/`"),
        ("path", "path = \"/v1//{agent_id}\"", 4, "no canonical path has the segment"),
        ("path", "path = \"/v1/*/{agent_id}\"", 4, "no canonical path has the segment"),
        ("path", "path = \"/v1/%61/{agent_id}\"", 4, "no canonical path has the segment"),
        ("path", "path = \"/v1/{}/{agent_id}\"", 4, "parameter name"),
        ("path", "path = \"/v1/{*rest}/{agent_id}\"", 4, "parameter name"),
        ("path", "path = \"/v1/agents/\"", 1, "no `{agent_id}`"),
        ("permission", "permission = \"admin\"", 5, "`admin`"),
        ("permission", "", 1, "`permission` or `refuse`"),
        (
            "permission",
            "permission = \"read_agent\"\nrefuse = \"no\"",
            1,
            "`permission` or `refuse`",
        ),
        ("permission", "permission = \"read_agent\"\nextra = 1", 6, "unknown key `extra`"),
        ("permission", "permission = 5", 5, "must be a string"),
        ("permission", "permission = \"read_agent\"\nagent = \"query\"", 6, "`query`"),
        ("methods", "methods = \"GET\"", 3, "must be a list of strings"),
        (
            "permission",
            "permission = \"read_agent\"\nquery = { x = \"twice\" }",
            6,
            "must be `one`, `many`",
        ),
    ] {
        check(&with(key, line), &[(at, words)]);
    }
    let body = "permission = \"write_agent\"\nbody = { x = \"number\" }";
    check(&with("permission", body).replace("GET", "PATCH"), &[(6, "`number`")]);
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let good = OPENING.replace("agents.retrieve", "agents.other").replace("/v1/", "/v2/");
    let bad_method = with("methods", "methods = [\"FETCH\"]").replace("retrieve", "a");
    let bad_word = with("permission", "permission = \"all\"").replace("retrieve", "b");
    let text = [&bad_method, &good, OPENING, &bad_word, OPENING].map(str::to_owned).concat();
    let named = (21, "has the name `agents.retrieve` already");
    check(&text, &[(3, "`FETCH`"), (20, "`all`"), named, (21, "never reached: line 11")]);
}

#[test]
fn two_operations_cannot_share_name_or_path_and_method() {
    let renamed = OPENING.replace("agents.retrieve", "agents.retrieve2");
    check(&[OPENING, &renamed].concat(), &[(6, "never reached: line 1")]);
    let slashed = renamed.replace("{agent_id}\"", "{agent_id}/\"");
    check(&[OPENING, &slashed].concat(), &[(6, "never reached: line 1")]);
    let other_method = renamed.replace("GET", "PATCH");
    check(&[OPENING, &other_method].concat(), &[]);
}

#[test]
fn paths_that_the_matcher_cannot_tell_apart_are_a_problem() {
    let other = OPENING.replace("agents.retrieve", "b").replace("{agent_id}", "{agent_id}x");
    assert!(RouteTable::parse(&[OPENING, &other].concat()).is_err());
}

/// Attack M-05: a literal route is never taken for an agent's.
#[test]
fn literal_segments_win_over_parameters() {
    let count = r#"[[operations]]
name = "agents.count"
methods = ["GET"]
path = "/v1/agents/count"
refuse = "counts everybody's"
"#;
    let table = RouteTable::parse(&[OPENING, count].concat()).unwrap();
    for (path, name) in
        [("/v1/agents/count", "agents.count"), ("/v1/agents/counts", "agents.retrieve")]
    {
        let matched = table.find(&Method::GET, &CanonicalPath::parse(path).unwrap()).unwrap();
        assert_eq!(&*matched.operation.name, name);
    }
}

#[test]
fn preflights_learn_only_open_methods() {
    let closed = r#"[[operations]]
name = "agents.delete"
methods = ["DELETE"]
path = "/v1/agents/{agent_id}"
refuse = "never"
"#;
    let table = RouteTable::parse(&[OPENING, closed].concat()).unwrap();
    let at = |path| table.methods_at(&CanonicalPath::parse(path).unwrap());
    assert_eq!(at("/v1/agents/x"), [Method::GET]);
    assert_eq!(at("/v1/agents/x/"), [Method::GET]);
    assert_eq!(at("/nothing"), [Method::GET; 0]);
}
