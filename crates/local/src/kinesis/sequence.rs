//! Sequence numbers that look like AWS's: 56 decimal digits that begin with 49, compared as
//! numbers, never padded.
//!
//! The bits, from the highest: a leading one (bit 185), when the shard was opened in seconds
//! (37 bits), the record's place (64 bits), its arrival in milliseconds (48 bits), the
//! shard's index (32 bits), a version (4 bits). A child shard is opened at least a second
//! after its parents, so numbers grow along a partition key through splits and merges. A
//! place is never below the microseconds since 1970 at which it was given, so a stream that
//! is loaded again after a crash gives no number twice.

use std::fmt;

const OPENED_BITS: u64 = (1 << 37) - 1;
const VERSION: u64 = 2;
/// Digits per step of the conversions to and from decimal.
const STEP: usize = 18;
const STEP_VALUE: u64 = 10u64.pow(STEP as u32);

/// A sequence number: 192 bits, the most significant first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Sequence(pub(crate) [u64; 3]);

impl Sequence {
    /// The number at a place of a shard that was opened at `opened_s`.
    pub(crate) fn new(opened_s: u64, place: u64, arrived_ms: u64, shard: u32) -> Self {
        Self([
            (1 << 57) | ((opened_s & OPENED_BITS) << 20) | (place >> 44),
            (place << 20) | ((arrived_ms >> 28) & 0xF_FFFF),
            (arrived_ms << 36) | (u64::from(shard) << 4) | VERSION,
        ])
    }

    /// A number in decimal as the API takes it: no sign, no leading zero, at most 129
    /// digits. What is greater than any number given here becomes the greatest.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.len() <= 129 && text.bytes().all(|b| b.is_ascii_digit());
        if !digits || (text.len() > 1 && text.starts_with('0')) {
            return None;
        }
        let mut limbs = [0u64; 3];
        for digit in text.bytes().map(|b| u128::from(b - b'0')) {
            let mut carry = digit;
            for limb in limbs.iter_mut().rev() {
                let product = u128::from(*limb) * 10 + carry;
                *limb = product as u64;
                carry = product >> 64;
            }
            if carry > 0 {
                return Some(Self([u64::MAX; 3]));
            }
        }
        Some(Self(limbs))
    }

    /// When the shard that gave it was opened, seconds since 1970.
    pub(crate) fn opened_s(self) -> u64 {
        (self.0[0] >> 20) & OPENED_BITS
    }

    /// Its place in the shard that gave it.
    pub(crate) fn place(self) -> u64 {
        (self.0[0] << 44) | (self.0[1] >> 20)
    }

    /// The index of the shard that gave it.
    pub(crate) fn shard(self) -> u32 {
        (self.0[2] >> 4) as u32
    }

    /// The least number above it.
    pub(crate) fn next(self) -> Self {
        let [high, middle, low] = self.0;
        let (low, carry) = low.overflowing_add(1);
        let (middle, carry) = middle.overflowing_add(u64::from(carry));
        Self([high.saturating_add(u64::from(carry)), middle, low])
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Below 10^58, thus four steps.
        let (mut limbs, mut steps) = (self.0, [0u64; 4]);
        for step in steps.iter_mut().rev() {
            let mut rest = 0u128;
            for limb in &mut limbs {
                let value = (rest << 64) | u128::from(*limb);
                *limb = (value / u128::from(STEP_VALUE)) as u64;
                rest = value % u128::from(STEP_VALUE);
            }
            *step = rest as u64;
        }
        let first = steps.iter().position(|s| *s > 0).unwrap_or(steps.len() - 1);
        write!(f, "{}", steps[first])?;
        steps[first + 1..].iter().try_for_each(|step| write!(f, "{step:018}"))
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_looks_like_aws_s() {
        let text = Sequence::new(1_790_000_000, 1_790_000_000_000_000, 1_790_000_000_123, 7).to_string();
        assert_eq!((text.len(), &text[..2]), (56, "49"), "{text}");
    }

    #[test]
    fn what_is_no_number_of_the_api_is_refused() {
        for text in ["", "-1", "+1", "01", "1e3", "1 ", "٣", &"9".repeat(130)] {
            assert_eq!(Sequence::parse(text), None, "{text:?}");
        }
        assert_eq!(Sequence::parse("0").unwrap().to_string(), "0");
        assert_eq!(Sequence::parse(&"9".repeat(129)), Some(Sequence([u64::MAX; 3])));
    }

    proptest! {
        #[test]
        fn decimal_and_back(limbs: [u64; 3]) {
            let sequence = Sequence(limbs);
            prop_assert_eq!(Sequence::parse(&sequence.to_string()), Some(sequence));
        }

        #[test]
        fn numbers_grow_by_opening_then_place_and_tell_their_shard(
            opened in 0u64..1 << 36, later in 0u64..2,
            place in 0u64..u64::MAX, arrived in 0u64..1 << 48, then in 0u64..1 << 48, shard: u32, other: u32,
        ) {
            let first = Sequence::new(opened, place, arrived, shard);
            let second = Sequence::new(opened + later, place + 1, then, if later == 0 { shard } else { other });
            prop_assert!(first < second && first.next() <= second);
            prop_assert_eq!((first.opened_s(), first.place(), first.shard()), (opened, place, shard));
            prop_assert_eq!(first.to_string().len(), 56);
        }
    }
}
