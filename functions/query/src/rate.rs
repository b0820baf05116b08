//! Rate limits: so many requests and values a minute for each tenant.
//!
//! A tenant has three buckets: reads, expensive reads (those that may go through much), and values
//! sent. They are in Redis, shared by all instances; where Redis is away each instance counts for
//! itself. An instance takes units for the next tenth of a second together, so that a tenant with a
//! high limit costs a round trip now and then and not with every request; what it does not use in a
//! second is given up. A refusal is remembered until it may change: a tenant over its limit costs
//! next to nothing.
//!
//! Headers are those of draft-ietf-httpapi-ratelimit-headers-10.

use crate::caller::{Caller, Known};
use crate::context::Context;
use crate::problem::Problem;
use axum::extract::{FromRequestParts as _, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use eaves_cache::{Bucket, Cache, Rate, Taken, Wanted};
use eaves_model::TenantId;
use eaves_settings::functions::Rates as Settings;
use eaves_store::read::TenantRates;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
/// How long units that were taken together may be used.
const LEASE: Duration = Duration::from_secs(1);
/// Such a part of the quota is taken together: a tenth of a second's worth.
const PART: u64 = 600;
/// Buckets that are remembered; then those that are not in use are forgotten.
const MOST_BUCKETS: usize = 30_000;

/// What a request is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// Reads little, or changes something.
    Read,
    /// May go through much.
    Expensive,
    /// Brings values.
    Values,
}

impl Class {
    fn of(method: &Method, path: &str) -> Self {
        match path {
            "/v1/telemetry" if method == Method::POST => Self::Values,
            "/v1/entities/search"
            | "/v1/aggregates"
            | "/v1/attributes/{name}/distribution"
            | "/v1/hot/simulate"
            | "/v1/admin/entities"
            | "/v1/admin/advice" => Self::Expensive,
            _ => Self::Read,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Expensive => "expensive",
            Self::Values => "values",
        }
    }
}

/// Values that an answer says were accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AcceptedValues(pub(crate) u64);

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
pub(crate) struct Rates {
    settings: Settings,
    held: Mutex<HashMap<(TenantId, Class), Held>>,
}

/// How it stands with a bucket.
#[derive(Debug, Clone, Copy)]
struct Standing {
    quota: u64,
    left: u64,
    full_in: Duration,
    /// Refused: when to come again.
    retry_in: Option<Duration>,
}

impl Rates {
    pub(crate) fn new(settings: Settings) -> Self {
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
    async fn take(
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
            return Some(standing(quota, taken, 0, Some(taken.retry_in)));
        }
        if !forced {
            let until = held.until.filter(|until| *until > now);
            held.leased = until.map_or(0, |_| held.leased) + taken.units - units;
            held.until = Some(now + LEASE);
        }
        Some(standing(quota, taken, held.leased, None))
    }

    /// From what was taken before, or a refusal that still holds.
    fn leased(&self, tenant: TenantId, class: Class, quota: u64, units: u64) -> Option<Standing> {
        let now = Instant::now();
        let mut all = self.lock();
        let held = all.get_mut(&(tenant, class))?;
        let (last, at) = held.last?;
        if held.until.is_some_and(|until| until > now) && held.leased >= units {
            held.leased -= units;
            return Some(standing(quota, last, held.leased, None));
        }
        let wait = held.refused_until?.checked_duration_since(now).filter(|wait| !wait.is_zero())?;
        let full_in = last.full_in.saturating_sub(now.saturating_duration_since(at));
        Some(Standing { quota, left: 0, full_in, retry_in: Some(wait) })
    }
}

fn standing(quota: u64, taken: Taken, leased: u64, retry_in: Option<Duration>) -> Standing {
    Standing { quota, left: (taken.left + leased).min(quota), full_in: taken.full_in, retry_in }
}

impl Standing {
    /// Adds the bucket to the headers.
    fn tell(self, class: Class, headers: &mut HeaderMap) {
        let name = class.name();
        let policy = format!("\"{name}\";q={};w={}", self.quota, WINDOW.as_secs());
        let limit = format!("\"{name}\";r={};t={}", self.left, self.full_in.as_secs_f64().ceil());
        for (header, value) in [("ratelimit-policy", policy), ("ratelimit", limit)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(header, value);
            }
        }
    }
}

/// Lets a request through, or answers 429.
pub(crate) async fn limit(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map(|p| p.as_str().to_owned()).unwrap_or_default();
    if !path.starts_with("/v1/") {
        return next.run(request).await;
    }
    let class = Class::of(request.method(), &path);
    let (mut parts, body) = request.into_parts();
    // Whoever has no token is told so by the handler; operators are counted by nobody.
    let Ok(caller) = Caller::from_request_parts(&mut parts, &context).await else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    let (tenant, own) = (caller.tenant.id, caller.guards.rates);
    let cache = context.cache.as_ref();
    let standing = context.rates.take(cache, tenant, class, own, (1, false)).await;
    if let Some(Standing { quota, retry_in: Some(retry_in), .. }) = standing {
        let what = match class {
            Class::Read => "requests",
            Class::Expensive => "searches and figures",
            Class::Values => "values",
        };
        let detail = format!("the tenant may have {quota} {what} a minute, and has had them");
        let mut response = Problem::rate_limited(detail, retry_in).into_response();
        if let Some(standing) = standing {
            standing.tell(class, response.headers_mut());
        }
        return response;
    }
    parts.extensions.insert(Known(caller));
    let mut response = next.run(Request::from_parts(parts, body)).await;
    // How many values a body has is known when it was read: all but one are paid for now.
    let more = response.extensions().get::<AcceptedValues>().map_or(0, |n| n.0.saturating_sub(1));
    let standing = match more {
        0 => standing,
        more => context.rates.take(cache, tenant, class, own, (more, true)).await,
    };
    if let Some(standing) = standing {
        standing.tell(class, response.headers_mut());
    }
    response
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

    #[test]
    fn what_may_go_through_much_is_counted_apart() {
        for (method, path, class) in [
            (Method::POST, "/v1/entities/search", Class::Expensive),
            (Method::GET, "/v1/attributes/{name}/distribution", Class::Expensive),
            (Method::GET, "/v1/entities/{external_id}", Class::Read),
            (Method::POST, "/v1/telemetry", Class::Values),
        ] {
            assert_eq!(Class::of(&method, path), class, "{path}");
        }
    }
}
