use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::{PREFIX, TEXT_LENGTH, TextRefusal, TokenBytes};
use super::{EXPIRY, ID, at, decode, ring, token};

/// What verifying `text` at `now` (seconds) under the keys `ids` comes to.
#[track_caller]
fn check(text: &str, ids: &[u8], now: i64, expected: Result<(), TextRefusal>) {
    let refused = match decode(text) {
        Some(bytes) => ring(ids).verify(&bytes, at(now)).map(|_| ()),
        None => Err(TextRefusal::Malformed),
    };
    assert_eq!(refused, expected, "{text}");
}

/// The text of a token whose decoded bytes were tampered with.
fn tampered(tamper: impl FnOnce(&mut [u8])) -> String {
    let text = token(&ring(&[1])).expose().to_owned();
    let mut bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap()).unwrap();
    tamper(&mut bytes);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

#[test]
fn token_is_59_characters_of_the_admitted_alphabet() {
    let text = token(&ring(&[1]));
    assert_eq!(text.expose().len(), 59);
    assert_eq!(TEXT_LENGTH, 59);
    assert!(text.expose().starts_with("ck-let-"));
    let admitted = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    assert!(text.expose().bytes().all(admitted));
}

#[test]
fn genuine_token_says_what_it_was_made_with() {
    let ring = ring(&[4, 1]);
    let verified = ring.verify(&decode(token(&ring).expose()).unwrap(), at(0)).unwrap();
    assert_eq!((verified.id, verified.key_id, verified.expiry_seconds), (ID, 4, EXPIRY));
}

/// Attack C-05.
#[test]
fn every_changed_character_is_refused() {
    let text = token(&ring(&[1])).expose().to_owned();
    for place in 0..text.len() {
        for replacement in (0x20..0x7f).map(char::from) {
            let mut changed = text.clone();
            changed.replace_range(place..=place, &replacement.to_string());
            let verified = decode(&changed).map(|bytes| ring(&[1]).verify(&bytes, at(0)));
            let same = changed == text;
            assert_eq!(matches!(verified, Some(Ok(_))), same, "{replacement} at {place}");
        }
    }
}

#[test]
fn every_flipped_case_is_refused() {
    let text = token(&ring(&[1])).expose().to_owned();
    for (place, letter) in text.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()) {
        let flipped = if letter.is_ascii_lowercase() {
            letter.to_ascii_uppercase()
        } else {
            letter.to_ascii_lowercase()
        };
        let mut changed = text.clone();
        changed.replace_range(place..=place, &flipped.to_string());
        let verified = decode(&changed).map(|bytes| ring(&[1]).verify(&bytes, at(0)));
        assert!(!matches!(verified, Some(Ok(_))), "{place}");
    }
}

/// Attack I-12.
#[test]
fn other_spellings_of_a_token_are_no_token() {
    let text = token(&ring(&[1])).expose().to_owned();
    let digits = text.strip_prefix(PREFIX).unwrap();
    let shorter = text.get(..58).unwrap();
    for spelling in [
        String::new(),
        PREFIX.to_owned(),
        digits.to_owned(),
        format!("{text}="),
        format!("{text}=="),
        format!("{text}A"),
        format!("{text} "),
        format!(" {text}"),
        format!("{text}\n"),
        shorter.to_owned(),
        format!("{shorter}="),
        format!("ck-let_{digits}"),
        format!("CK-LET-{digits}"),
        format!("sk-let-{digits}"),
        format!("ck-let-{}", digits.replace(['-', '_'], "+")).replace('A', "/"),
        format!("{PREFIX}{}", "\u{661}".repeat(26)),
        format!("{PREFIX}{}", "%41".repeat(18)),
        "x".repeat(4096),
        "ck-let-".repeat(10_000),
    ] {
        if spelling != text {
            assert!(decode(&spelling).is_none(), "{spelling}");
        }
    }
    assert!(TokenBytes::decode(&[0x80; TEXT_LENGTH]).is_none(), "obs-text");
}

