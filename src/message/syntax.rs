use crate::scan;

/// Whether a field may have this value: a tab, and everything from the space on but DEL (RFC 9110
/// §5.5).
#[must_use]
pub fn is_field_value(value: &[u8]) -> bool {
    scan::is_within(value, [(b'\t', b'\t'), (b' ', b'~'), (0x80, 0xff)])
}

/// Whether a field may have this name: a token (RFC 9110 §5.6.2).
#[must_use]
pub fn is_field_name(name: &[u8]) -> bool {
    // Looked through to the end: names are short, and usually in order.
    let of_a_token =
        |byte: &u8| OF_A_TOKEN.get(usize::from(*byte)).is_some_and(|lower| *lower != 0);
    !name.is_empty() && name.iter().fold(true, |all, byte| all & of_a_token(byte))
}

/// Where the name in a field line ends, if it is one and a colon follows.
#[must_use]
pub fn name_end(line: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', line)?;
    line.get(..colon).is_some_and(is_field_name).then_some(colon)
}

/// Brings the name at the beginning of a field line into lower case: its length. `None` when it is no
/// name, or no colon follows.
pub fn lower_name(line: &mut [u8]) -> Option<usize> {
    let begun = scan::lower_start(line);
    for (at, byte) in line.iter_mut().enumerate().skip(begun) {
        match OF_A_TOKEN.get(usize::from(*byte)) {
            Some(0) | None => return (*byte == b':' && at > 0).then_some(at),
            Some(lower) => *byte = *lower,
        }
    }
    None
}

/// A `Content-Length` (RFC 9110 §8.6) in its one spelling: a decimal number of at most 19 digits, without
/// sign or leading zeros.
#[must_use]
pub fn content_length(digits: &[u8]) -> Option<u64> {
    let canonical = !digits.is_empty()
        && digits.len() <= 19
        && (digits.len() == 1 || digits.first() != Some(&b'0'));
    if !canonical {
        return None;
    }
    digits.iter().try_fold(0_u64, |length, digit| {
        digit.is_ascii_digit().then(|| length * 10 + u64::from(digit - b'0'))
    })
}

/// A value without the white space before it (RFC 9110 §5.6.3).
#[must_use]
pub fn trim_start(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

/// A value without the white space behind it.
#[must_use]
pub fn trim_end(value: &[u8]) -> &[u8] {
    let mut value = value;
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Each character of a token in lower case (RFC 9110 §5.6.2), 0 in the place of every other byte.
const OF_A_TOKEN: [u8; 256] = {
    let mut of_a_token = [0; 256];
    let mut rest: &mut [u8] = &mut of_a_token;
    let mut byte: u8 = 0;
    while let [place, others @ ..] = rest {
        let is_one = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        *place = if is_one { byte.to_ascii_lowercase() } else { 0 };
        rest = others;
        byte = byte.wrapping_add(1);
    }
    of_a_token
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn name_is_the_same_in_lower_case(line in "[ -~\t]{0,3}[A-Za-z0-9!#_-]{0,40}[ -~\t\x00]{0,3}:?[ -~]{0,20}") {
            let mut lower = line.clone().into_bytes();
            let length = lower_name(&mut lower);
            prop_assert_eq!(length, name_end(line.as_bytes()));
            if let Some(length) = length {
                let name = line.as_bytes()[..length].to_ascii_lowercase();
                prop_assert_eq!(&lower[..length], name);
                prop_assert_eq!(&lower[length..], &line.as_bytes()[length..]);
            }
        }
    }
}
