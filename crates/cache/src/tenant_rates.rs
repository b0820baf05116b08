//! Rate limits and quotas: so many requests and values a minute and a day for each tenant, whichever
//! function answers.
//!
//! A tenant has three buckets: reads, expensive reads (those that may go through much), and values
//! sent. They are in Redis, shared by all instances; where Redis is away each instance counts for
//! itself. An instance takes units for the next tenth of a second together, so that a tenant with a
//! high limit costs a round trip now and then and not with every request; what it does not use in a
//! second is given up. A refusal is remembered until it may change: a tenant over its limit costs
//! next to nothing.
//!
//! Beside each bucket a tenant may have a quota of the day, which is counted in the same round trip
//! ([`Today`]). It starts again at midnight UTC, and what is taken together and not used does not count.
//! An instance tells what it used when it next asks, so a little more than the quota may be had: for each
//! instance at most what it takes together, and at most a hundredth of what is left.
//!
//! Headers are those of draft-ietf-httpapi-ratelimit-headers-10. What a request is counted as is for
//! the function to say.

use crate::quota::{DAY_S, Day};
use crate::{Bucket, Cache, CacheError, Rate, Taken, Today, Wanted};
use eaves_model::tenant::TenantLimits;
use eaves_model::{TenantId, Timestamp};
use eaves_settings::functions::{Quotas, Rates as Settings};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The headers, and what they say, for descriptions of an API.
pub const RATE_HEADERS: [(&str, &str); 2] = [
    (
        "RateLimit-Policy",
        "`\"reads\";q=600000;w=60`: what the request was counted as, and how much may be had in how many seconds. \
         Where the tenant has a quota, that of the day follows: `, \"reads-day\";q=5000000;w=86400`",
    ),
    (
        "RateLimit",
        "`\"reads\";r=599999;t=1`: what is left, and the seconds until all is there again; of a quota \
         (`, \"reads-day\";r=4999999;t=7200`) the seconds until midnight UTC",
    ),
];

const WINDOW: Duration = Duration::from_secs(60);
/// How long units that were taken together may be used.
const LEASE: Duration = Duration::from_secs(1);
/// Such a part of a minute's units is taken together: a tenth of a second's worth.
const PART: u64 = 600;
/// Units that are taken together where there is a quota and no rate.
const TOGETHER: u64 = 1000;
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
    /// What is used of the quota.
    day: Day,
}

/// The buckets of an instance.
pub struct Rates {
    settings: Settings,
    quotas: Quotas,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    held: Mutex<HashMap<(TenantId, Class), Held>>,
}

/// What holds for a request.
#[derive(Clone, Copy)]
struct Limits {
    class: Class,
    /// Units a minute.
    rate: Option<u64>,
    /// The quota, and its day.
    today: Option<Today>,
}

/// How it stands with a bucket.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    class: Class,
    rate: Option<Part>,
    quota: Option<Part>,
    refused: Option<Refused>,
}

/// How it stands with a rate or a quota.
#[derive(Debug, Clone, Copy)]
struct Part {
    most: u64,
    left: u64,
    full_in: Duration,
}

/// By what a request is refused, and when to come again.
#[derive(Debug, Clone, Copy)]
enum Refused {
    Rate(Duration),
    /// With the day's number.
    Quota(Duration, u64),
}

/// Why a request is one too many: when to come again, and a sentence about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The tenant has had what it may have in a minute.
    Rate(Duration, String),
    /// The tenant has had what it may have in a day.
    Quota(Duration, String),
}

impl Rates {
    /// With the rates and quotas of tenants that have none of their own.
    pub fn new(settings: Settings, quotas: Quotas) -> Self {
        Self { settings, quotas, clock: Box::new(SystemTime::now), held: Mutex::default() }
    }

