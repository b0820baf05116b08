//! Rate limits: so many requests and values a minute for each tenant, whichever function answers.
//!
//! A tenant has three buckets: reads, expensive reads (those that may go through much), and values
//! sent. They are in Redis, shared by all instances; where Redis is away each instance counts for
//! itself. An instance takes units for the next tenth of a second together, so that a tenant with a
//! high limit costs a round trip now and then and not with every request; what it does not use in a
//! second is given up. A refusal is remembered until it may change: a tenant over its limit costs
//! next to nothing.
//!
//! Headers are those of draft-ietf-httpapi-ratelimit-headers-10. What a request is counted as is for
//! the function to say.

use crate::{Bucket, Cache, Rate, Taken, Wanted};
use eaves_model::TenantId;
use eaves_model::tenant::TenantRates;
use eaves_settings::functions::Rates as Settings;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The headers, and what they say, for descriptions of an API.
pub const RATE_HEADERS: [(&str, &str); 2] = [
    (
        "RateLimit-Policy",
        "`\"reads\";q=600000;w=60`: what the request was counted as, and how much may be had in how many seconds",
    ),
    ("RateLimit", "`\"reads\";r=599999;t=1`: what is left, and the seconds until all is there again"),
];

const WINDOW: Duration = Duration::from_secs(60);
/// How long units that were taken together may be used.
const LEASE: Duration = Duration::from_secs(1);
/// Such a part of the quota is taken together: a tenth of a second's worth.
const PART: u64 = 600;
/// Buckets that are remembered; then those that are not in use are forgotten.
const MOST_BUCKETS: usize = 30_000;

/// What a request is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Reads little, or changes something.
    Read,
    /// May go through much.
    Expensive,
    /// Brings values.
    Values,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Expensive => "expensive",
            Self::Values => "values",
        }
    }

    /// In the words of a refusal.
    fn what(self) -> &'static str {
        match self {
            Self::Read => "requests",
            Self::Expensive => "searches and figures",
            Self::Values => "values",
        }
    }
}

/// One bucket as this instance sees it.
#[derive(Default)]
struct Held {
    /// Units taken and not used yet, and until when they may be.
    leased: u64,
    until: Option<Instant>,
    /// What the bucket had when it was last asked, and when.
    last: Option<(Taken, Instant)>,
    /// Nothing is to be had before.
    refused_until: Option<Instant>,
    /// Where Redis is away.
    own: Bucket,
}

/// The buckets of an instance.
pub struct Rates {
    settings: Settings,
    held: Mutex<HashMap<(TenantId, Class), Held>>,
}

/// How it stands with a bucket.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    class: Class,
    quota: u64,
    left: u64,
    full_in: Duration,
    /// Refused: when to come again.
    retry_in: Option<Duration>,
}

impl Rates {
    /// With the rates of tenants that have none of their own.
    pub fn new(settings: Settings) -> Self {
        Self { settings, held: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, Class), Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quota(&self, class: Class, own: TenantRates) -> Option<u64> {
        let quota = match class {
            Class::Read => own.reads.unwrap_or(self.settings.reads.into()),
            Class::Expensive => own.expensive.unwrap_or(self.settings.expensive.into()),
            Class::Values => own.values.unwrap_or(self.settings.values.into()),
        };
        (quota > 0).then_some(quota)
    }

    /// Takes units; `None` where there is no limit. What is `forced` is taken in any case.
    pub async fn take(
        &self,
        cache: Option<&Cache>,
        tenant: TenantId,
        class: Class,
        own: TenantRates,
        units: (u64, bool),
    ) -> Option<Standing> {
        let quota = self.quota(class, own)?;
        let (units, forced) = units;
        if let (false, Some(standing)) = (forced, self.leased(tenant, class, quota, units)) {
            return Some(standing);
        }
        let rate = Rate { quota, window: WINDOW };
        // Values are paid for as they come.
        let together = if class == Class::Values { 0 } else { quota / PART };
        let most = if forced { units } else { units.max(together) };
        let wanted = Wanted { least: units, most, forced };
        let shared = match cache {
            Some(cache) => cache.take(tenant, class.name(), rate, wanted).await.ok(),
            None => None,
        };
        let now = Instant::now();
        let mut all = self.lock();
        if all.len() >= MOST_BUCKETS && !all.contains_key(&(tenant, class)) {
            all.retain(|_, held| held.last.is_some_and(|(_, at)| at.elapsed() < WINDOW));
        }
        let held = all.entry((tenant, class)).or_default();
        let taken = shared.unwrap_or_else(|| held.own.take(rate, wanted, now));
        held.last = Some((taken, now));
        if taken.units < units {
            held.refused_until = Some(now + taken.retry_in);
            return Some(standing((class, quota), taken, 0, Some(taken.retry_in)));
        }
        if !forced {
            let until = held.until.filter(|until| *until > now);
            held.leased = until.map_or(0, |_| held.leased) + taken.units - units;
            held.until = Some(now + LEASE);
        }
        Some(standing((class, quota), taken, held.leased, None))
    }

    /// From what was taken before, or a refusal that still holds.
    fn leased(&self, tenant: TenantId, class: Class, quota: u64, units: u64) -> Option<Standing> {
        let now = Instant::now();
        let mut all = self.lock();
        let held = all.get_mut(&(tenant, class))?;
        let (last, at) = held.last?;
        if held.until.is_some_and(|until| until > now) && held.leased >= units {
            held.leased -= units;
            return Some(standing((class, quota), last, held.leased, None));
        }
        let wait = held.refused_until?.checked_duration_since(now).filter(|wait| !wait.is_zero())?;
        let full_in = last.full_in.saturating_sub(now.saturating_duration_since(at));
        Some(Standing { class, quota, left: 0, full_in, retry_in: Some(wait) })
    }
}

fn standing((class, quota): (Class, u64), taken: Taken, leased: u64, retry_in: Option<Duration>) -> Standing {
    let left = (taken.left + leased).min(quota);
    Standing { class, quota, left, full_in: taken.full_in, retry_in }
}

impl Standing {
    /// Of a refusal: when to come again, and a sentence about it.
    pub fn refused(&self) -> Option<(Duration, String)> {
        let (quota, what) = (self.quota, self.class.what());
        let detail = format!("the tenant may have {quota} {what} a minute, and has had them");
        self.retry_in.map(|retry_in| (retry_in, detail))
    }

