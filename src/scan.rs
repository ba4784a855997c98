//! Looking through bytes, sixteen at once.

use wide::u8x16;

/// What shows itself and needs no escape in JSON text (RFC 8259 §7): printable ASCII but `"` and `\`.
pub(crate) const PLAIN_IN_JSON: [(u8, u8); 3] = [(b' ', b'!'), (b'#', b'['), (b']', b'~')];
/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// Whether each of these bytes lies within one of the ranges, whose ends belong to them.
#[inline]
pub(crate) fn is_within<const N: usize>(bytes: &[u8], ranges: [(u8, u8); N]) -> bool {
    let Some(last) = bytes.last_chunk::<BLOCK>() else {
        let filler = ranges.first().map_or(0, |range| range.0);
        return all(within(block(bytes, filler), ranges));
    };
    // It overlaps the one before it.
    let mut found = within(u8x16::new(*last), ranges);
    for block in bytes.as_chunks::<BLOCK>().0 {
        found &= within(u8x16::new(*block), ranges);
    }
    all(found)
}

/// Whether one of these bytes is `first`, and the one behind it is one of `then`.
#[inline]
pub(crate) fn has_pair<const N: usize>(bytes: &[u8], first: u8, then: [u8; N]) -> bool {
    let mut rest = bytes;
    while let [_, behind @ ..] = rest {
        let pairs = is(start(rest), first) & is_one_of(start(behind), then);
        if pairs.to_bitmask() != 0 {
            return true;
        }
        rest = rest.get(BLOCK..).unwrap_or_default();
    }
    false
}

/// Brings the letters, digits and hyphens that the bytes begin with into lower case, and tells of how
/// many: all of them, or all up to the last bytes of the text, fewer than sixteen, which are not looked at.
#[inline]
pub(crate) fn lower_start(bytes: &mut [u8]) -> usize {
    const PLACES: u8x16 = u8x16::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    let mut looked_at = 0;
    for chunk in bytes.as_chunks_mut::<BLOCK>().0 {
        let block = u8x16::new(*chunk);
        let upper = within(block, [(b'A', b'Z')]);
        let usual = upper | within(block, [(b'a', b'z'), (b'0', b'9'), (b'-', b'-')]);
        let length = usual.to_bitmask().trailing_ones();
        let length = u8::try_from(length).unwrap_or(0).min(16);
        // Those in front of the first other one.
        let behind = PLACES.max(u8x16::splat(length)).simd_eq(PLACES);
        *chunk = (block | (upper & !behind & u8x16::splat(0x20))).to_array();
        looked_at += usize::from(length);
        if usize::from(length) < BLOCK {
            break;
        }
    }
    looked_at
}

/// Where the control characters other than the tab stand, in order.
#[derive(Clone, Debug)]
pub(crate) struct Controls<'b> {
    /// What has not been looked at, and where it begins.
    rest: &'b [u8],
    rest_at: usize,
    /// What is left to tell of the blocks before it: a bit a byte.
    left: u64,
}

/// Blocks whose control characters are looked for together.
const BLOCKS: usize = 4;

impl<'b> Controls<'b> {
    /// Those in these bytes.
    pub(crate) fn of(bytes: &'b [u8]) -> Self {
        Self { rest: bytes, rest_at: 0, left: 0 }
    }

    /// Looks at the next blocks; the last ones are filled with spaces.
    #[inline(never)]
    fn look(&mut self) {
        let mut filled = [b' '; BLOCKS * BLOCK];
        let blocks = self.rest.first_chunk().unwrap_or_else(|| {
            if let Some(place) = filled.get_mut(..self.rest.len()) {
                place.copy_from_slice(self.rest);
            }
            &filled
        });
        self.left = controls(blocks);
        self.rest = self.rest.get(BLOCKS * BLOCK..).unwrap_or_default();
        self.rest_at += BLOCKS * BLOCK;
    }
}

impl Iterator for Controls<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.left == 0 {
            if self.rest.is_empty() {
                return None;
            }
            self.look();
        }
        let place = self.left.trailing_zeros() as usize;
        self.left &= self.left - 1;
        Some(self.rest_at - BLOCKS * BLOCK + place)
    }
}

/// The control characters of these blocks: a bit a byte, the first the lowest.
#[inline]
fn controls(blocks: &[u8; BLOCKS * BLOCK]) -> u64 {
    blocks.as_chunks().0.iter().rev().fold(0, |found, block| {
        let block = u8x16::new(*block);
        let low = within(block, [(0, 0x1f)]) & !is(block, b'\t');
        found << BLOCK | u64::from((low | is(block, 0x7f)).to_bitmask())
    })
}

