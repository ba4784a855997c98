use jiff::Timestamp;
use proptest::prelude::*;

use super::super::{PREFIX, TEXT_LENGTH, TextRefusal, TokenBytes, TokenId};
use super::{at, decode, ring};

fn ids() -> impl Strategy<Value = TokenId> {
    any::<[u8; TokenId::LENGTH]>().prop_map(TokenId::from_bytes)
}

proptest! {
    #[test]
    fn text_comes_back_as_it_went_in(id in ids(), key in 0_u8..3, milliseconds in 0_i64..4_000_000_000_000) {
        let ring = ring(&[0, 1, 2]);
        let expires_at = Timestamp::from_millisecond(milliseconds).unwrap();
        let text = ring.render(key, id, expires_at).unwrap();
        prop_assert_eq!(text.expose().len(), TEXT_LENGTH);
        let verified = ring.verify_genuine(&decode(text.expose()).unwrap()).unwrap();
        prop_assert_eq!((verified.id, verified.key_id), (id, key));
        let ahead = verified.expiry_seconds * 1000 - milliseconds;
        prop_assert!((0..1000).contains(&ahead), "{}", ahead);
    }

    #[test]
    fn random_text_of_the_right_shape_is_never_genuine(digits in "[A-Za-z0-9_-]{52}") {
        let bytes = decode(&format!("{PREFIX}{digits}")).unwrap();
        prop_assert!(ring(&[0, 1, 2]).verify(&bytes, at(0)).is_err());
    }

    #[test]
    fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = TokenBytes::decode(&bytes);
    }

    #[test]
    fn two_texts_are_never_one_token(a in "[A-Za-z0-9_-]{52}", b in "[A-Za-z0-9_-]{52}") {
        let [x, y] = [&a, &b].map(|digits| decode(&format!("{PREFIX}{digits}")).unwrap());
        prop_assert_eq!(x.equals(&y), a == b);
    }

    #[test]
    fn any_two_characters_changed_are_refused(
        id in ids(), places in (7_usize..59, 7_usize..59), digits in "[A-Za-z0-9_-]{2}",
    ) {
        let ring = ring(&[1]);
        let text = ring.render(1, id, at(2_000_000_000)).unwrap().expose().to_owned();
        let mut changed = text.clone().into_bytes();
        changed[places.0] = digits.as_bytes()[0];
        changed[places.1] = digits.as_bytes()[1];
        let same = changed == text.as_bytes();
        let verified = ring.verify(&TokenBytes::decode(&changed).unwrap(), at(0));
        prop_assert_eq!(verified.is_ok(), same);
        prop_assert_ne!(verified, Err(TextRefusal::Expired));
    }
}
