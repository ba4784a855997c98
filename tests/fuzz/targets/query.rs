//! A query: what is accepted means the same once it has been rebuilt.

#![no_main]

use ckgate::policy::Query;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &str| {
    let Ok(query) = Query::parse(Some(raw)) else { return };
    assert_eq!(query.text(), Some(raw));
    let pairs: Vec<_> = query.pairs().collect();
    for (key, value) in &pairs {
        let control = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!key.contains(control) && !value.contains(control), "{pairs:?}");
    }
    let rebuilt = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&pairs)
        .finish();
    let again = Query::parse(Some(&rebuilt)).expect("the rebuilt query is canonical");
    assert_eq!(again.pairs().collect::<Vec<_>>(), pairs);
});
