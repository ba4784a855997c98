use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::{Found, Front, Known, Rates};
use super::{id, no_limits, record};
use crate::token::{KeyRing, MasterKey, TokenDigits, TokenId};

fn ring(first_letter: &str) -> KeyRing {
    let key = MasterKey::parse(&format!("{first_letter}{}", "A".repeat(42))).unwrap();
    KeyRing::new(&[(1, key)]).unwrap()
}

fn token_of(ring: &KeyRing, id: TokenId) -> TokenDigits {
    let text = ring.render(1, id, super::now()).unwrap();
    TokenDigits::of(text.expose().as_bytes()).unwrap()
}

fn token(number: u8) -> TokenDigits {
    token_of(&ring("A"), id(number))
}

/// A front that holds token 1 since `began`, seen not to be deleted at epoch 7.
fn known(number: u8) -> Rc<Known> {
    let rates = Rates::new(no_limits(), HashMap::new(), 1);
    let found = Found { until: Instant::now(), generation: 0 };
    Rc::new(Known::new(record(number), &rates, found))
}

fn holding(began: Instant) -> Front {
    let mut front = Front::default();
    front.keep_generation(0);
    front.insert(token(1), known(1), 7, began);
    front
}

#[test]
fn token_is_found_until_its_time_is_over() {
    let began = Instant::now();
    let mut front = holding(began);
    let last = began + Front::LIFETIME.saturating_sub(Duration::from_nanos(1));
    assert!(front.find(&token(1), last, 7, |_| false).is_some());
    assert!(front.find(&token(1), began + Front::LIFETIME, 7, |_| false).is_none());
    assert!(front.find(&token(1), began, 7, |_| false).is_none(), "it is gone for good");
}

#[test]
fn token_that_was_not_put_in_is_not_found() {
    let began = Instant::now();
    assert!(Front::default().find(&token(1), began, 0, |_| false).is_none());
    assert!(holding(began).find(&token(2), began, 7, |_| false).is_none());
}

/// Attack C-05: a cached success says nothing about the same id with another tag.
#[test]
fn same_id_with_another_tag_is_not_found() {
    let began = Instant::now();
    let forged = token_of(&ring("B"), id(1));
    let mut front = holding(began);
    assert!(front.find(&forged, began, 7, |_| false).is_none());
    assert!(front.find(&token(1), began, 7, |_| false).is_some());
}

#[test]
fn deleted_ids_are_asked_only_when_the_epoch_has_moved() {
    let began = Instant::now();
    let mut front = holding(began);
    let never = |_: &crate::token::Record| -> bool { panic!("asked without need") };
    assert!(front.find(&token(1), began, 7, never).is_some());
    let mut asked = 0;
    let found = front.find(&token(1), began, 8, |record| {
        asked += 1;
        assert_eq!(record.id, id(1));
        false
    });
    assert!(found.is_some());
    assert_eq!(asked, 1);
    assert!(front.find(&token(1), began, 8, never).is_some());
}

#[test]
fn deleted_token_is_gone_for_good() {
    let began = Instant::now();
    let mut front = holding(began);
    assert!(front.find(&token(1), began, 8, |_| true).is_none());
    assert!(front.find(&token(1), began, 8, |_| false).is_none());
    assert!(front.find(&token(1), began, 7, |_| false).is_none());
}

#[test]
fn another_generation_forgets_everything() {
    let began = Instant::now();
    let mut front = holding(began);
    front.keep_generation(0);
    assert!(front.find(&token(1), began, 7, |_| false).is_some());
    front.keep_generation(1);
    assert!(front.find(&token(1), began, 7, |_| false).is_none());
}

#[test]
fn token_with_the_same_slot_takes_it() {
    let began = Instant::now();
    let mut bytes = *id(1).as_bytes();
    bytes[0] = 9;
    let neighbour = token_of(&ring("A"), TokenId::from_bytes(bytes));
    let mut front = holding(began);
    front.insert(neighbour, known(2), 7, began);
    assert!(front.find(&token(1), began, 7, |_| false).is_none());
    assert_eq!(front.find(&neighbour, began, 7, |_| false).unwrap().record.id, id(2));
}
