use super::super::interner::Interner;
use super::*;

#[test]
fn equal_parts_of_records_are_kept_once_and_stay_equal() {
    let (interner, [first, second]) = (Interner::new(), [record(1), record(2)]);
    let shared = [&first, &second].map(|record| interner.intern(record.clone()));
    assert_eq!(shared, [first, second]);
    let [one, other] = &shared;
    assert!(Arc::ptr_eq(&one.hostname, &other.hostname));
    let places = shared.each_ref().map(|record| record.grant.host.serialised().as_ptr());
    assert_eq!(places[0], places[1]);
    let places = shared.each_ref().map(|record| record.account.as_str().as_ptr());
    assert_eq!(places[0], places[1]);
}
