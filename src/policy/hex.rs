/// The two digits of each byte.
#[expect(clippy::indexing_slicing, reason = "the compiler evaluates it, and would refuse")]
const PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    pairs
};

/// The lower-case hexadecimal digits of a number, most significant first.
///
/// Ids are written several times a request; the formatting machinery costs ten times as much.
#[must_use]
pub fn hex(number: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    let (pairs, _) = digits.as_chunks_mut::<2>();
    for (place, byte) in pairs.iter_mut().zip(number.to_be_bytes()) {
        if let Some(pair) = PAIRS.get(usize::from(byte)) {
            *place = *pair;
        }
    }
    digits
}
