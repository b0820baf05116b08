//! Sending no faster than asked.

use std::time::Duration;
use tokio::time::Instant;

/// Keeps a sum of values at or under a rate, measured from the start.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: Option<f64>,
    start: Instant,
    done: u64,
}

impl Pace {
    /// As fast as possible without a rate.
    pub(crate) fn new(per_second: Option<f64>) -> Self {
        Self { per_second, start: Instant::now(), done: 0 }
    }

    /// Waits until another `values` are due after those before.
    pub(crate) async fn wait(&mut self, values: u64) {
        if let Some(due) = self.due(values) {
            tokio::time::sleep_until(self.start + due).await;
        }
    }

    fn due(&mut self, values: u64) -> Option<Duration> {
        let before = self.done;
        self.done += values;
        self.per_second.map(|rate| Duration::from_secs_f64(before as f64 / rate))
    }

    /// How many values to take at a time, at most `most`: a tenth of a second's worth.
    pub(crate) fn portion(&self, most: usize) -> usize {
        match self.per_second {
            None => most,
            Some(rate) => ((rate / 10.0) as usize).clamp(1, most),
        }
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

/// Reads `--rate`: values per second, or `max`.
pub(crate) fn parse_rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate(None));
    }
    match text.replace('_', "").parse::<f64>() {
        Ok(rate) if rate >= 0.001 && rate.is_finite() => Ok(Rate(Some(rate))),
        _ => Err("give values per second, such as 5000, or max".into()),
    }
}

/// Values per second; `None` is as fast as possible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate(pub(crate) Option<f64>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_over_time() {
        let mut pace = Pace::new(Some(100.0));
        let due: Vec<_> = (0..21).filter_map(|_| pace.due(10)).collect();
        assert_eq!((due[0], due[20]), (Duration::ZERO, Duration::from_secs(2)));
        assert_eq!(Pace::new(None).due(10), None);
    }

    #[test]
    fn rates_are_read() {
        assert_eq!(parse_rate("5_000"), Ok(Rate(Some(5000.0))));
        assert_eq!(parse_rate("max"), Ok(Rate(None)));
        for bad in ["0", "-1", "NaN", "inf", "fast"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }
}
