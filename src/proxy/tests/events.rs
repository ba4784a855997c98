use proptest::prelude::*;

use super::super::events::EventBoundary;

/// Whether a stream stands between two events, by the letter of the standard: every line end is
/// one line feed, and an event ends at an empty line.
fn is_between(stream: &[u8]) -> bool {
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    format!("\n\n{text}").ends_with("\n\n")
}

/// What a stream comes to, whole and split at every byte.
#[track_caller]
fn check(stream: &str, between: bool) {
    let bytes = stream.as_bytes();
    assert_eq!(is_between(bytes), between, "{stream:?} by the standard");
    for at in 0..=bytes.len() {
        let mut boundary = EventBoundary::default();
        boundary.pass(&bytes[..at]);
        assert_eq!(boundary.is_between_events(), is_between(&bytes[..at]), "{stream:?} up to {at}");
        boundary.pass(&bytes[at..]);
        assert_eq!(boundary.is_between_events(), between, "{stream:?} split at {at}");
    }
}

#[test]
fn beginning_of_a_stream_is_between_events() {
    assert!(EventBoundary::default().is_between_events());
}

#[test]
fn event_ends_at_an_empty_line_of_any_kind() {
    for end in ["\n\n", "\r\n\r\n", "\r\r", "\n\r\n", "\r\n\n", "\n\r", "\r\r\n"] {
        check(&format!("data: x{end}"), true);
        check(&format!("event: ping\ndata: x{end}data: y{end}"), true);
        check(&format!("data: x{end}data: y"), false);
    }
}

#[test]
fn unfinished_event_is_not_between_events() {
    for stream in ["d", "data: x", "data: x\n", "data: x\r\n", "data: x\r", ": ping\n", "a\nb\n"] {
        check(stream, false);
    }
}

/// How much of the bytes belongs to the event under way.
#[track_caller]
fn check_rest(before: &str, bytes: &str, expected: Option<&str>) {
    let mut boundary = EventBoundary::default();
    boundary.pass(before.as_bytes());
    let end = boundary.pass_event(bytes.as_bytes());
    assert_eq!(end.and_then(|end| bytes.get(..end)), expected, "{bytes:?} after {before:?}");
}

/// Attack C-02: a stream is cut at the end of the event under way, and not within it.
#[test]
fn rest_of_the_event_ends_at_its_empty_line() {
    check_rest("data: a", "b\n\ndata: c\n\n", Some("b\n\n"));
    check_rest("data: a\n", "\ndata: c\n\n", Some("\n"));
    check_rest("data: a\r\n", "\r\ndata: c", Some("\r"));
    check_rest("data: a", "b\n", None);
    check_rest("data: a", "", None);
    check_rest("", "data: a\n\n", Some("data: a\n\n"));
}

proptest! {
    #[test]
    fn boundary_is_where_the_standard_has_it(stream in "[a\r\n:]{0,24}", step in 1_usize..8) {
        let mut boundary = EventBoundary::default();
        let mut passed = 0;
        for chunk in stream.as_bytes().chunks(step) {
            boundary.pass(chunk);
            passed += chunk.len();
            let between = is_between(&stream.as_bytes()[..passed]);
            prop_assert_eq!(boundary.is_between_events(), between);
        }
    }

    #[test]
    fn rest_of_the_event_is_the_shortest_there_is(before in "[a\r\n]{0,6}", bytes in "[a\r\n]{0,12}") {
        let mut boundary = EventBoundary::default();
        boundary.pass(before.as_bytes());
        let joined = format!("{before}{bytes}");
        let ends = |end: &usize| is_between(&joined.as_bytes()[..before.len() + end]);
        let expected = (1..=bytes.len()).find(ends);
        prop_assert_eq!(boundary.pass_event(bytes.as_bytes()), expected);
    }
}