    /// With another clock for days, for tests.
    #[doc(hidden)]
    pub fn with_clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), ..self }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, Class), Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds for a class; `None` where nothing does.
    fn limits(&self, class: Class, own: TenantLimits) -> Option<Limits> {
        let (rates, quotas) = (own.rates, own.quotas);
        let (rate, quota) = match class {
            Class::Read => {
                (rates.reads.unwrap_or(self.settings.reads.into()), quotas.reads.unwrap_or(self.quotas.reads))
            }
            Class::Expensive => (
                rates.expensive.unwrap_or(self.settings.expensive.into()),
                quotas.expensive.unwrap_or(self.quotas.expensive),
            ),
            Class::Values => (
                rates.values.unwrap_or(self.settings.values.into()),
                quotas.values.unwrap_or(self.quotas.values),
            ),
        };
        if rate == 0 && quota == 0 {
            return None;
        }
        let today = (quota > 0).then(|| Today::at((self.clock)(), quota));
        Some(Limits { class, rate: (rate > 0).then_some(rate), today })
    }

    /// Takes units; `None` where there is no limit. What is `forced` is taken in any case.
    pub async fn take(
        &self,
        cache: Option<&Cache>,
        tenant: TenantId,
        class: Class,
        own: TenantLimits,
        units: (u64, bool),
    ) -> Option<Standing> {
        let mut limits = self.limits(class, own)?;
        if let Some(standing) = self.held(tenant, &mut limits, units) {
            return Some(standing);
        }
        let (units, forced) = units;
        // Values are paid for as they come.
        let together = match limits.rate {
            _ if forced || class == Class::Values => 0,
            Some(rate) => rate / PART,
            None => TOGETHER,
        };
        let wanted = Wanted { least: units, most: units.max(together), forced };
        let heard = match cache {
            Some(cache) => cache.take(tenant, class.name(), limits.bucket(), wanted, limits.today).await,
            None => Err(CacheError::Resting),
        };
        let now = Instant::now();
        let mut all = self.lock();
        if all.len() >= MOST_BUCKETS && !all.contains_key(&(tenant, class)) {
            all.retain(|_, held| held.last.is_some_and(|(_, at)| at.elapsed() < WINDOW));
        }
        let held = all.entry((tenant, class)).or_default();
        let taken = match heard {
            Ok(taken) => {
                if let Some(today) = limits.today {
                    held.day.turn(today.day);
                    held.day.heard(taken.used_today);
                }
                Some(taken)
            }
            Err(e) => held.alone(&limits, wanted, matches!(e, CacheError::Resting), now),
        };
        if let Some(taken) = taken {
            held.last = Some((taken, now));
        }
        let taken = taken.unwrap_or_default();
        if taken.units < units {
            if let Some(refused) = held.over(&limits, units) {
                return Some(held.standing(&limits, now, Some(refused)));
            }
            held.refused_until = Some(now + taken.retry_in);
            return Some(held.standing(&limits, now, Some(Refused::Rate(taken.retry_in))));
        }
        if !forced {
            let leased = held.leased(now) + taken.units - units;
            // Of another day's quota nothing is left.
            let until = limits.today.map_or(LEASE, |today| today.ends_in.min(LEASE));
            (held.leased, held.until) = (leased, Some(now + until));
        }
        Some(held.standing(&limits, now, None))
    }

    /// From what was taken before, or a refusal that still holds. Otherwise `limits` has what Redis is
    /// to be told.
    fn held(&self, tenant: TenantId, limits: &mut Limits, (units, forced): (u64, bool)) -> Option<Standing> {
        let now = Instant::now();
        let mut all = self.lock();
        let held = all.get_mut(&(tenant, limits.class))?;
        if let Some(today) = limits.today {
            held.day.turn(today.day);
        }
        if !forced {
            if let Some(refused) = held.over(limits, units) {
                return Some(held.standing(limits, now, Some(refused)));
            }
            if held.leased(now) >= units && held.last.is_some() {
                held.leased -= units;
                if limits.today.is_some() {
                    held.day.uses(units);
                }
                return Some(held.standing(limits, now, None));
            }
            let wait = held.refused_until.and_then(|until| until.checked_duration_since(now));
            if let Some(wait) = wait.filter(|wait| !wait.is_zero() && limits.rate.is_some()) {
                return Some(held.standing(limits, now, Some(Refused::Rate(wait))));
            }
        }
        if let Some(today) = &mut limits.today {
            held.day.tell(today);
        }
        None
    }
}

