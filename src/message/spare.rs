use std::cell::RefCell;
use std::thread::LocalKey;

/// Most pieces that a core keeps.
const PIECES_MAX: usize = 16;

/// Memory of one core that is used again: pieces without contents.
#[derive(Debug)]
pub(crate) struct Spare<T>(RefCell<Vec<T>>);

impl<T> Spare<T> {
    /// No memory yet.
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// A piece, if there is one.
    pub(crate) fn take(spare: &'static LocalKey<Self>) -> Option<T> {
        spare.try_with(|spare| spare.0.borrow_mut().pop()).ok().flatten()
    }

    /// Keeps a piece, unless there are enough. A thread that ends has no spare memory any more.
    pub(crate) fn keep(spare: &'static LocalKey<Self>, piece: T) {
        let _ = spare.try_with(|spare| {
            let mut pieces = spare.0.borrow_mut();
            if pieces.len() < PIECES_MAX {
                pieces.push(piece);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_back_and_no_more_than_enough_are_kept() {
        thread_local! {
            static SPARE: Spare<usize> = const { Spare::new() };
        }
        assert_eq!(Spare::take(&SPARE), None);
        for piece in 0..PIECES_MAX + 3 {
            Spare::keep(&SPARE, piece);
        }
        let kept: Vec<_> = std::iter::from_fn(|| Spare::take(&SPARE)).collect();
        assert_eq!(kept.len(), PIECES_MAX);
        assert!(std::thread::spawn(|| Spare::take(&SPARE).is_none()).join().unwrap());
    }
}
