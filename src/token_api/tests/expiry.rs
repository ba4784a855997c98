use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::super::expiry::{check as check_bounds, parse};

/// The moment a text means, to the millisecond; `None` when it is no time.
#[track_caller]
fn check(text: &str, expected: Option<&str>) {
    let parsed = parse(text).ok().map(|at| format!("{at:.3}"));
    assert_eq!(parsed.as_deref(), expected, "{text:?}");
}

#[test]
fn zones_are_read_as_people_write_them() {
    let noon = Some("2031-01-31T12:00:00.000Z");
    for text in [
        "2031-01-31T12:00:00Z",
        "2031-01-31T12:00:00z",
        "2031-01-31t12:00:00z",
        "2031-01-31 12:00:00Z",
        "2031-01-31T12:00:00+00:00",
        "2031-01-31T12:00:00-00:00",
        "2031-01-31T14:00:00+02:00",
        "2031-01-31T14:00:00+0200",
        "2031-01-31T14:00:00+02",
        "2031-01-31T06:30:00-05:30",
        "2031-02-01T02:00:00+14:00",
        "2031-01-31T12:00Z",
        "  2031-01-31T12:00:00Z\n",
        "20310131T120000Z",
        "2031-01-31T14:00:00+02:00[Europe/Berlin]",
    ] {
        check(text, noon);
    }
}

/// The guide's own Python example has no zone and microseconds.
#[test]
fn without_a_zone_it_is_utc() {
    check("2031-01-31T12:00:00", Some("2031-01-31T12:00:00.000Z"));
    check("2031-01-31T12:00:00.123456", Some("2031-01-31T12:00:00.123Z"));
    check("2031-01-31 12:00:00.123456", Some("2031-01-31T12:00:00.123Z"));
    check("2031-01-31T12:00", Some("2031-01-31T12:00:00.000Z"));
    check("2031-01-31", Some("2031-01-31T00:00:00.000Z"));
}

#[test]
fn fractions_of_any_length_are_cut_to_the_millisecond() {
    for length in 1..=30 {
        let fraction: String = "123456789".chars().cycle().take(length).collect();
        let expected = format!("2031-01-31T12:00:00.{fraction:0<3.3}Z");
        for zone in ["", "Z", "+00:00", "-00:00"] {
            check(&format!("2031-01-31T12:00:00.{fraction}{zone}"), Some(&expected));
            check(&format!("2031-01-31T12:00:00,{fraction}{zone}"), Some(&expected));
        }
    }
    check("2031-01-31T12:00:00.9999999999999999Z", Some("2031-01-31T12:00:00.999Z"));
    check("2031-01-31T14:00:00.1234567890123+02:00", Some("2031-01-31T12:00:00.123Z"));
}

#[test]
fn leap_second_is_the_last_second_of_its_minute() {
    check("2016-12-31T23:59:60Z", Some("2016-12-31T23:59:59.000Z"));
    check("2016-12-31T23:59:60", Some("2016-12-31T23:59:59.000Z"));
    check("2016-12-31T23:59:61Z", None);
}

/// `datetime.max` and its like mean "never".
#[test]
fn last_day_there_is_is_a_time() {
    let last = Some("9999-12-30T22:00:00.000Z");
    for text in [
        "9999-12-31",
        "9999-12-31T23:59:59",
        "9999-12-31T23:59:59.999999",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999999+00:00",
        "9999-12-31T23:59:59-12:00",
        "9999-12-30T22:00:00.5Z",
    ] {
        check(text, last);
    }
    check("9999-12-30T00:00:00Z", Some("9999-12-30T00:00:00.000Z"));
}

#[test]
fn what_is_no_time_is_refused() {
    for text in [
        "",
        " ",
        "tomorrow",
        "null",
        "1800000000",
        "1800000000000",
        "2031-02-29T12:00:00Z",
        "2031-13-01T12:00:00Z",
        "2031-01-31T25:00:00Z",
        "2031-01-31T12:60:00Z",
        "2031-01-31T12:00:00X",
        "2031-01-31T12:00:00ZZ",
        "2031-01-31T12:00:00+",
        "2031-01-31T12:00:00+99:00",
        "2031-01-31T12:00:00 UTC",
        "2031-01-31T12:00:00.Z",
        "2031-01-31T12:00:00[Europe/Berlin]",
        "2031-01-31T12:00:00[UTC]",
        "2031-01-31Z",
        "31.01.2031",
        "01/31/2031",
        "Fri, 31 Jan 2031 12:00:00 GMT",
        "P30D",
        "9999-12-32T00:00:00Z",
        "9999-12-31T23:59:59Zx",
        "9999-12-3",
        "2031-01-31T12:00:00Z;",
        "２０３１-01-31T12:00:00Z",
    ] {
        check(text, None);
    }
}

/// Whether an expiry that many milliseconds from now is admitted where a day is the longest.
#[track_caller]
fn check_ahead(milliseconds: i64, problem: Option<&str>) {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let expires_at = now + SignedDuration::from_millis(milliseconds);
    let found = check_bounds(expires_at, now, SignedDuration::from_hours(24));
    match (found, problem) {
        (Ok(admitted), None) => assert_eq!(admitted, expires_at),
        (Err(refused), Some(words)) => {
            assert!(refused.to_string().starts_with("expires_at: "), "{refused}");
            assert!(refused.to_string().contains(words), "{refused}");
        }
        (found, problem) => panic!("{milliseconds} ms: {found:?}, expected {problem:?}"),
    }
}

/// Attack X-01.
#[test]
fn expiry_must_lie_ahead_and_not_too_far() {
    const DAY: i64 = 24 * 3_600_000;
    check_ahead(1, None);
    check_ahead(0, Some("in the past: it is now 2027-01-15T08:00:00.000Z"));
    check_ahead(-1, Some("in the past"));
    check_ahead(-3 * DAY, Some("in the past"));
    check_ahead(DAY, None);
    check_ahead(DAY + 1, Some("further away than"));
    check_ahead(3000 * DAY, Some("further away than"));
}

#[test]
fn never_is_too_far() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let never = parse("9999-12-31T23:59:59.999999").unwrap();
    assert!(check_bounds(never, now, SignedDuration::from_hours(24 * 365)).is_err());
}

proptest! {
    #[test]
    fn written_times_come_back(milliseconds in 0_i64..253_402_000_000_000, digits in 3_usize..=9) {
        let at = Timestamp::from_millisecond(milliseconds).unwrap();
        let text = format!("{at:.digits$}");
        prop_assert_eq!(parse(&text).unwrap(), at);
        prop_assert_eq!(parse(text.trim_end_matches('Z')).unwrap(), at);
    }

    #[test]
    fn parsing_never_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn near_misses_never_panic(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]?[0-9:.,]{0,20}[Z+\\[-]?[0-9:]{0,6}") {
        let _ = parse(&text);
    }
}