impl Limits {
    fn bucket(&self) -> Option<Rate> {
        self.rate.map(|quota| Rate { quota, window: WINDOW })
    }
}

impl Held {
    /// Units that may still be used of those that were taken together.
    fn leased(&self, now: Instant) -> u64 {
        self.until.filter(|until| *until > now).map_or(0, |_| self.leased)
    }

    /// Refused, if so many units are more than what is left of the quota.
    fn over(&self, limits: &Limits, units: u64) -> Option<Refused> {
        let today = limits.today.filter(|today| today.is_over(self.day.used(), units))?;
        Some(Refused::Quota(today.ends_in, today.day))
    }

    /// Without Redis, which was not asked (`unsent`) or did not answer; `None`: the quota is used up.
    fn alone(&mut self, limits: &Limits, wanted: Wanted, unsent: bool, now: Instant) -> Option<Taken> {
        let Wanted { least, forced, .. } = wanted;
        if let Some(today) = limits.today {
            self.day.turn(today.day);
            if !forced && self.over(limits, least).is_some() {
                self.day.unheard(today, 0, unsent);
                return None;
            }
        }
        let taken = match limits.bucket() {
            Some(rate) => self.own.take(rate, wanted, now),
            None => Taken { units: least, ..Taken::default() },
        };
        if let Some(today) = limits.today {
            self.day.unheard(today, taken.units.min(least), unsent);
        }
        Some(taken)
    }

    fn standing(&self, limits: &Limits, now: Instant, refused: Option<Refused>) -> Standing {
        let rate = limits.rate.map(|most| match self.last {
            Some((taken, at)) => Part {
                most,
                left: (taken.left + self.leased(now)).min(most),
                full_in: taken.full_in.saturating_sub(now.saturating_duration_since(at)),
            },
            None => Part { most, left: most, full_in: Duration::ZERO },
        });
        let quota = limits.today.map(|today| Part {
            most: today.quota,
            left: today.quota.saturating_sub(self.day.used()),
            full_in: today.ends_in,
        });
        Standing { class: limits.class, rate, quota, refused }
    }
}

impl Standing {
    /// Of a refusal: by what, when to come again, and a sentence about it.
    pub fn refused(&self) -> Option<Refusal> {
        let (name, what) = (self.class.name(), self.class.what());
        Some(match self.refused? {
            Refused::Rate(retry_in) => {
                let most = self.rate.map_or(0, |part| part.most);
                let detail = format!("the tenant may have {most} {what} a minute, and has had them");
                Refusal::Rate(retry_in, detail)
            }
            Refused::Quota(retry_in, day) => {
                let most = self.quota.map_or(0, |part| part.most);
                let again =
                    i64::try_from((day + 1) * DAY_S * 1_000_000).ok().and_then(Timestamp::from_micros);
                let again = again.map_or_else(|| "midnight UTC".to_owned(), |again| again.to_string());
                let detail = format!(
                    "the tenant may have {most} {what} a day, and has had them: its quota \"{name}-day\" starts again at {again}"
                );
                Refusal::Quota(retry_in, detail)
            }
        })
    }

