use super::super::{Permission, Permissions};

#[test]
fn only_the_four_words_are_permissions() {
    for permission in Permission::ALL {
        assert_eq!(permission.as_str().parse(), Ok(permission));
    }
    for word in ["", "*", "read", "READ_AGENT", "read_agent ", "read-agent", "admin", "readAgent"] {
        let refusal = word.parse::<Permission>().unwrap_err();
        assert!(refusal.to_string().contains(&format!("`{word}`")), "{refusal}");
    }
}

#[test]
fn set_holds_what_was_put_in_and_nothing_else() {
    for bits in 0..16_u8 {
        let set = Permissions::from_bits(bits).unwrap();
        let members: Vec<Permission> = set.iter().collect();
        assert_eq!(members.iter().copied().collect::<Permissions>(), set);
        assert_eq!(set.bits(), bits);
        assert_eq!(set.is_empty(), members.is_empty());
        for permission in Permission::ALL {
            assert_eq!(set.contains(permission), members.contains(&permission));
        }
    }
}

#[test]
fn bits_beyond_the_four_are_no_set() {
    assert!((16..=255).all(|bits| Permissions::from_bits(bits).is_none()));
}

#[test]
fn union_holds_the_members_of_both() {
    for (a, b) in (0..16_u8).flat_map(|a| (0..16_u8).map(move |b| (a, b))) {
        let [x, y] = [a, b].map(|bits| Permissions::from_bits(bits).unwrap());
        assert_eq!(x.union(y).bits(), a | b);
    }
}
