use super::super::{AccountName, TokenId};
use super::at;

#[track_caller]
fn check_account(name: &str, accepted: bool) {
    assert_eq!(AccountName::parse(name).is_ok(), accepted, "{name:?}");
}

#[test]
fn ids_are_ordered_by_the_time_they_were_made() {
    let earlier = TokenId::generate(at(1000)).unwrap();
    let later = TokenId::generate(at(1001)).unwrap();
    assert!(earlier < later);
}

#[test]
fn ids_of_one_moment_differ() {
    assert_ne!(TokenId::generate(at(1)).unwrap(), TokenId::generate(at(1)).unwrap());
}

#[test]
fn id_comes_back_from_its_one_spelling() {
    let id = TokenId::from_bytes(std::array::from_fn(|n| u8::try_from(n * 17).unwrap()));
    let text = id.to_string();
    assert_eq!(text, "00112233445566778899aabbccddeeff");
    assert_eq!(TokenId::parse(&text), Some(id));
    let upper = text.to_uppercase();
    let shorter = text.strip_prefix('0').unwrap();
    let (longer, plus) = (format!("0{text}"), format!("+{shorter}"));
    for other in [upper.as_str(), shorter, &longer, &plus, ""] {
        assert_eq!(TokenId::parse(other), None, "{other}");
    }
}

#[test]
fn account_names_are_short_and_plain() {
    check_account("default", true);
    check_account("a-b_c9", true);
    check_account(&"a".repeat(64), true);
    for refused in ["", "A", "a b", "a/b", "ä", "a\n", &"a".repeat(65)] {
        check_account(refused, false);
    }
}