    /// What the answer's headers say of the bucket and the quota.
    pub fn headers(&self) -> [(&'static str, String); 2] {
        let name = self.class.name();
        let (mut policies, mut limits) = (String::new(), String::new());
        for (part, end, window) in [(self.rate, "", WINDOW.as_secs()), (self.quota, "-day", DAY_S)] {
            let Some(Part { most, left, full_in }) = part else { continue };
            let comma = if policies.is_empty() { "" } else { ", " };
            policies.push_str(&format!("{comma}\"{name}{end}\";q={most};w={window}"));
            limits.push_str(&format!("{comma}\"{name}{end}\";r={left};t={}", full_in.as_secs_f64().ceil()));
        }
        [("ratelimit-policy", policies), ("ratelimit", limits)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_model::tenant::{TenantQuotas, TenantRates};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::UNIX_EPOCH;

    const SETTINGS: Settings = Settings { reads: 1200, expensive: 5, values: 0 };
    const NONE: Quotas = Quotas { reads: 0, expensive: 0, values: 0 };
    /// 2026-03-01T22:00:00Z.
    const EVENING: u64 = 1_772_402_400;

    async fn take(rates: &Rates, tenant: i32, class: Class, own: TenantLimits) -> Option<Standing> {
        rates.take(None, TenantId(tenant), class, own, (1, false)).await
    }

    fn rate_wait(standing: &Standing) -> Duration {
        match standing.refused() {
            Some(Refusal::Rate(wait, _)) => wait,
            other => panic!("{other:?}"),
        }
    }

    /// An instance whose days go by the clock that comes with it.
    fn dated(settings: Settings, quotas: Quotas) -> (Rates, Arc<AtomicU64>) {
        let now = Arc::new(AtomicU64::new(EVENING));
        let clock = Arc::clone(&now);
        let read = move || UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed));
        (Rates::new(settings, quotas).with_clock(read), now)
    }

    #[tokio::test]
    async fn a_tenant_over_its_limit_leaves_the_others_theirs() {
        let rates = Rates::new(SETTINGS, NONE);
        let usual = TenantLimits::default();
        for n in 0..5 {
            let standing = take(&rates, 1, Class::Expensive, usual).await.unwrap();
            assert!(standing.refused().is_none(), "{n}: {standing:?}");
            assert_eq!(standing.rate.unwrap().left, 4 - n);
        }
        for _ in 0..1000 {
            let wait = rate_wait(&take(&rates, 1, Class::Expensive, usual).await.unwrap());
            assert!(wait > Duration::from_secs(10) && wait <= Duration::from_secs(12), "{wait:?}");
        }
        assert!(take(&rates, 2, Class::Expensive, usual).await.unwrap().refused().is_none());
        assert!(take(&rates, 1, Class::Read, usual).await.unwrap().refused().is_none());
        assert!(take(&rates, 1, Class::Values, usual).await.is_none(), "no limit");
        let own = TenantLimits { rates: TenantRates { expensive: Some(0), ..<_>::default() }, ..usual };
        assert!(take(&rates, 1, Class::Expensive, own).await.is_none(), "no limit of its own");
    }

    #[tokio::test]
    async fn what_is_taken_together_is_used_one_by_one_and_no_more() {
        let rates = Rates::new(SETTINGS, NONE);
        let mut had = 0;
        while take(&rates, 1, Class::Read, TenantLimits::default()).await.unwrap().refused().is_none() {
            had += 1;
        }
        // While they are counted some come.
        assert!((1200..1260).contains(&had), "{had}");
    }

    #[tokio::test]
    async fn values_are_paid_for_after_they_were_counted() {
        let rates = Rates::new(Settings { values: 60, ..SETTINGS }, NONE);
        let usual = TenantLimits::default();
        let forced = rates.take(None, TenantId(1), Class::Values, usual, (100, true)).await.unwrap();
        assert!(forced.refused().is_none());
        let wait = rate_wait(&take(&rates, 1, Class::Values, usual).await.unwrap());
        assert!(wait > Duration::from_secs(35), "{wait:?}");
    }

    #[tokio::test]
    async fn a_quota_ends_at_its_number_and_starts_again_at_midnight() {
        let (rates, clock) = dated(SETTINGS, Quotas { reads: 700, ..NONE });
        let usual = TenantLimits::default();
        let first = take(&rates, 1, Class::Read, usual).await.unwrap();
        let [(_, policy), (_, limit)] = first.headers();
        assert_eq!(policy, "\"reads\";q=1200;w=60, \"reads-day\";q=700;w=86400");
        assert_eq!(limit, "\"reads\";r=1199;t=1, \"reads-day\";r=699;t=7200");
        // What is taken together and used is counted one by one.
        for n in 1..700 {
            let standing = take(&rates, 1, Class::Read, usual).await.unwrap();
            assert!(standing.refused().is_none(), "{n}: {standing:?}");
            assert_eq!(standing.quota.unwrap().left, 699 - n);
        }
        for _ in 0..1000 {
            let refused = take(&rates, 1, Class::Read, usual).await.unwrap();
            let Some(Refusal::Quota(wait, detail)) = refused.refused() else { panic!("{refused:?}") };
            assert_eq!(wait, Duration::from_secs(7200));
            assert_eq!(
                detail,
                "the tenant may have 700 requests a day, and has had them: its quota \"reads-day\" starts again \
                 at 2026-03-02T00:00:00Z"
            );
            let [_, (_, limit)] = refused.headers();
            assert!(limit.ends_with("\"reads-day\";r=0;t=7200"), "{limit}");
        }
        // Nobody else is refused, and nothing else.
        assert!(take(&rates, 2, Class::Read, usual).await.unwrap().refused().is_none());
        let searches = take(&rates, 1, Class::Expensive, usual).await.unwrap();
        assert!(searches.quota.is_none() && searches.refused().is_none(), "{searches:?}");
        // A larger quota of its own holds at once, and so does none.
        let own =
            |reads| TenantLimits { quotas: TenantQuotas { reads: Some(reads), ..<_>::default() }, ..usual };
        let more = take(&rates, 1, Class::Read, own(702)).await.unwrap();
        assert_eq!((more.refused(), more.quota.unwrap().left), (None, 1));
        let free = take(&rates, 1, Class::Read, own(0)).await.unwrap();
        assert!(free.quota.is_none() && free.refused().is_none(), "{free:?}");
        assert!(take(&rates, 1, Class::Read, usual).await.unwrap().refused().is_some());

        clock.fetch_add(7199, Ordering::Relaxed);
        let late = take(&rates, 1, Class::Read, usual).await.unwrap();
        assert!(matches!(late.refused(), Some(Refusal::Quota(wait, _)) if wait == Duration::from_secs(1)));
        clock.fetch_add(1, Ordering::Relaxed);
        let next = take(&rates, 1, Class::Read, usual).await.unwrap();
        assert!(next.refused().is_none(), "{next:?}");
        assert_eq!((next.quota.unwrap().left, next.quota.unwrap().full_in.as_secs()), (699, DAY_S));
    }

    #[tokio::test]
    async fn a_quota_holds_without_a_rate_and_a_rate_within_a_quota() {
        let (rates, _) = dated(
            Settings { reads: 0, expensive: 5, values: 0 },
            Quotas { reads: 3, expensive: 100, values: 10 },
        );
        let usual = TenantLimits::default();
        for n in 0..5 {
            let standing = take(&rates, 1, Class::Read, usual).await.unwrap();
            assert_eq!(standing.refused().is_none(), n < 3, "{n}: {standing:?}");
            assert_eq!(standing.headers()[0].1, "\"reads-day\";q=3;w=86400");
        }
        for _ in 0..5 {
            take(&rates, 1, Class::Expensive, usual).await.unwrap();
        }
        for _ in 0..100 {
            let refused = take(&rates, 1, Class::Expensive, usual).await.unwrap();
            assert!(rate_wait(&refused) > Duration::ZERO);
            assert_eq!(refused.quota.unwrap().left, 95, "a refused request is not counted");
        }
        // Values are taken as long as any are left, and paid for as they come.
        assert!(take(&rates, 1, Class::Values, usual).await.unwrap().refused().is_none());
        let forced = rates.take(None, TenantId(1), Class::Values, usual, (99, true)).await.unwrap();
        assert_eq!((forced.refused(), forced.quota.unwrap().left), (None, 0));
        let refused = take(&rates, 1, Class::Values, usual).await.unwrap();
        assert!(matches!(refused.refused(), Some(Refusal::Quota(..))), "{refused:?}");
    }
}
