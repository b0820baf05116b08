//! Quotas of a day: what an instance knows of how much is used.
//!
//! A day is one of UTC. How much is used in it is counted in Redis ([`crate::Cache::take`]), under a key
//! of the day's own. An instance that takes units together tells which of them it used when it next
//! asks: what it does not use costs the tenant nothing. Where Redis is away it adds what it uses itself
//! to what it heard last.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of a day, in seconds: UTC as clocks have it knows no others.
pub(crate) const DAY_S: u64 = 86_400;

/// The quota of a day, and what an instance tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Today {
    /// Units that may be had.
    pub quota: u64,
    /// Days since 1970.
    pub day: u64,
    /// Until it ends.
    pub ends_in: Duration,
    /// Units used that Redis was not told of yet.
    pub untold: u64,
    /// So many units are used by all instances, at least.
    pub known: u64,
}

impl Today {
    /// The day of this time, of which nothing is known.
    pub fn at(now: SystemTime, quota: u64) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let day = since.as_secs() / DAY_S;
        let ends_in = Duration::from_secs((day + 1) * DAY_S) - since;
        Self { quota, day, ends_in, untold: 0, known: 0 }
    }

    /// Whether so many units are more than what is left when so many are used.
    pub(crate) fn is_over(&self, used: u64, units: u64) -> bool {
        used.saturating_add(units) > self.quota
    }
}

/// What an instance knows of a tenant's day.
#[derive(Debug, Default)]
pub(crate) struct Day {
    /// Days since 1970.
    day: u64,
    /// What Redis said last.
    told: u64,
    /// What this instance used since then.
    since: u64,
    /// What this instance used that Redis was not told of.
    untold: u64,
}

impl Day {
    /// In a new day nothing is used.
    pub(crate) fn turn(&mut self, day: u64) {
        if self.day != day {
            *self = Self { day, ..Self::default() };
        }
    }

    /// What is used, at least: others use more.
    pub(crate) fn used(&self) -> u64 {
        self.told.saturating_add(self.since.max(self.untold))
    }

    /// Units were used of those that were taken before.
    pub(crate) fn uses(&mut self, units: u64) {
        self.since += units;
        self.untold += units;
    }

    /// Hands out what Redis is to be told. It counts as told from now on: what a request that got no answer
    /// said may have arrived, and must not be counted twice.
    pub(crate) fn tell(&mut self, today: &mut Today) {
        today.known = self.used();
        today.untold = std::mem::take(&mut self.untold);
    }

    /// Redis answered.
    pub(crate) fn heard(&mut self, used: u64) {
        // Answers may overtake each other.
        if used >= self.told {
            (self.told, self.since) = (used, 0);
        }
    }

    /// Redis did not answer, and so many units were used all the same; `unsent`: it was not even asked.
    pub(crate) fn unheard(&mut self, today: Today, units: u64, unsent: bool) {
        self.since += units;
        if unsent {
            self.untold += today.untold + units;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Today {
        Today::at(UNIX_EPOCH + Duration::from_secs(seconds), 10)
    }

    #[test]
    fn days_begin_at_midnight() {
        for (seconds, day, ends_in) in
            [(0, 0, DAY_S), (DAY_S - 1, 0, 1), (DAY_S, 1, DAY_S), (1_770_000_000, 20_486, 76_800)]
        {
            let today = at(seconds);
            assert_eq!((today.day, today.ends_in.as_secs()), (day, ends_in), "{seconds}");
        }
        let early = Today::at(UNIX_EPOCH + Duration::from_millis(86_399_999), 1);
        assert_eq!(early.ends_in, Duration::from_millis(1));
    }

    #[test]
    fn what_was_used_is_told_once() {
        let (mut day, mut today) = (Day::default(), at(0));
        day.heard(4);
        day.uses(3);
        day.tell(&mut today);
        assert_eq!((today.untold, today.known, day.used()), (3, 7, 7));
        // More is used while Redis is asked.
        day.uses(2);
        day.heard(8);
        assert_eq!(day.used(), 10);
        day.tell(&mut today);
        assert_eq!((today.untold, today.known), (2, 10));
        // An older answer says nothing.
        day.heard(10);
        day.heard(8);
        assert_eq!(day.used(), 10);
    }

    #[test]
    fn what_redis_does_not_hear_is_known_here() {
        let (mut day, mut today) = (Day::default(), at(0));
        day.heard(4);
        day.uses(1);
        // It may have heard that.
        day.tell(&mut today);
        day.unheard(today, 1, false);
        assert_eq!(day.used(), 6);
        // It has not heard this.
        day.uses(1);
        day.tell(&mut today);
        day.unheard(today, 1, true);
        day.tell(&mut today);
        assert_eq!((today.untold, today.known), (2, 8));
        day.turn(1);
        assert_eq!(day.used(), 0);
    }
}