    /// What the answer's headers say of the bucket.
    pub fn headers(&self) -> [(&'static str, String); 2] {
        let name = self.class.name();
        let policy = format!("\"{name}\";q={};w={}", self.quota, WINDOW.as_secs());
        let limit = format!("\"{name}\";r={};t={}", self.left, self.full_in.as_secs_f64().ceil());
        [("ratelimit-policy", policy), ("ratelimit", limit)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { reads: 1200, expensive: 5, values: 0 };

    async fn take(rates: &Rates, tenant: i32, class: Class, own: TenantRates) -> Option<Standing> {
        rates.take(None, TenantId(tenant), class, own, (1, false)).await
    }

    #[tokio::test]
    async fn a_tenant_over_its_limit_leaves_the_others_theirs() {
        let rates = Rates::new(SETTINGS);
        let usual = TenantRates::default();
        for n in 0..5 {
            let standing = take(&rates, 1, Class::Expensive, usual).await.unwrap();
            assert!(standing.retry_in.is_none(), "{n}: {standing:?}");
            assert_eq!(standing.left, 4 - n);
        }
        for _ in 0..1000 {
            let refused = take(&rates, 1, Class::Expensive, usual).await.unwrap();
            let wait = refused.retry_in.unwrap();
            assert!(wait > Duration::from_secs(10) && wait <= Duration::from_secs(12), "{wait:?}");
        }
        assert!(take(&rates, 2, Class::Expensive, usual).await.unwrap().retry_in.is_none());
        assert!(take(&rates, 1, Class::Read, usual).await.unwrap().retry_in.is_none());
        assert!(take(&rates, 1, Class::Values, usual).await.is_none(), "no limit");
        let own = TenantRates { expensive: Some(0), ..usual };
        assert!(take(&rates, 1, Class::Expensive, own).await.is_none(), "no limit of its own");
    }

    #[tokio::test]
    async fn what_is_taken_together_is_used_one_by_one_and_no_more() {
        let rates = Rates::new(SETTINGS);
        let mut had = 0;
        while take(&rates, 1, Class::Read, TenantRates::default()).await.unwrap().retry_in.is_none() {
            had += 1;
        }
        // While they are counted some come.
        assert!((1200..1260).contains(&had), "{had}");
    }

    #[tokio::test]
    async fn values_are_paid_for_after_they_were_counted() {
        let rates = Rates::new(Settings { values: 60, ..SETTINGS });
        let usual = TenantRates::default();
        let forced = rates.take(None, TenantId(1), Class::Values, usual, (100, true)).await.unwrap();
        assert!(forced.retry_in.is_none());
        let wait = take(&rates, 1, Class::Values, usual).await.unwrap().retry_in.unwrap();
        assert!(wait > Duration::from_secs(35), "{wait:?}");
    }
}
