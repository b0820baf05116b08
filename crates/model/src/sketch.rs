//! How many different things there were, in a kilobyte: HyperLogLog with 1,024 registers, within
//! 7 % nineteen times out of twenty.
//!
//! Written here and not taken from a library, because the registers are grown in two places: an
//! instance of ingest sends only those that grew, and the database merges them
//! (`V42__attribute_statistics.sql`). No library shows which ones grew.

use std::fmt;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 10;
/// Registers of a sketch.
pub const REGISTERS: usize = 1 << INDEX_BITS;
/// Highest rank but one: bits of a hash that are left for it.
const RANK_BITS: u32 = 64 - INDEX_BITS;

/// Registers, each the highest rank that was seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Sketch(Box<[u8; REGISTERS]>);

impl Default for Sketch {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sketch(~{})", self.estimate())
    }
}

impl Sketch {
    /// Adds something by its hash, whose 64 bits must be as good as random ([`hash`]).
    /// Returns the register that grew: index << 6 | rank.
    pub fn add(&mut self, hash: u64) -> Option<u16> {
        let index = (hash >> RANK_BITS) as usize;
        // A one behind the last bit ends the run of zeros of a hash that has no other.
        let rank = ((hash << INDEX_BITS) | (1 << (INDEX_BITS - 1))).leading_zeros() as u8 + 1;
        let register = self.0.get_mut(index)?;
        if *register >= rank {
            return None;
        }
        *register = rank;
        Some((index as u16) << 6 | u16::from(rank))
    }

    /// Adds all that was added to a sketch with these registers. A length other than
    /// [`REGISTERS`] is no sketch's, and false.
    #[must_use]
    pub fn merge(&mut self, registers: &[u8]) -> bool {
        if registers.len() != REGISTERS {
            return false;
        }
        for (mine, other) in self.0.iter_mut().zip(registers) {
            *mine = (*mine).max((*other).min(RANK_BITS as u8 + 1));
        }
        true
    }

    /// The registers.
    pub fn registers(&self) -> &[u8] {
        &self.0[..]
    }

    /// About how many different things were added. (Otmar Ertl, "New cardinality estimation
    /// algorithms for HyperLogLog sketches", 2017: without the bias and tables of the original.)
    pub fn estimate(&self) -> u64 {
        let m = REGISTERS as f64;
        let mut counts = [0_u32; RANK_BITS as usize + 2];
        for register in self.0.iter() {
            if let Some(count) = counts.get_mut(usize::from(*register)) {
                *count += 1;
            }
        }
        let [zeros, ranks @ .., last] = counts;
        let mut z = m * tau(1.0 - f64::from(last) / m);
        for count in ranks.iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(f64::from(zeros) / m);
        // 1 / (2 ln 2)
        (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

/// A hash for [`Sketch::add`]: the same in every process and version, since registers of many
/// are merged.
pub fn hash(bytes: &[u8]) -> u64 {
    // FNV-1a over words, with SplitMix64's finish.
    let mut h = 0xcbf2_9ce4_8422_2325_u64 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        h = mix(h ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(h)
}

fn mix(mut h: u64) -> u64 {
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(range: std::ops::Range<u64>) -> Sketch {
        let mut sketch = Sketch::default();
        range.for_each(|n| {
            sketch.add(hash(&n.to_le_bytes()));
        });
        sketch
    }

    #[test]
    fn the_estimate_is_near_at_every_size() {
        assert_eq!(Sketch::default().estimate(), 0);
        for size in [1, 2, 10, 100, 1_000, 2_500, 10_000, 100_000, 1_000_000] {
            for start in [0_u64, 1 << 40, u64::MAX / 3] {
                let found = of(start..start + size).estimate() as f64;
                let off = (found / size as f64 - 1.0).abs();
                assert!(off < 0.11, "{size} from {start}: {found}");
            }
        }
    }

    #[test]
    fn a_hash_of_zeros_has_the_highest_rank() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.add(0), Some(55));
        assert_eq!(sketch.add(u64::MAX), Some(1023 << 6 | 1));
        assert_eq!(sketch.add(0), None);
    }

    proptest! {
        #[test]
        fn what_grew_is_all_that_another_needs(values in proptest::collection::vec(any::<u64>(), 0..400)) {
            let (mut sent, mut merged) = (Sketch::default(), Sketch::default());
            let mut registers = vec![0_u8; REGISTERS];
            for value in &values {
                if let Some(grown) = sent.add(*value) {
                    let (index, rank) = (usize::from(grown >> 6), (grown & 63) as u8);
                    prop_assert!(registers[index] < rank);
                    registers[index] = rank;
                }
            }
            prop_assert!(merged.merge(&registers));
            prop_assert!(!merged.merge(&registers[1..]));
            prop_assert_eq!(&merged, &sent);
            for value in &values {
                prop_assert_eq!(merged.add(*value), None);
            }
        }
    }
}
