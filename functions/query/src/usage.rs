//! What queries ask of attributes: counted in memory, written to the primary every few seconds
//! with a request of the tenant.
//!
//! Only what a query names counts: to filter by it, in `fields`, or as the attribute of a
//! history. One that wants all hot attributes says nothing about any of them, and counting it
//! would keep hot what is hot.

use crate::sources::Server;
use eaves_model::TenantId;
use eaves_store::read::Asked;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long counts wait. Nothing is written in the background: between two requests a Lambda
/// instance is frozen, and a statement under way with it.
const PACE: Duration = Duration::from_secs(5);
/// How long a request waits for the write. Counts that did not make it go with a later one.
const PATIENCE: Duration = Duration::from_millis(200);
/// Most attributes of a tenant between two writes, and most tenants: further ones do not count.
const ATTRIBUTES: usize = 10_000;
const TENANTS: usize = 10_000;

#[derive(Default)]
struct Pending {
    written: Option<Instant>,
    asked: HashMap<String, Asked>,
}

/// What queries asked of attributes.
#[derive(Default)]
pub(crate) struct Usage(Mutex<HashMap<TenantId, Pending>>);

impl Usage {
    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one query: what it filters by, each with whether by a range, and what it wants returned.
    pub(crate) fn note(&self, tenant: TenantId, filters: &[(&str, bool)], returns: &[&str], took: Duration) {
        let ranges: HashSet<&str> =
            filters.iter().filter(|(_, range)| *range).map(|(name, _)| *name).collect();
        let filters: HashSet<&str> = filters.iter().map(|(name, _)| *name).collect();
        let returns: HashSet<&str> = returns.iter().copied().collect();
        let names: HashSet<&str> = filters.union(&returns).copied().collect();
        if names.is_empty() {
            return;
        }
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let mut all = self.lock();
        if all.len() >= TENANTS && !all.contains_key(&tenant) {
            all.retain(|_, pending| !pending.asked.is_empty());
            if all.len() >= TENANTS {
                return;
            }
        }
        let pending = all.entry(tenant).or_default();
        for name in names {
            if pending.asked.len() >= ATTRIBUTES && !pending.asked.contains_key(name) {
                continue;
            }
            let asked = pending.asked.entry(name.to_owned()).or_default();
            asked.queries += 1;
            asked.filters += u64::from(filters.contains(name));
            asked.ranges += u64::from(ranges.contains(name));
            asked.returns += u64::from(returns.contains(name));
            asked.query_us = asked.query_us.saturating_add(us);
        }
    }

    /// Writes what waits of the tenant, if it waits long enough, or `now`.
    pub(crate) async fn write(&self, tenant: TenantId, primary: &Server, now: bool) {
        let asked = {
            let mut all = self.lock();
            let Some(pending) = all.get_mut(&tenant) else { return };
            let due = now || pending.written.is_none_or(|at| at.elapsed() >= PACE);
            if pending.asked.is_empty() || !due || !primary.lets_through() {
                return;
            }
            pending.written = Some(Instant::now());
            std::mem::take(&mut pending.asked)
        };
        let asked: Vec<Asked> = asked.into_iter().map(|(name, a)| Asked { name, ..a }).collect();
        let written = tokio::time::timeout(PATIENCE, primary.reader.add_queries(tenant, &asked)).await;
        match written {
            Ok(Ok(())) => {}
            // It may have been written all the same; they are estimates.
            Err(_) => tracing::debug!("query.usage_write_slow"),
            Ok(Err(e)) => tracing::warn!(error = %e, "query.usage_write_failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_counts_once_for_an_attribute_that_it_names_twice() {
        let usage = Usage::default();
        let tenant = TenantId(1);
        let filters = [("a", false), ("a", true), ("b", false), ("a", false)];
        usage.note(tenant, &filters, &["a"], Duration::from_micros(7));
        usage.note(tenant, &[], &[], Duration::from_micros(7));
        let all = usage.lock();
        let asked = &all[&tenant].asked;
        let a = Asked { queries: 1, filters: 1, ranges: 1, returns: 1, query_us: 7, ..Asked::default() };
        assert_eq!(asked["a"], a);
        assert_eq!(asked["b"], Asked { returns: 0, ranges: 0, ..a });
        assert_eq!(asked.len(), 2);
    }
}
