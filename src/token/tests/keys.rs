use super::super::{KeyRing, KeyRingError, MasterKey, MasterKeyError, Secret};
use super::{ID, at, master, ring};

#[track_caller]
fn check(text: &str, accepted: bool) {
    let expected = if accepted { None } else { Some(MasterKeyError) };
    assert_eq!(MasterKey::parse(text).err(), expected, "{text:?}");
}

#[test]
fn master_key_comes_back_from_its_text() {
    let key = MasterKey::generate().unwrap();
    let text = key.to_text();
    assert_eq!(text.len(), 43);
    assert_eq!(*MasterKey::parse(&text).unwrap().to_text(), *text);
}

#[test]
fn fresh_master_keys_differ() {
    assert_ne!(
        *MasterKey::generate().unwrap().to_text(),
        *MasterKey::generate().unwrap().to_text()
    );
}

#[test]
fn only_43_characters_of_base64url_are_a_master_key() {
    let good = "A".repeat(43);
    check(&good, true);
    check(&format!("  {good}\r\n"), true);
    for bad in [
        String::new(),
        "A".repeat(42),
        "A".repeat(44),
        format!("{good}="),
        format!("{}B", "A".repeat(42)),
        format!("{}+", "A".repeat(42)),
        format!("{} A", "A".repeat(41)),
        format!("\u{a0}{good}"),
        "A".repeat(100_000),
    ] {
        check(&bad, false);
    }
}

#[test]
fn ring_needs_a_key() {
    assert_eq!(KeyRing::new(&[]).unwrap_err(), KeyRingError::Empty);
}

#[test]
fn key_id_may_stand_once() {
    let twice = [(3, master(1)), (5, master(2)), (3, master(3))];
    assert_eq!(KeyRing::new(&twice).unwrap_err(), KeyRingError::Duplicate(3));
}

#[test]
fn first_key_mints() {
    let ring = ring(&[8, 2, 0]);
    assert_eq!(ring.minting_id(), 8);
    assert_eq!(ring.ids(), [8, 2, 0]);
}

#[test]
fn one_master_key_under_two_ids_gives_two_keys() {
    let ring = KeyRing::new(&[(1, master(1)), (2, master(1))]).unwrap();
    let tags = [1, 2].map(|id| ring.tag(id, &[0; 23]).unwrap());
    assert_ne!(tags[0], tags[1]);
}

/// What the tokens out there were made with must still verify after an upgrade.
#[test]
fn token_text_of_a_known_key_never_changes() {
    let text = ring(&[1]).render(1, ID, at(1_800_000_000)).unwrap();
    assert_eq!(text.expose(), "ck-let-AQEAa0nSAAcHBwcHBwcHBwcHBwcHBwd07spdMwMsnugKHbnDtkPA");
}

/// Attack L-01.
#[test]
fn debug_shows_nothing_of_a_key() {
    assert_eq!(format!("{:?}", master(1)), "MasterKey(…)");
    assert_eq!(format!("{:?}", ring(&[2, 1])), "KeyRing([2, 1])");
    assert_eq!(format!("{:?}", Secret::new("sk-let-1".to_owned())), "Secret(…)");
}