/// 39 bytes fill 52 characters without a spare bit, so there is nothing to hide a second spelling in.
#[test]
fn every_text_of_the_alphabet_is_its_own_token() {
    for last in b'A'..=b'Z' {
        let text = format!("{PREFIX}{}{}", "A".repeat(51), char::from(last));
        let other = format!("{PREFIX}{}{}", "A".repeat(51), char::from(last ^ 0x20));
        assert!(!decode(&text).unwrap().equals(&decode(&other).unwrap()));
    }
}

/// The steps are: shape, version, key id, tag, expiry; the first that fails is told.
#[test]
fn first_failing_step_is_told() {
    let expired = EXPIRY;
    let genuine = token(&ring(&[1])).expose().to_owned();
    let version = tampered(|bytes| bytes[0] = 2);
    let key = tampered(|bytes| bytes[1] = 9);
    let expiry = tampered(|bytes| bytes[6] ^= 1);
    let id = tampered(|bytes| bytes[7] ^= 1);
    let tag = tampered(|bytes| bytes[38] ^= 1);
    check(&genuine, &[1], 0, Ok(()));
    check(&genuine, &[1], expired, Err(TextRefusal::Expired));
    check(&genuine, &[9], 0, Err(TextRefusal::UnknownKey { key_id: 1 }));
    check(&version, &[2], expired, Err(TextRefusal::Malformed));
    check(&key, &[1], 0, Err(TextRefusal::UnknownKey { key_id: 9 }));
    check(&key, &[1], expired, Err(TextRefusal::UnknownKey { key_id: 9 }));
    check(&key, &[1, 9], 0, Err(TextRefusal::Forged));
    for forged in [expiry, id, tag] {
        check(&forged, &[1], 0, Err(TextRefusal::Forged));
        check(&forged, &[1], expired, Err(TextRefusal::Forged));
    }
}

#[test]
fn tag_of_another_deployment_is_forged() {
    let theirs = super::super::KeyRing::new(&[(1, super::master(20))]).unwrap();
    check(token(&theirs).expose(), &[1], 0, Err(TextRefusal::Forged));
}

#[test]
fn dropping_a_key_retires_its_tokens() {
    let made_under_old = token(&ring(&[1])).expose().to_owned();
    check(&made_under_old, &[2, 1], 0, Ok(()));
    check(&made_under_old, &[2], 0, Err(TextRefusal::UnknownKey { key_id: 1 }));
}

/// Attack X-01: the text's expiry is the record's, rounded up to a second.
#[test]
fn text_expires_at_the_second_it_says() {
    let text = token(&ring(&[1])).expose().to_owned();
    check(&text, &[1], EXPIRY - 1, Ok(()));
    check(&text, &[1], EXPIRY, Err(TextRefusal::Expired));
    check(&text, &[1], EXPIRY + 1, Err(TextRefusal::Expired));
}

#[test]
fn expiry_is_rounded_up() {
    let ring = ring(&[1]);
    for (milliseconds, seconds) in [
        (0, 0),
        (1, 1),
        (999, 1),
        (1000, 1),
        (1001, 2),
        (-1, 0),
        (-5000, 0),
        (253_402_207_200_000, 253_402_207_200),
    ] {
        let expires_at = jiff::Timestamp::from_millisecond(milliseconds).unwrap();
        let text = ring.render(1, ID, expires_at).unwrap();
        let verified = ring.verify_genuine(&decode(text.expose()).unwrap()).unwrap();
        assert_eq!(verified.expiry_seconds, seconds, "{milliseconds} ms");
    }
}

#[test]
fn expired_token_is_still_a_genuine_one() {
    let ring = ring(&[1]);
    let bytes = decode(token(&ring).expose()).unwrap();
    assert_eq!(ring.verify(&bytes, at(EXPIRY + 9)), Err(TextRefusal::Expired));
    assert_eq!(ring.verify_genuine(&bytes).unwrap().id, ID);
}

#[test]
fn key_that_is_not_held_mints_nothing() {
    assert!(ring(&[1]).render(2, ID, at(EXPIRY)).is_none());
}

/// Attack L-01.
#[test]
fn debug_shows_nothing_of_a_token() {
    let ring = ring(&[1]);
    let text = token(&ring);
    let bytes = decode(text.expose()).unwrap();
    assert_eq!(format!("{text:?}"), "TokenText(…)");
    assert_eq!(format!("{bytes:?}"), "TokenBytes(…)");
}
