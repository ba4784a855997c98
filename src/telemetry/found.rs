use std::sync::OnceLock;

use prometheus_client::metrics::counter::Counter;

/// Counters that were found by their one label, and are found here from then on.
#[derive(Debug, Default)]
pub(super) struct Found([OnceLock<(&'static str, Counter)>; 24]);

impl Found {
    /// The counter of `label`; `None` when there is no room to keep it.
    pub(super) fn get(
        &self,
        label: &'static str,
        find: impl FnOnce() -> Counter,
    ) -> Option<&Counter> {
        for place in &self.0 {
            match place.get() {
                Some((known, counter)) if *known == label => return Some(counter),
                Some(_) => {}
                // Another core may be quicker, and with another label.
                None => {
                    let counter = find();
                    let (known, counter) = place.get_or_init(|| (label, counter));
                    return (*known == label).then_some(counter);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_has_its_counter_until_there_is_no_room() {
        let (found, count) = (Found::default(), std::cell::Cell::new(0));
        let labels: Vec<&'static str> =
            (0..25).map(|n| &*Box::leak(format!("label{n}").into_boxed_str())).collect();
        let make = || {
            count.set(count.get() + 1);
            Counter::default()
        };
        for label in labels.iter().chain(&labels) {
            if let Some(counter) = found.get(label, make) {
                counter.inc();
            }
        }
        for label in labels.get(..24).unwrap() {
            assert_eq!(found.get(label, make).unwrap().get(), 2, "{label}");
        }
        assert!(found.get("label24", make).is_none());
        assert_eq!(count.get(), 24);
    }
}
