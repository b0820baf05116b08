//! A circuit breaker: a source that fails is left alone for a while, then tried by one
//! request at a time.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker.
const THRESHOLD: u32 = 2;
/// How long it stays open the first time; doubles with every failed probe.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A probe that says nothing for so long was dropped; another may go.
const PROBE_EXPIRES: Duration = Duration::from_secs(5);

/// What a breaker does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Lets all through.
    Closed,
    /// Lets none through.
    Open,
    /// Lets one through, to see.
    HalfOpen,
}

/// The breaker of one source.
#[derive(Debug, Clone, Default)]
pub struct Breaker {
    failures: u32,
    pause: Duration,
    retry_at: Option<Instant>,
    probe_since: Option<Instant>,
}

impl Breaker {
    /// What it would do with a request now.
    pub fn state(&self, now: Instant) -> State {
        match self.retry_at {
            None => State::Closed,
            Some(at) if now < at => State::Open,
            Some(_) => match self.probe_since {
                Some(since) if now < since + PROBE_EXPIRES => State::Open,
                _ => State::HalfOpen,
            },
        }
    }

    /// Whether a request may go now. Does not reserve the probe: see [`Breaker::begin`].
    pub fn lets_through(&self, now: Instant) -> bool {
        self.state(now) != State::Open
    }

    /// Whether a request goes now; in [`State::HalfOpen`] it is the one that goes, and others wait for what it
    /// finds.
    #[must_use]
    pub fn begin(&mut self, now: Instant) -> bool {
        let state = self.state(now);
        if state == State::HalfOpen {
            self.probe_since = Some(now);
        }
        state != State::Open
    }

    /// A request was answered.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// A request failed because of the source.
    pub fn failed(&mut self, now: Instant) {
        self.failures += 1;
        self.probe_since = None;
        if self.failures < THRESHOLD {
            return;
        }
        self.pause = if self.pause.is_zero() { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        self.retry_at = Some(now + self.pause);
    }

    /// How long until it would let a request through; zero if it does now.
    pub fn retry_in(&self, now: Instant) -> Duration {
        match self.state(now) {
            State::Open => self.retry_at.map_or(FIRST_PAUSE, |at| at.saturating_duration_since(now)),
            State::Closed | State::HalfOpen => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_is_forgiven_two_open_and_one_probe_closes() {
        let start = Instant::now();
        let mut b = Breaker::default();
        b.failed(start);
        assert_eq!(b.state(start), State::Closed);
        b.failed(start);
        assert_eq!(b.state(start), State::Open);
        assert_eq!(b.retry_in(start), FIRST_PAUSE);

        let later = start + FIRST_PAUSE;
        assert_eq!(b.state(later), State::HalfOpen);
        assert!(b.begin(later));
        assert_eq!(b.state(later), State::Open, "one probe at a time");
        assert!(!b.begin(later), "the second of two that saw it half open does not go");
        b.succeeded();
        assert_eq!(b.state(later), State::Closed);
    }

    #[test]
    fn failed_probes_make_the_pause_longer_up_to_a_limit() {
        let mut now = Instant::now();
        let mut b = Breaker::default();
        b.failed(now);
        for _ in 0..20 {
            b.failed(now);
            let pause = b.retry_in(now);
            assert!(pause >= FIRST_PAUSE && pause <= LONGEST_PAUSE);
            now += pause;
            assert_eq!(b.state(now), State::HalfOpen);
            assert!(b.begin(now));
        }
        b.failed(now);
        assert_eq!(b.retry_in(now), LONGEST_PAUSE);
    }

    #[test]
    fn a_probe_that_was_dropped_does_not_keep_it_shut() {
        let now = Instant::now();
        let mut b = Breaker::default();
        b.failed(now);
        b.failed(now);
        let probe = now + FIRST_PAUSE;
        assert!(b.begin(probe));
        assert_eq!(b.state(probe + PROBE_EXPIRES), State::HalfOpen);
    }
}