/// A block of what the bytes begin with, and of spaces.
fn start(bytes: &[u8]) -> u8x16 {
    bytes.first_chunk().map_or_else(|| block(bytes, b' '), |first| u8x16::new(*first))
}

/// A block of fewer than sixteen bytes and a filler, put together in registers: what has just been written to
/// memory in pieces cannot be read as a block at once.
#[inline]
fn block(bytes: &[u8], filler: u8) -> u8x16 {
    let filler = u64::from_le_bytes([filler; 8]);
    let length = bytes.len();
    // The first half, the lowest byte first, and the second. What is read from the end overlaps.
    let (low, high) = if let Some((first, last)) = ends::<8>(bytes) {
        let last = u64::from_le_bytes(last) >> 8 >> bits(15 - length);
        (u64::from_le_bytes(first), last | filler << bits(length - 8))
    } else {
        let low = if let Some((first, last)) = ends::<4>(bytes) {
            let [first, last] = [first, last].map(|end| u64::from(u32::from_le_bytes(end)));
            first | last << bits(length - 4)
        } else {
            let byte = |at: usize| bytes.get(at).map_or(0, |byte| u64::from(*byte) << bits(at));
            byte(0) | byte(1) | byte(2)
        };
        (low | filler << bits(length), filler)
    };
    u8x16::new((u128::from(low) | u128::from(high) << 64).to_le_bytes())
}

/// So many bytes at the beginning, and at the end.
fn ends<const N: usize>(bytes: &[u8]) -> Option<([u8; N], [u8; N])> {
    Some((*bytes.first_chunk()?, *bytes.last_chunk()?))
}

fn bits(bytes: usize) -> u32 {
    u32::try_from(bytes * 8).unwrap_or(u32::MAX)
}

/// The bytes that lie within one of the ranges: all bits of each, or none.
#[inline]
fn within<const N: usize>(block: u8x16, ranges: [(u8, u8); N]) -> u8x16 {
    ranges.into_iter().fold(u8x16::ZERO, |found, (from, to)| {
        found | block.max(u8x16::splat(from)).min(u8x16::splat(to)).simd_eq(block)
    })
}

#[inline]
fn is(block: u8x16, byte: u8) -> u8x16 {
    block.simd_eq(u8x16::splat(byte))
}

#[inline]
fn is_one_of<const N: usize>(block: u8x16, bytes: [u8; N]) -> u8x16 {
    bytes.into_iter().fold(u8x16::ZERO, |found, byte| found | is(block, byte))
}

fn all(found: u8x16) -> bool {
    found.to_bitmask() == 0xffff
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text of any length with a few bytes of any value in it.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let odd = prop::collection::vec((0_usize..200, any::<u8>()), 0..6);
        (0_usize..200, odd).prop_map(|(length, odd)| {
            let mut bytes = vec![b'a'; length];
            for (at, byte) in odd {
                bytes.get_mut(at).into_iter().for_each(|place| *place = byte);
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn every_byte_is_looked_at(bytes in bytes()) {
            let expected = bytes.iter().all(|byte| matches!(byte, b'!' | b'#'..=b'~'));
            prop_assert_eq!(is_within(&bytes, [(b'!', b'!'), (b'#', b'~')]), expected);
        }

        #[test]
        fn every_control_character_is_found(bytes in bytes()) {
            let is_one = |at: &usize| bytes[*at].is_ascii_control() && bytes[*at] != b'\t';
            let expected: Vec<_> = (0..bytes.len()).filter(is_one).collect();
            prop_assert_eq!(Controls::of(&bytes).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn beginning_is_brought_into_lower_case(text in "[a-zA-Z0-9-]{0,40}[ -~\x00\u{e9}]{0,20}") {
            let mut bytes = text.clone().into_bytes();
            let length = lower_start(&mut bytes);
            let (before, behind) = bytes.split_at(length);
            let usual = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
            prop_assert!(length <= usual.count());
            prop_assert_eq!(before, text.as_bytes()[..length].to_ascii_lowercase());
            prop_assert_eq!(behind, &text.as_bytes()[length..]);
        }

        #[test]
        fn every_pair_is_found(text in "[/.a]{0,40}") {
            let expected = text.contains("//") || text.contains("/.");
            prop_assert_eq!(has_pair(text.as_bytes(), b'/', [b'/', b'.']), expected);
        }
    }
}
