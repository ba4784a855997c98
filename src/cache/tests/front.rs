use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::front::Moment;
use super::super::{Front, Known, Rates};
use super::{id, no_limits, record};
use crate::token::{KeyRing, MasterKey, Record, TokenDigits, TokenId};

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

/// Shorter than the longest.
const LIFETIME: Duration = Duration::from_secs(20);
const NEVER: fn(&Record) -> bool = |_| panic!("asked without need");

/// A look-up at epoch 7 of generation 0, and later ones.
fn first() -> Moment {
    Moment { now: Instant::now(), fresh: true, epoch: 7, generation: 0 }
}

fn after(moment: Moment, passed: Duration) -> Moment {
    Moment { now: moment.now + passed, ..moment }
}

fn known(token: TokenDigits, number: u8, moment: Moment) -> Rc<Known> {
    let rates = Rates::new(no_limits(), HashMap::new(), 1);
    Rc::new(Known::new(token, &record(number), &rates, moment, moment.now))
}

/// A front that holds token 1.
fn holding(moment: Moment) -> Front {
    let mut front = Front::new(100, LIFETIME);
    front.insert(known(token(1), 1, moment));
    front
}

/// A token of another id whose place, and mark, are the first one's.
fn neighbour(number: u8) -> TokenDigits {
    let mut bytes = *id(1).as_bytes();
    bytes[0] = number;
    token_of(&ring("A"), TokenId::from_bytes(bytes))
}

#[test]
fn token_is_found_until_its_time_is_over() {
    let moment = first();
    let mut front = holding(moment);
    let last = after(moment, LIFETIME.saturating_sub(Duration::from_nanos(1)));
    assert!(front.find(&token(1), || last, NEVER).is_some());
    assert!(front.find(&token(1), || after(moment, LIFETIME), NEVER).is_none());
    assert!(front.find(&token(1), || moment, NEVER).is_none(), "it is gone for good");
}

#[test]
fn token_is_found_no_longer_than_the_longest() {
    let moment = first();
    let mut front = Front::new(100, Duration::from_hours(1));
    front.insert(known(token(1), 1, moment));
    let last = after(moment, Front::LIFETIME_MAX.saturating_sub(Duration::from_nanos(1)));
    assert!(front.find(&token(1), || last, NEVER).is_some());
    assert!(front.find(&token(1), || after(moment, Front::LIFETIME_MAX), NEVER).is_none());
}

#[test]
fn moment_that_is_not_fresh_finds_nothing_and_forgets_nothing() {
    let moment = first();
    let mut front = holding(moment);
    assert!(front.find(&token(1), || Moment { fresh: false, ..moment }, NEVER).is_none());
    assert!(front.find(&token(1), || moment, NEVER).is_some());
}

#[test]
fn token_that_was_not_put_in_is_not_found() {
    let moment = first();
    assert!(Front::new(100, LIFETIME).find(&token(1), || moment, NEVER).is_none());
    assert!(holding(moment).find(&token(2), || moment, NEVER).is_none());
    assert!(holding(moment).find(&neighbour(9), || moment, NEVER).is_none());
}

/// Attack C-05: a cached success says nothing about the same id with another tag.
#[test]
fn same_id_with_another_tag_is_not_found() {
    let moment = first();
    let forged = token_of(&ring("B"), id(1));
    let mut front = holding(moment);
    assert!(front.find(&forged, || moment, NEVER).is_none());
    assert!(front.find(&token(1), || moment, NEVER).is_some());
}

#[test]
fn deleted_ids_are_asked_only_when_the_epoch_has_moved() {
    let moment = first();
    let later = Moment { epoch: 8, ..moment };
    let mut front = holding(moment);
    assert!(front.find(&token(1), || moment, NEVER).is_some());
    let mut asked = 0;
    let found = front.find(
        &token(1),
        || later,
        |record| {
            asked += 1;
            assert_eq!(record.id, id(1));
            false
        },
    );
    assert!(found.is_some());
    assert_eq!(asked, 1);
    assert!(front.find(&token(1), || later, NEVER).is_some());
}

#[test]
fn deleted_token_is_gone_for_good() {
    let moment = first();
    let mut front = holding(moment);
    assert!(front.find(&token(1), || Moment { epoch: 8, ..moment }, |_| true).is_none());
    assert!(front.find(&token(1), || Moment { epoch: 8, ..moment }, |_| false).is_none());
    assert!(front.find(&token(1), || moment, |_| false).is_none());
}

