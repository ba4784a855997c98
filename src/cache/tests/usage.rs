//! What is counted of tokens, from the core to the store's door.

use jiff::{SignedDuration, Timestamp};

use super::{id, now};
use crate::cache::{CoreUsage, UsageBook};
use crate::policy::Permission;
use crate::store::Usage;
use crate::token::TokenId;

const READ: Permission = Permission::ReadMessages;
const WRITE: Permission = Permission::WriteMessages;

fn used(number: u8, permission: Permission, requests: u64, last_used_at: Timestamp) -> Usage {
    Usage { id: id(number), permission, requests, last_used_at }
}

#[test]
fn first_count_since_the_last_taking_asks_to_be_remembered() {
    let core = CoreUsage::default();
    let later = now() + SignedDuration::from_secs(1);
    assert!(core.count(READ, now()));
    assert!(!core.count(WRITE, now()));
    assert!(!core.count(READ, later));
    let taken: Vec<Usage> = core.take(id(1)).collect();
    assert_eq!(taken, [used(1, READ, 2, later), used(1, WRITE, 1, now())]);
    assert_eq!(core.take(id(1)).count(), 0, "nothing is told twice");
    assert!(core.count(WRITE, later));
    assert_eq!(core.take(id(1)).collect::<Vec<_>>(), [used(1, WRITE, 1, later)]);
}

#[test]
fn book_adds_what_cores_tell_and_gives_it_away_once() {
    let book = UsageBook::default();
    let later = now() + SignedDuration::from_secs(1);
    book.add([used(1, READ, 2, later), used(2, READ, 1, now())]);
    book.add([used(1, READ, 3, now()), used(1, WRITE, 1, now())]);
    let mut taken = Vec::new();
    loop {
        let some = book.take(2);
        if some.is_empty() {
            break;
        }
        assert!(some.len() <= 2);
        taken.extend(some);
    }
    let expected = [used(1, READ, 5, later), used(1, WRITE, 1, now()), used(2, READ, 1, now())];
    assert_eq!(taken, expected);
}

/// A store that is away for long costs a bounded amount of memory.
#[test]
fn book_is_bounded_and_goes_on_counting_what_it_holds() {
    let book = UsageBook::default();
    let numbered = |number: u32| {
        let mut bytes = [0; TokenId::LENGTH];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let id = TokenId::from_bytes(bytes);
        Usage { id, permission: READ, requests: 1, last_used_at: now() }
    };
    book.add((0..300_000).map(numbered));
    book.add([numbered(0), numbered(299_999)]);
    let taken = book.take(usize::MAX);
    assert_eq!(taken.len(), 200_000);
    let first = taken.iter().find(|one| one.id == numbered(0).id).unwrap();
    assert_eq!(first.requests, 2);
}
