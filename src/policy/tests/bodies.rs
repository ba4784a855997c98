use std::collections::BTreeMap;

use super::super::Bounds;
use super::super::body::{BodyRefusal, BodyRule};
use super::super::shape::Shape;
use super::{A, B, agent};

const DEPTH_MAX: usize = 8;
const VALUES_MAX: usize = 20_000;
const BOUNDS: Bounds =
    Bounds { json_depth_max: DEPTH_MAX, json_values_max: VALUES_MAX, query_pairs_max: 64 };

/// A rule that admits anything in `any`, and one field of each simple shape.
fn rule() -> BodyRule {
    let fields = [("any", "any"), ("s", "string"), ("b", "boolean"), ("n", "integer")];
    let fields = fields.map(|(name, shape)| (name.into(), Shape::named(shape).unwrap()));
    BodyRule::new(BTreeMap::from(fields))
}

fn judge(body: &[u8]) -> Result<(), BodyRefusal> {
    rule().judge(body, BOUNDS, None).map(|_| ())
}

/// What a refusal is about.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    /// The text is not strict JSON; the message has these words.
    Json(&'static str),
    /// This field is not admitted.
    Field(&'static str),
}

#[track_caller]
fn check(body: &[u8], expected: Result<(), Refused>) {
    let shown = String::from_utf8_lossy(body);
    match (judge(body), expected) {
        (Ok(()), Ok(())) => {}
        (Err(BodyRefusal::NotStrictJson(problem)), Err(Refused::Json(words))) => {
            assert!(problem.contains(words), "{shown}: {problem}");
        }
        (Err(BodyRefusal::NotAdmitted { name, .. }), Err(Refused::Field(field))) => {
            assert_eq!(name, field, "{shown}");
        }
        (judged, expected) => panic!("{shown}: {judged:?}, expected {expected:?}"),
    }
}

#[test]
fn admitted_fields_of_their_shape_pass() {
    for body in [
        r"{}",
        " { } \r\n\t",
        r#"{"s":"text","b":true,"n":-5}"#,
        r#"{"s":null,"b":null,"n":null,"any":null}"#,
        r#"{"any":[1,1.5,-1e300,"x",{"a":{"b":[]}},true,null]}"#,
        r#"{"\u0073":"text"}"#,
        r#"{"s":"\ud83d\ude00 \u0000"}"#,
        r#"{"n":18446744073709551615}"#,
    ] {
        check(body.as_bytes(), Ok(()));
    }
}

#[test]
fn fields_of_another_shape_are_refused_by_name() {
    for (body, field) in [
        (r#"{"s":1}"#, "s"),
        (r#"{"s":["x"]}"#, "s"),
        (r#"{"s":{}}"#, "s"),
        (r#"{"b":"true"}"#, "b"),
        (r#"{"b":1}"#, "b"),
        (r#"{"n":1.0}"#, "n"),
        (r#"{"n":1e3}"#, "n"),
        (r#"{"n":"1"}"#, "n"),
        (r#"{"n":1000000000000000000000}"#, "n"),
        (r#"{"n":[1]}"#, "n"),
    ] {
        check(body.as_bytes(), Err(Refused::Field(field)));
    }
}

#[test]
fn fields_that_are_not_admitted_are_refused_by_name() {
    for (body, field) in [
        (r#"{"other":1}"#, "other"),
        (r#"{"s":"x","other":{"deep":[1]}}"#, "other"),
        (r#"{"S":"x"}"#, "S"),
        (r#"{"s ":"x"}"#, "s "),
        (r#"{"":1}"#, ""),
        (r#"{"\u006fther":1}"#, "other"),
        (r#"{"other":null}"#, "other"),
        (r#"{"a\n\u0000b":1}"#, r"a\n\0b"),
    ] {
        check(body.as_bytes(), Err(Refused::Field(field)));
    }
}

#[test]
fn refusal_repeats_only_the_beginning_of_a_long_name() {
    let body = format!(r#"{{"{}":1}}"#, "x".repeat(100_000));
    match judge(body.as_bytes()) {
        Err(BodyRefusal::NotAdmitted { name, .. }) => assert!(name.len() <= 64, "{}", name.len()),
        judged => panic!("{judged:?}"),
    }
}

/// Attack D-09: the upstream takes the last of two, another reader the first.
#[test]
fn key_that_is_there_twice_is_refused_at_any_depth() {
    for body in [
        r#"{"s":"a","s":"b"}"#,
        r#"{"s":"a","\u0073":"b"}"#,
        r#"{"s":null,"s":"b"}"#,
        r#"{"any":{"x":1,"x":1}}"#,
        r#"{"any":{"x":1,"\u0078":1}}"#,
        r#"{"any":[{"a":{"é":1,"\u00e9":2}}]}"#,
        r#"{"any":{"":1,"":2}}"#,
    ] {
        check(body.as_bytes(), Err(Refused::Json("is there twice")));
    }
}

#[test]
fn key_that_is_there_twice_is_found_among_many() {
    for (first, second) in [(0, 999), (998, 999), (15, 16), (16, 17), (3, 20)] {
        let keys = (0..1000).map(|n| if n == second { first } else { n });
        let fields: Vec<String> = keys.map(|n| format!("\"k{n}\":0")).collect();
        let body = format!("{{\"any\":{{{}}}}}", fields.join(","));
        check(body.as_bytes(), Err(Refused::Json("is there twice")));
    }
}

#[test]
fn same_key_in_two_objects_is_no_duplicate() {
    check(br#"{"any":[{"x":1},{"x":1,"y":{"x":1}}]}"#, Ok(()));
}

#[test]
fn only_utf8_without_a_byte_order_mark_is_read() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    check("\u{feff}{}".as_bytes(), Err(Refused::Json("expected value")));
    check(&utf16("{}"), Err(Refused::Json("")));
    check(&utf16("\u{feff}{}"), Err(Refused::Json("not UTF-8")));
    check(b"{\"s\":\"\xff\"}", Err(Refused::Json("not UTF-8")));
    check(b"{\"s\":\"\xed\xa0\x80\"}", Err(Refused::Json("not UTF-8")));
    check(b"\0\0\0{\0\0\0}", Err(Refused::Json("expected value")));
}

#[test]
fn lone_surrogates_are_refused() {
    for body in [
        r#"{"s":"\ud800"}"#,
        r#"{"s":"\ud800x"}"#,
        r#"{"s":"\udc00"}"#,
        r#"{"s":"\ud800\ud800"}"#,
        r#"{"any":{"\ud800":1}}"#,
        r#"{"\udfff":1}"#,
    ] {
        check(body.as_bytes(), Err(Refused::Json("")));
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{{\"any\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    check(nested(DEPTH_MAX - 1).as_bytes(), Ok(()));
    check(nested(DEPTH_MAX).as_bytes(), Err(Refused::Json("nests deeper than 8")));
    check(nested(100_000).as_bytes(), Err(Refused::Json("nests deeper than 8")));
    let objects = format!("{{\"any\":{}1{}}}", "{\"a\":".repeat(9), "}".repeat(9));
    check(objects.as_bytes(), Err(Refused::Json("nests deeper than 8")));
}

#[test]
fn depth_beyond_what_the_parser_can_do_is_refused_too() {
    let body = format!("{{\"any\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(
        rule()
            .judge(body.as_bytes(), Bounds { json_depth_max: usize::MAX, ..BOUNDS }, None)
            .is_err()
    );
}

#[test]
fn what_follows_the_object_is_refused() {
    for body in ["{}{}", "{} x", "{},", "{}]", "{}\0", "{}\n{\"s\":1}"] {
        check(body.as_bytes(), Err(Refused::Json("trailing characters")));
    }
}

#[test]
fn what_is_no_json_is_refused() {
    for body in [
        " ",
        "{",
        "{\"s\"",
        "{\"s\":}",
        "{\"s\":\"x\",}",
        "{s:1}",
        "{'s':1}",
        "{\"n\":NaN}",
        "{\"any\":Infinity}",
        "{\"any\":-Infinity}",
        "{\"n\":01}",
        "{\"n\":+1}",
        "{\"any\":.5}",
        "{\"any\":5.}",
        "{\"any\":0x10}",
        "{\"any\":1e999}",
        "{\"s\":\"a\nb\"}",
        "{\"s\":\"\\x41\"}",
        "{\"s\":\"\\u00g0\"}",
        "{/**/}",
        "{\"any\":[1,]}",
        "{\"any\":[1 2]}",
        "{\"b\":True}",
    ] {
        check(body.as_bytes(), Err(Refused::Json("")));
    }
}

#[test]
fn body_must_be_an_object() {
    for body in ["null", "[]", "1", "\"x\"", "true", "[{}]"] {
        check(body.as_bytes(), Err(Refused::Json("the body must be an object")));
    }
}

#[test]
fn unknown_shape_is_no_rule() {
    let problem = Shape::named("number").unwrap_err();
    assert!(problem.contains("`number`") && problem.contains("user_messages"), "{problem}");
}

/// Attack D-09.
#[test]
fn number_of_values_is_bounded() {
    let body = |values: usize| format!("{{\"any\":[{}0]}}", "0,".repeat(values - 1));
    check(body(VALUES_MAX / 2).as_bytes(), Ok(()));
    check(body(VALUES_MAX + 1).as_bytes(), Err(Refused::Json("")));
    check(body(10 * VALUES_MAX).as_bytes(), Err(Refused::Json("")));
}

/// Which agent a body that may name one comes to, for a request that is judged for `judged_for`.
#[track_caller]
fn check_agent(body: &str, judged_for: Option<&str>, expected: Result<Option<&str>, ()>) {
    let rule = BodyRule::new(BTreeMap::from([("agent_id".into(), Shape::Agent)]));
    let named = rule
        .judge(body.as_bytes(), BOUNDS, judged_for.map(agent))
        .map(|judged| judged.agent)
        .map_err(|_| ());
    assert_eq!(named, expected.map(|id| id.map(agent)), "{body} for {judged_for:?}");
}

#[test]
fn every_place_that_names_an_agent_names_the_same() {
    let naming = |id: &str| format!("{{\"agent_id\":\"{id}\"}}");
    check_agent(&naming(A), None, Ok(Some(A)));
    check_agent(&naming(A), Some(A), Ok(Some(A)));
    check_agent(&naming(B), Some(A), Err(()));
    check_agent("{}", Some(A), Ok(Some(A)));
    check_agent("{}", None, Ok(None));
    check_agent(r#"{"agent_id":"agent-1"}"#, Some(A), Err(()));
    check_agent(&naming(&A.to_uppercase()), None, Err(()));
    check_agent(&format!(r#"{{"agent_id":"{A}","agent_id":"{B}"}}"#), None, Err(()));
    check_agent(&format!(r#"{{"agent_id":"{A}","\u0061gent_id":"{A}"}}"#), None, Err(()));
    check_agent(&format!(r#"{{"agent_id":["{A}"]}}"#), None, Err(()));
}
