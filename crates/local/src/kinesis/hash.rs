//! Hash keys: which shard a record belongs to.

use md5::{Digest as _, Md5};

/// A range of hash keys, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashRange {
    pub(crate) start: u128,
    pub(crate) end: u128,
}

/// The hash key of a partition key: its MD5, read as a number (PutRecord in the API reference).
pub(crate) fn hash_of(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

impl HashRange {
    /// All hash keys.
    pub(crate) const ALL: Self = Self { start: 0, end: u128::MAX };

    /// All hash keys in `count` ranges of the same width; the last takes the remainder.
    pub(crate) fn evenly(count: u32) -> Vec<Self> {
        let count = u128::from(count.max(1));
        if count == 1 {
            return vec![Self::ALL];
        }
        // 2^128 / count, without leaving 128 bits.
        let width = u128::MAX / count + u128::from(u128::MAX % count == count - 1);
        let range = |i: u128| Self {
            start: i * width,
            end: if i + 1 == count { u128::MAX } else { (i + 1) * width - 1 },
        };
        (0..count).map(range).collect()
    }

    /// The parts below and from `at` on; `None` unless `at` is greater than one plus the
    /// start and less than the end, as SplitShard demands.
    pub(crate) fn split(self, at: u128) -> Option<(Self, Self)> {
        let inside = at.checked_sub(self.start).is_some_and(|d| d > 1) && at < self.end;
        inside.then(|| (Self { start: self.start, end: at - 1 }, Self { start: at, end: self.end }))
    }

    /// Both as one, if they are neighbours.
    pub(crate) fn merge(self, other: Self) -> Option<Self> {
        let (low, high) = if self.start < other.start { (self, other) } else { (other, self) };
        (low.end.checked_add(1) == Some(high.start)).then_some(Self { start: low.start, end: high.end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_even_and_cover_everything() {
        assert_eq!(HashRange::evenly(2)[0].end, 170_141_183_460_469_231_731_687_303_715_884_105_727);
        for count in [1, 2, 3, 5, 7, 64, 1000] {
            let ranges = HashRange::evenly(count);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, u128::MAX));
            assert!(ranges.windows(2).all(|w| w[0].end + 1 == w[1].start), "{count}");
        }
    }

    #[test]
    fn a_key_hashes_as_documented() {
        // md5("a") = 0cc175b9c0f1b6a831c399e269772661
        assert_eq!(hash_of("a"), 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }
}
