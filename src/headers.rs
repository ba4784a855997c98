//! Header maps that are used again.
//!
//! Owns a few spare maps of each core: making one takes two allocations, of which one is too large
//! for the allocator's fast way. Must always hold: nothing of a request or an answer stays in them.

use std::cell::RefCell;

use http::HeaderMap;

/// Spare maps of one core.
const SPARE_MAX: usize = 16;
/// A map with room for more headers is not kept.
const CAPACITY_MAX: usize = 48;
/// Headers that a new map has room for.
const USUAL: usize = 12;

thread_local! {
    static SPARE: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map with room for a usual head.
#[must_use]
pub fn spare() -> HeaderMap {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    spare.unwrap_or_else(|| HeaderMap::with_capacity(USUAL))
}

/// Takes a map that is no longer needed, with whatever is in it.
pub fn give_back(mut map: HeaderMap) {
    map.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARE_MAX && (1..=CAPACITY_MAX).contains(&map.capacity()) {
            spare.push(map);
        }
    });
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::HOST;

    use super::*;

    #[test]
    fn spare_map_holds_nothing_of_what_was_in_it() {
        let mut map = spare();
        map.append(HOST, HeaderValue::from_static("a.example"));
        map.append(HOST, HeaderValue::from_static("b.example"));
        give_back(map);
        let map = spare();
        assert!(map.is_empty());
        assert_eq!(map.get_all(HOST).iter().count(), 0);
    }

    #[test]
    fn large_map_is_not_kept() {
        SPARE.take();
        give_back(HeaderMap::with_capacity(1000));
        give_back(HeaderMap::new());
        assert!(SPARE.take().is_empty());
    }
}
