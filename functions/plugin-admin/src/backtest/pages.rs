//! Stretches of history: as long as a page of values is, whatever the density.

use eaves_model::Timestamp;
use serde::{Deserialize, Serialize};

/// Values that a page should have, where the rate allows it.
const WANTED: usize = 50_000;
/// And at least, however low the rate: a statement for each value would cost more than it saves.
const FEWEST: usize = 1_000;

/// How large pages are: of what may be read in a second, and no more than is good to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSize(usize);

impl PageSize {
    /// For a rate in values a second.
    pub(super) fn for_rate(rate: u32) -> Self {
        Self((rate as usize).clamp(FEWEST, WANTED))
    }

    /// Most values of a page: beyond, the stretch is shortened and read again.
    pub(super) fn most(self) -> u32 {
        self.0 as u32 * 4
    }
}

/// The first stretch, in microseconds.
const FIRST: i64 = 60_000_000;

/// Where a backtest is in history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pages {
    /// First time not read yet, in microseconds since 1970.
    pub(super) next: i64,
    /// Length of the next stretch, in microseconds.
    step: i64,
}

impl Pages {
    pub(super) fn new(from: Timestamp) -> Self {
        Self { next: from.as_micros(), step: FIRST }
    }

    /// The next stretch, or `None` at the end.
    pub(super) fn stretch(&self, to: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let from = Timestamp::from_micros(self.next)?;
        let until = Timestamp::from_micros(self.next.saturating_add(self.step)).unwrap_or(to).min(to);
        (from < to).then_some((from, until))
    }

    /// It had so many values. Whether they are all of it: else it is to be read again,
    /// shorter.
    pub(super) fn read(&mut self, until: Timestamp, values: usize, size: PageSize) -> bool {
        let wanted = size.0;
        if values >= size.most() as usize && self.step > 1 {
            self.step = (self.step / 4).max(1);
            return false;
        }
        self.next = until.as_micros();
        self.step = match values {
            0 => self.step.saturating_mul(8),
            n if n < wanted / 4 => self.step.saturating_mul(4),
            n if n < wanted => self.step.saturating_mul(2),
            n if n > wanted * 2 => self.step / 2,
            _ => self.step,
        }
        .clamp(1, 86_400_000_000 * 31);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a history of so many values a second over a day.
    fn read_a_day(per_second: f64, size: PageSize) -> (usize, usize) {
        let from = Timestamp::from_micros(0).unwrap();
        let to = Timestamp::from_micros(86_400_000_000).unwrap();
        let (mut pages, mut reads, mut values) = (Pages::new(from), 0, 0);
        while let Some((a, b)) = pages.stretch(to) {
            reads += 1;
            let all = ((b.as_micros() - a.as_micros()) as f64 / 1e6 * per_second).round() as usize;
            let got = all.min(size.most() as usize);
            if pages.read(b, got, size) {
                values += got;
            }
        }
        (reads, values)
    }

    #[test]
    fn every_density_is_read_whole_in_few_pages() {
        for per_second in [0.0, 0.01, 1.0, 100.0, 10_000.0, 150_000.0] {
            let size = PageSize::for_rate(250_000);
            let (reads, values) = read_a_day(per_second, size);
            let expected = 86_400.0 * per_second;
            assert!((values as f64 - expected).abs() <= 1.0 + reads as f64, "{per_second}: {values}");
            let fewest = expected / f64::from(size.most());
            assert!((reads as f64) < 40.0 + fewest * 9.0, "{per_second}: {reads} reads");
        }
    }

    #[test]
    fn a_low_rate_makes_small_pages() {
        assert_eq!(PageSize::for_rate(1).most(), 4_000);
        assert_eq!(PageSize::for_rate(5_000).most(), 20_000);
        assert_eq!(PageSize::for_rate(u32::MAX).most(), 200_000);
        let (reads, values) = read_a_day(100.0, PageSize::for_rate(2_000));
        assert_eq!(values, 8_640_000);
        assert!(reads >= values / 8_000, "{reads}");
    }
}
