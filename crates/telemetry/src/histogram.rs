//! A histogram that any two instances can add up: fixed buckets, each 19 % wider than the
//! one before (four to a doubling), from 1 to some 16 million. A quantile is off by less
//! than a bucket.

use std::collections::BTreeMap;

const BUCKETS: u32 = 97;

/// Counts by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<u32, u64>);

impl Histogram {
    /// Counts a value; below 1 counts as 1.
    pub fn record(&mut self, value: f64) {
        let bucket = (value.max(1.0).log2() * 4.0).floor().min(f64::from(BUCKETS - 1));
        *self.0.entry(bucket as u32).or_default() += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        for (bucket, count) in &other.0 {
            *self.0.entry(*bucket).or_default() += count;
        }
    }

    /// The upper bound of the bucket with the `q`-quantile (0 to 1); `None` if nothing was
    /// counted.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total: u64 = self.0.values().sum();
        let wanted = ((total as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in &self.0 {
            seen += count;
            if seen >= wanted {
                return Some((f64::from(bucket + 1) / 4.0).exp2());
            }
        }
        None
    }

    /// As texts, to be stored.
    pub fn to_map(&self) -> BTreeMap<String, u64> {
        self.0.iter().map(|(bucket, count)| (bucket.to_string(), *count)).collect()
    }

    /// From what [`Self::to_map`] gave; what is no bucket is left out.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let bucket = |(text, count): (&str, u64)| Some((text.parse().ok().filter(|b| *b < BUCKETS)?, count));
        Self(pairs.into_iter().filter_map(bucket).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket_also_of_sums() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        for n in 1..=1000 {
            if n % 2 == 0 { a.record(f64::from(n)) } else { b.record(f64::from(n)) }
        }
        a.add(&b);
        for (q, exact) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0)] {
            let got = a.quantile(q).unwrap();
            assert!((exact..exact * 1.2).contains(&got), "{q}: {got}");
        }
        let map = a.to_map();
        let again = Histogram::from_pairs(map.iter().map(|(k, v)| (k.as_str(), *v)));
        assert_eq!(again, a);
        assert_eq!(Histogram::default().quantile(0.5), None);
    }

    #[test]
    fn the_smallest_and_the_largest_have_a_bucket() {
        let mut h = Histogram::default();
        for value in [-1.0, 0.0, f64::MAX] {
            h.record(value);
        }
        assert_eq!(h.to_map().values().sum::<u64>(), 3);
        assert_eq!(Histogram::from_pairs([("97", 1), ("x", 1)]), Histogram::default());
    }
}
