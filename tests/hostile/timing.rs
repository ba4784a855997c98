//! What the time of a refusal tells.

use std::hint::black_box;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ckgate::token::{KeyRing, MasterKey, TokenBytes, TokenId};
use jiff::{SignedDuration, Timestamp};

/// Pairs of measurements of one comparison; the longer suite takes a million measurements.
const PAIRS: usize = 100_000;
/// Above this, two classes of tokens take different times (Welch's t, and the threshold of dudect).
const T_MAX: f64 = 4.5;
/// Of the order in which the two are measured; a machine that is doing other things is given another chance.
const SEEDS: [u64; 4] =
    [0x2545_f491_4f6c_dd1d, 0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03, 0x8cb9_2ba7_2f3d_8dd7];

/// Mean, variance and number of some times, without the slowest tenth: those were interrupted.
fn summary(mut times: Vec<f64>) -> (f64, f64, f64) {
    times.sort_by(f64::total_cmp);
    times.truncate(times.len() * 9 / 10);
    let count = f64::from(u32::try_from(times.len()).unwrap());
    let mean = times.iter().sum::<f64>() / count;
    let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance, count)
}

fn pairs() -> usize {
    std::env::var("CKGATE_TIMING_PAIRS").map_or(PAIRS, |text| text.parse().unwrap())
}

/// How far apart the times of two kinds of tokens are, in units of chance, and in nanoseconds.
///
/// Nothing but their bytes may differ, since a processor takes a cycle longer over one address than over
/// another, and with so many samples a cycle is found: each kind is as often copied from one place as from the
/// other, verified at one address, once before that is timed, and its time is written to the same list.
fn distance(ring: &KeyRing, now: Timestamp, kinds: [&TokenBytes; 2], seed: u64) -> (f64, f64) {
    let places = [[*kinds[0], *kinds[1]], [*kinds[1], *kinds[0]]];
    let mut samples = vec![(0, 0.0); 2 * pairs()];
    let mut state = seed;
    for sample in &mut samples {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The high bits, of which neither tells the other.
        let kind = usize::from(state >> 63 == 1);
        let place = usize::from(state >> 62 & 1 == 1);
        let token = black_box(places[place][kind ^ place]);
        let _ = black_box(ring.verify(black_box(&token), now));
        let began = Instant::now();
        let _ = black_box(ring.verify(black_box(&token), now));
        *sample = (kind, began.elapsed().as_secs_f64() * 1e9);
    }
    let of = |kind| {
        summary(samples.iter().filter(|sample| sample.0 == kind).map(|sample| sample.1).collect())
    };
    let ((mean_a, variance_a, count_a), (mean_b, variance_b, count_b)) = (of(0), of(1));
    let apart = (mean_a - mean_b).abs();
    (apart / (variance_a / count_a + variance_b / count_b).sqrt(), apart)
}

/// C-10: a tag that is wrong in its first byte, or its last, or of an id that never was: the same time.
#[test]
fn refusing_a_false_tag_takes_the_same_time_wherever_it_is_wrong() {
    let now = Timestamp::now();
    let ring = KeyRing::new(&[(1, MasterKey::generate().unwrap())]).unwrap();
    let id = TokenId::generate(now).unwrap();
    let text = ring.render(1, id, now + SignedDuration::from_hours(1)).unwrap();
    let genuine = URL_SAFE_NO_PAD.decode(&text.expose()["ck-let-".len()..]).unwrap();
    let changed = |at: usize| {
        let mut bytes = genuine.clone();
        bytes[at] ^= 0x55;
        TokenBytes::decode(format!("ck-let-{}", URL_SAFE_NO_PAD.encode(bytes)).as_bytes()).unwrap()
    };
    let (first, last, other_id) = (changed(23), changed(38), changed(20));
    for token in [&first, &last, &other_id] {
        assert!(ring.verify(token, now).is_err());
    }
    for pair in [[&first, &last], [&first, &other_id]] {
        let mut found = Vec::new();
        for seed in SEEDS {
            found.push(distance(&ring, now, pair, seed));
            if found.last().is_some_and(|(t, _)| *t < T_MAX) {
                break;
            }
        }
        let alike = found.iter().any(|(t, _)| *t < T_MAX);
        assert!(alike, "the time of a refusal tells where a tag is wrong; t and ns: {found:?}");
    }
}
