//! Which entities are asked for most, so that an instance that starts, or a cache that was
//! emptied, can be warmed with them.

use crate::{Cache, CacheError, entry};
use eaves_model::{TenantId, Timestamp};

/// Entities of a tenant that are counted; the least asked for go first.
const COUNTED: isize = 2_000;
/// How long counts are kept when nobody asks, in seconds.
const KEPT: u64 = 7 * 86_400;
/// A question counts half as much after so many seconds.
const HALF_LIFE: f64 = 7.0 * 86_400.0;
/// Weights are counted from here, 2026-01-01, and stay finite for 19 years.
const FROM: i64 = 1_767_225_600;

impl Cache {
    /// Adds how often entities of a tenant were asked for. Returns whether anything was known before.
    pub async fn note_asked(&self, tenant: TenantId, counts: &[(String, u32)]) -> Result<bool, CacheError> {
        // What comes later weighs more, instead of what came earlier being made less again and again.
        let seconds = Timestamp::now().as_micros() / 1_000_000 - FROM;
        let weight = 2f64.powf(seconds.max(0) as f64 / HALF_LIFE);
        let key = entry::asked_key(tenant);
        let add = |(name, count): &(String, u32)| {
            let mut command = redis::cmd("ZINCRBY");
            command.arg(&key).arg(weight * f64::from(*count)).arg(name);
            command
        };
        let mut known = redis::cmd("EXISTS");
        known.arg(&key);
        let mut commands = vec![known];
        commands.extend(counts.iter().map(add));
        let mut trim = redis::cmd("ZREMRANGEBYRANK");
        trim.arg(&key).arg(0).arg(-COUNTED - 1);
        let mut keep = redis::cmd("EXPIRE");
        keep.arg(&key).arg(KEPT);
        commands.extend([trim, keep]);
        let work = self.connection.query_all::<redis::Value>(&commands);
        let answers = self.write(work).await?;
        Ok(answers.first() == Some(&redis::Value::Int(1)))
    }

    /// The tenant's names of the entities that are asked for most.
    pub async fn most_asked(&self, tenant: TenantId, most: u32) -> Result<Vec<String>, CacheError> {
        let mut command = redis::cmd("ZREVRANGE");
        command.arg(entry::asked_key(tenant)).arg(0).arg(i64::from(most) - 1);
        self.write(self.connection.query(&command)).await
    }
}
