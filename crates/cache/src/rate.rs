//! Buckets that fill at a steady rate: how much of something a tenant may still have.
//!
//! In Redis they are shared by all instances of a function ([`Cache::take`], one round trip); where
//! Redis is away an instance keeps its own ([`Bucket`]). Both are GCRA, the "generic cell rate
//! algorithm": all that is kept of a bucket is the time at which it will be full again, so an
//! unused one costs nothing.

use crate::{Cache, CacheError, Today};
use eaves_model::TenantId;
use redis::{ErrorKind, ServerErrorKind};
use std::time::{Duration, Instant};

/// The count of a day is kept for so long after it: clocks may differ.
const KEPT_AFTER: Duration = Duration::from_secs(3600);

/// How many units in how much time; as many can be had at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Units.
    pub quota: u64,
    /// In this time.
    pub window: Duration,
}

/// What is wanted of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// With less it is a refusal.
    pub least: u64,
    /// More is not taken.
    pub most: u64,
    /// Taken even if it is not there: what was used already has to be paid for.
    pub forced: bool,
}

/// What was had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Units; 0: refused.
    pub units: u64,
    /// Units that are left.
    pub left: u64,
    /// Until the bucket is full.
    pub full_in: Duration,
    /// After a refusal: until what was wanted is there.
    pub retry_in: Duration,
    /// Units that all instances used of the day's quota, where there is one.
    pub used_today: u64,
}

impl Rate {
    /// Microseconds in which one unit comes.
    fn unit(self) -> f64 {
        self.window.as_micros() as f64 / self.quota.max(1) as f64
    }
}

/// One instance's own bucket.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes from it: what [`Cache::take`] does in Redis.
    pub fn take(&mut self, rate: Rate, wanted: Wanted, now: Instant) -> Taken {
        let (unit, full) = (rate.unit(), rate.window.as_micros() as f64);
        let ahead = self.full_at.map_or(0.0, |at| at.saturating_duration_since(now).as_micros() as f64);
        let left = ((full - ahead) / unit + 1e-6).floor().max(0.0) as u64;
        let units = if wanted.forced { wanted.most } else { wanted.most.min(left) };
        if units < wanted.least || units == 0 {
            let wait = ahead + wanted.least as f64 * unit - full;
            return Taken { left, full_in: micros(ahead), retry_in: micros(wait), ..Taken::default() };
        }
        let ahead = ahead + units as f64 * unit;
        self.full_at = Some(now + micros(ahead));
        Taken { units, left: left.saturating_sub(units), full_in: micros(ahead), ..Taken::default() }
    }
}

fn micros(n: f64) -> Duration {
    Duration::from_micros(n.ceil().max(0.0) as u64)
}

impl Cache {
    /// Takes from a tenant's bucket of this name, and from its quota of the day: one round trip. Without a
    /// rate there is no bucket.
    pub async fn take(
        &self,
        tenant: TenantId,
        bucket: &str,
        rate: Option<Rate>,
        wanted: Wanted,
        today: Option<Today>,
    ) -> Result<Taken, CacheError> {
        let mut command = redis::cmd("EVALSHA");
        let key = format!("rate:{tenant}:{bucket}");
        command.arg(self.take_script.get_hash()).arg(1 + usize::from(today.is_some())).arg(&key);
        if let Some(today) = today {
            // Braces: on a cluster it is in the shard that the bucket is in.
            command.arg(format!("day:{{{key}}}:{}", today.day));
        }
        command
            .arg(rate.map_or_else(|| "0".to_owned(), |rate| format!("{:.6}", rate.unit())))
            .arg(rate.map_or(0, |rate| rate.window.as_micros()).to_string())
            .arg(wanted.least)
            .arg(wanted.most)
            .arg(u8::from(wanted.forced));
        if let Some(today) = today {
            let keep = today.ends_in.as_secs() + KEPT_AFTER.as_secs();
            command.arg(today.quota).arg(today.untold).arg(today.known).arg(keep);
        }
        let work = async {
            match self.connection.query(&command).await {
                // A Redis that was restarted knows no scripts.
                Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    self.connection.load(&self.take_script).await?;
                    self.connection.query(&command).await
                }
                other => other,
            }
        };
        let (units, left, full_in, retry_in, used_today): (u64, u64, u64, u64, u64) =
            self.guarded(self.wait, CacheError::Write, work).await?;
        Ok(Taken {
            units,
            left,
            full_in: Duration::from_micros(full_in),
            retry_in: Duration::from_micros(retry_in),
            used_today,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { quota: 60, window: Duration::from_secs(60) };

    fn wanted(least: u64, most: u64) -> Wanted {
        Wanted { least, most, forced: false }
    }

    #[test]
    fn a_bucket_is_emptied_and_fills_again() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let first = bucket.take(RATE, wanted(1, 50), start);
        assert_eq!((first.units, first.left), (50, 10));
        // A part of what is wanted, if that is enough.
        assert_eq!(bucket.take(RATE, wanted(5, 50), start).units, 10);
        let refused = bucket.take(RATE, wanted(2, 2), start);
        assert_eq!((refused.units, refused.left, refused.retry_in), (0, 0, Duration::from_secs(2)));
        let later = start + Duration::from_secs(2);
        assert_eq!(bucket.take(RATE, wanted(2, 2), later).units, 2);
        // Never more than a full one.
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(bucket.take(RATE, wanted(1, 1000), much_later).units, 60);
    }

    #[test]
    fn what_was_used_already_is_paid_for_later() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let forced = bucket.take(RATE, Wanted { forced: true, ..wanted(0, 90) }, start);
        assert_eq!((forced.units, forced.left), (90, 0));
        assert_eq!(bucket.take(RATE, wanted(1, 1), start).retry_in, Duration::from_secs(31));
        assert_eq!(bucket.take(RATE, wanted(1, 1), start + Duration::from_secs(31)).units, 1);
    }
}