#[test]
fn another_generation_forgets_everything() {
    let moment = first();
    let mut front = holding(moment);
    assert!(front.find(&token(1), || moment, NEVER).is_some());
    assert!(front.find(&token(1), || Moment { generation: 1, ..moment }, NEVER).is_none());
    assert!(front.find(&token(1), || moment, NEVER).is_none(), "it is gone for good");
}

#[test]
fn what_is_known_of_a_token_takes_the_place_of_what_was_known() {
    let moment = first();
    let mut front = holding(moment);
    let later = after(moment, LIFETIME / 2);
    front.insert(known(token(1), 2, later));
    let found = front.find(&token(1), || after(moment, LIFETIME), NEVER).unwrap();
    assert_eq!(found.record.id, record(2).id);
}

/// Five tokens with one place are found side by side; a sixth takes the place of whichever came first.
#[test]
fn tokens_that_share_a_place_make_room_for_the_next() {
    let moment = first();
    let mut front = Front::new(100, LIFETIME);
    for number in 1..=6 {
        front.insert(known(neighbour(number), number, moment));
        for earlier in 1..=number {
            let found = front.find(&neighbour(earlier), || moment, NEVER);
            assert_eq!(found.is_some(), number <= 5 || earlier > 1, "{earlier} of {number}");
            assert!(found.is_none_or(|found| found.record.id == id(earlier)));
        }
    }
    assert!(front.find(&neighbour(3), || Moment { epoch: 8, ..moment }, |_| true).is_none());
    front.insert(known(neighbour(7), 7, moment));
    for number in [2, 4, 5, 6, 7] {
        assert!(front.find(&neighbour(number), || moment, NEVER).is_some(), "{number}");
    }
}

/// What is too old goes by itself, all of it within a minute of calls, or a few; what is not stays.
#[test]
fn tokens_that_nobody_uses_are_let_go_of() {
    let moment = first();
    for (places, calls) in [(100, 60), (100_000, 60), (4_000_000, 192)] {
        let mut front = Front::new(places, LIFETIME);
        let old = known(token(1), 1, moment);
        let gone = Rc::downgrade(&old);
        front.insert(old);
        front.insert(known(token(2), 2, after(moment, LIFETIME / 2)));
        assert!(gone.upgrade().is_some(), "{places} places");
        for _ in 0..calls {
            front.prune(after(moment, LIFETIME).now);
        }
        assert!(gone.upgrade().is_none(), "{places} places");
        assert!(
            front.find(&token(2), || after(moment, LIFETIME), NEVER).is_some(),
            "{places} places"
        );
        for _ in 0..calls {
            front.prune(after(moment, LIFETIME * 2).now);
        }
        assert!(front.is_unallocated(), "{places} places");
    }
}

/// A large front that is no longer used goes in parts, all of it.
#[test]
fn front_that_is_given_up_goes_in_parts() {
    let moment = first();
    let mut front = Front::new(100_000, LIFETIME);
    let keys = ring("A");
    for _ in 0..100 {
        let token = token_of(&keys, TokenId::generate(super::now()).unwrap());
        front.insert(known(token, 1, moment));
    }
    let mut calls = 1;
    while front.shrink() {
        calls += 1;
        assert!(front.find(&token(9), || moment, NEVER).is_none());
    }
    assert!((2..20).contains(&calls), "{calls}");
    assert!(front.is_unallocated());
}

/// Of as many tokens as it has places most are found; of half as many, nearly all.
#[test]
fn few_tokens_are_in_each_others_way() {
    let moment = first();
    let rates = Rates::new(no_limits(), HashMap::new(), 1);
    let (keys, shared) = (ring("A"), record(1));
    for (tokens, found_min) in [(4096, 3850), (2048, 2010)] {
        let mut front = Front::new(4096, LIFETIME);
        let tokens: Vec<_> = (0..tokens)
            .map(|_| token_of(&keys, TokenId::generate(super::now()).unwrap()))
            .collect();
        for token in &tokens {
            let known = Known::new(*token, &shared, &rates, moment, moment.now);
            front.insert(Rc::new(known));
        }
        let is_found = |token: &&TokenDigits| front.find(token, || moment, NEVER).is_some();
        let found = tokens.iter().filter(is_found).count();
        assert!(found > found_min, "{found} of {}", tokens.len());
    }
}
