//! The route table's file: it is a table, or every problem has a line of it, in order.

#![no_main]

use ckgate::policy::RouteTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Err(problems) = RouteTable::parse(text) else { return };
    assert!(!problems.is_empty());
    let lines = text.split('\n').count();
    assert!(problems.is_sorted_by_key(|problem| problem.line));
    assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line)), "{problems:?}");
});
