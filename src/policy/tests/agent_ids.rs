use proptest::prelude::*;

use super::super::{AgentId, InvalidAgentId};
use super::A;

#[track_caller]
fn check(text: &str, accepted: bool) {
    let expected = if accepted { Ok(text.to_owned()) } else { Err(InvalidAgentId) };
    assert_eq!(AgentId::parse(text).map(|id| id.to_string()), expected, "{text:?}");
}

#[test]
fn agent_id_is_printed_as_it_was_read() {
    check(A, true);
    check("agent-00000000-0000-4000-8000-000000000000", true);
    check("agent-ffffffff-ffff-4fff-bfff-ffffffffffff", true);
}

/// Attack M-05.
#[test]
fn nothing_but_the_one_spelling_is_an_agent_id() {
    for text in [
        "",
        "*",
        "..",
        "count",
        "search",
        "messages",
        "agent-",
        "11111111-1111-4111-8111-111111111111",
        "agent-11111111-1111-4111-8111-11111111111",
        "agent-11111111-1111-4111-8111-1111111111111",
        "agent-11111111-1111-4111-8111-111111111111/messages",
        "agent-11111111-1111-4111-8111-111111111111 ",
        "agent-11111111-1111-4111-8111-111111111111\0",
        " agent-11111111-1111-4111-8111-111111111111",
        "Agent-11111111-1111-4111-8111-111111111111",
        "AGENT-AAAAAAAA-AAAA-4AAA-8AAA-AAAAAAAAAAAA",
        "agent-AAAAAAAA-aaaa-4aaa-8aaa-aaaaaaaaaaaa",
        "agent-gggggggg-1111-4111-8111-111111111111",
        "agent-11111111-1111-1111-8111-111111111111",
        "agent-11111111-1111-5111-8111-111111111111",
        "agent-11111111-1111-4111-7111-111111111111",
        "agent-11111111-1111-4111-c111-111111111111",
        "agent-11111111111141118111111111111111",
        "agent-1111111-11111-4111-8111-111111111111",
        "agent-{1111111-1111-4111-8111-111111111111",
        "agent_11111111-1111-4111-8111-111111111111",
        "block-11111111-1111-4111-8111-111111111111",
        "agent-١1111111-1111-4111-8111-11111111111",
        "agent-+1111111-1111-4111-8111-111111111111",
    ] {
        check(text, false);
    }
}

proptest! {
    #[test]
    fn text_and_number_are_two_forms_of_one_id(uuid in any::<u128>()) {
        let version = 0xf_u128 << 76;
        let variant = 0b11_u128 << 62;
        let uuid = uuid & !version & !variant | (4 << 76) | (0b10 << 62);
        let id = AgentId::from_u128(uuid).unwrap();
        prop_assert_eq!(id.as_u128(), uuid);
        prop_assert_eq!(AgentId::parse(&id.to_string()), Ok(id));
        let mut path = String::new();
        id.append_to(&mut path);
        prop_assert_eq!(path, id.to_string());
    }

    #[test]
    fn number_of_another_version_or_variant_is_no_id(uuid in any::<u128>()) {
        let is_v4 = (uuid >> 76) & 0xf == 4 && (uuid >> 62) & 0b11 == 0b10;
        prop_assert_eq!(AgentId::from_u128(uuid).is_some(), is_v4);
    }
}
