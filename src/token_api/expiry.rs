use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::reject::Rejection;

/// Digits of a second's fraction that the parser reads.
const FRACTION_DIGITS_MAX: usize = 9;
/// The last whole millisecond there is, which is a whole second.
const LATEST: Timestamp = Timestamp::constant(253_402_207_200, 0);

/// Reads an ISO 8601 time as people's languages write it: `Z`, an offset, or no zone, which means
/// UTC; a fraction of any length. To the millisecond, the rest is cut off.
pub(crate) fn parse(text: &str) -> Result<Timestamp, Rejection> {
    let shortened = shorten_fraction(text.trim());
    let parsed = if has_zone(&shortened) {
        shortened.parse::<Timestamp>().ok()
    } else {
        let civil = shortened.parse::<DateTime>().ok();
        // `datetime.max` and its like: beyond the last moment there is, and meant as "never".
        civil.map(|civil| civil.to_zoned(TimeZone::UTC).map_or(LATEST, |zoned| zoned.timestamp()))
    };
    let parsed = parsed.or_else(|| {
        // The last days there are end, in some zones, beyond the last moment there is.
        let year_before = format!("9998-{}", shortened.strip_prefix("9999-")?);
        year_before.parse::<Timestamp>().ok().map(|_| LATEST)
    });
    let truncated =
        parsed.map(|at| Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(LATEST));
    truncated.ok_or_else(|| {
        Rejection::invalid(
            "expires_at",
            "must be an ISO 8601 time such as `2031-01-31T23:59:59Z` (without a zone it is UTC)",
        )
    })
}

/// Holds an expiry between now and the furthest there may be.
pub(super) fn check(
    expires_at: Timestamp,
    now: Timestamp,
    lifetime_max: SignedDuration,
) -> Result<Timestamp, Rejection> {
    if expires_at <= now {
        let problem = format!("is in the past: it is now {now:.3}");
        return Err(Rejection::invalid("expires_at", problem));
    }
    if expires_at.duration_since(now) > lifetime_max {
        let problem = format!("is further away than {lifetime_max:#}, the longest life of a token");
        return Err(Rejection::invalid("expires_at", problem));
    }
    Ok(expires_at)
}

fn has_zone(text: &str) -> bool {
    let time = text.get("YYYY-MM-DD".len()..).unwrap_or_default();
    // A zone's name in brackets says nothing without an offset beside it.
    time.contains(['Z', 'z', '+', '-', '['])
}

fn shorten_fraction(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut digits = None;
    for c in text.chars() {
        digits = match digits {
            None if c == '.' || c == ',' => Some(0),
            Some(seen) if c.is_ascii_digit() => Some(seen + 1),
            Some(_) => Some(0),
            None => None,
        };
        if digits.is_none_or(|seen| seen <= FRACTION_DIGITS_MAX) {
            kept.push(c);
        }
    }
    kept
}
