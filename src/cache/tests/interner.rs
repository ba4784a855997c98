use std::sync::Arc;
use std::time::Instant;

use super::{fresh_records, id, record};

#[tokio::test]
async fn equal_parts_of_records_are_kept_once_and_stay_equal() {
    let records = fresh_records(&[1, 2]);
    let find = async |number| records.find(id(number), Instant::now()).await.unwrap().unwrap();
    let (one, other) = (find(1).await, find(2).await);
    assert_eq!([&*one, &*other], [&record(1), &record(2)]);
    assert!(Arc::ptr_eq(&one.hostname, &other.hostname));
    let places = [&one, &other].map(|found| found.grant.host.serialised().as_ptr());
    assert_eq!(places[0], places[1]);
    let places = [&one, &other].map(|found| found.account.as_str().as_ptr());
    assert_eq!(places[0], places[1]);
}
