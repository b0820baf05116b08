//! What is asked for most is in the cache before it is asked for again: when an instance starts, and
//! when Redis comes back with nothing.
//!
//! Counted in memory and added up in the cache with a request every ten seconds. A tenant is warmed beside
//! its first request; a function that is frozen meanwhile goes on with the next one.

use crate::context::Context;
use crate::entity;
use eaves_cache::Named;
use eaves_freshness::{Demand, Lag};
use eaves_model::TenantId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long counts wait.
const PACE: Duration = Duration::from_secs(10);
/// Entities of a tenant that an instance counts, and tenants: further ones do not count.
const ENTITIES: usize = 2_000;
const TENANTS: usize = 1_000;
/// Entities that a tenant is warmed with.
const WARMED: usize = 100;
/// Stands for the tenant where an entity's name would: no entity is called so.
const ALL: &str = "";

struct Counted {
    /// Since the last time they were added up.
    new: HashMap<String, u32>,
    /// Since the start, to warm a cache with that has lost everything.
    all: HashMap<String, u32>,
    written: Instant,
}

/// What is asked for.
#[derive(Default)]
pub(crate) struct Warm(Mutex<HashMap<TenantId, Counted>>);

fn count(counts: &mut HashMap<String, u32>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count = count.saturating_add(1);
    } else if counts.len() < ENTITIES {
        counts.insert(name.to_owned(), 1);
    }
}

fn top(counts: &HashMap<String, u32>) -> Vec<String> {
    let mut all: Vec<_> = counts.iter().collect();
    all.sort_unstable_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    all.into_iter().take(WARMED).map(|(name, _)| name.clone()).collect()
}

enum Due {
    Nothing,
    First,
    Counts(Vec<(String, u32)>),
}

impl Warm {
    fn lock(&self) -> MutexGuard<'_, HashMap<TenantId, Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, tenant: TenantId, name: &str) -> Due {
        let mut tenants = self.lock();
        if tenants.len() >= TENANTS && !tenants.contains_key(&tenant) {
            return Due::Nothing;
        }
        let mut first = false;
        let counted = tenants.entry(tenant).or_insert_with(|| {
            first = true;
            Counted { new: HashMap::new(), all: HashMap::new(), written: Instant::now() }
        });
        count(&mut counted.new, name);
        count(&mut counted.all, name);
        if first {
            return Due::First;
        }
        if counted.written.elapsed() < PACE {
            return Due::Nothing;
        }
        counted.written = Instant::now();
        Due::Counts(std::mem::take(&mut counted.new).into_iter().collect())
    }

    fn top(&self, tenant: TenantId) -> Vec<String> {
        self.lock().get(&tenant).map(|counted| top(&counted.all)).unwrap_or_default()
    }
}

/// Counts a request for an entity, and does what is due beside it.
pub(crate) fn note(context: &Arc<Context>, tenant: TenantId, external_id: &str) {
    if context.cache.is_none() {
        return;
    }
    let due = context.warm.note(tenant, external_id);
    if matches!(due, Due::Nothing) {
        return;
    }
    let context = Arc::clone(context);
    tokio::spawn(async move {
        let Some(cache) = &context.cache else { return };
        let names = match due {
            Due::Nothing => return,
            Due::First => cache.most_asked(tenant, WARMED as u32).await.unwrap_or_default(),
            Due::Counts(counts) => match cache.note_asked(tenant, &counts).await {
                // It knew of nothing: it is another one, or has lost everything.
                Ok(false) => context.warm.top(tenant),
                _ => return,
            },
        };
        warm(&context, tenant, names).await;
    });
}

/// Sees to it that the cache has the entities, and that they are young.
async fn warm(context: &Context, tenant: TenantId, names: Vec<String>) {
    let Some(cache) = &context.cache else { return };
    // Of several instances that start together, one.
    let Ok(Some(lease)) = cache.lease(tenant, ALL).await else { return };
    let mut wanted = Vec::new();
    for name in &names {
        let young = entity::cached(context, tenant, name).await;
        if young.is_none_or(|(_, age)| age >= Demand::EVENTUAL.bound()) {
            wanted.push(name.as_str());
        }
    }
    if let (false, Some(server)) = (wanted.is_empty(), context.sources.any().next()) {
        let done = server.reader.entities_named(tenant, &wanted).await;
        server.note(&done);
        if let Ok(found) = done {
            let lag = Lag::AtMost(found.behind());
            tracing::info!(tenant.id = %tenant, entities = found.value.len(), "query.cache_warmed");
            for row in &found.value {
                let named = Named { entity: row.entity, entity_type: row.entity_type.clone() };
                context.remember_named(tenant, &row.external_id, named).await;
            }
            entity::fill(context, tenant, &found.value, (found.at, lag), None).await;
        }
    }
    drop(cache.release(lease).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_most_is_known() {
        let (warm, tenant) = (Warm::default(), TenantId(1));
        assert!(matches!(warm.note(tenant, "a"), Due::First));
        for name in ["b", "c", "b", "b", "c"] {
            assert!(matches!(warm.note(tenant, name), Due::Nothing), "not due yet");
        }
        assert_eq!(warm.top(tenant), ["b", "c", "a"]);
        assert!(warm.top(TenantId(2)).is_empty());
        for n in 0..2 * ENTITIES {
            drop(warm.note(tenant, &n.to_string()));
        }
        assert_eq!(warm.lock()[&tenant].all.len(), ENTITIES);
        warm.lock().get_mut(&tenant).unwrap().written -= PACE;
        let Due::Counts(counts) = warm.note(tenant, "b") else { panic!("not due") };
        assert_eq!(counts.iter().find(|(name, _)| name == "b").map(|(_, n)| *n), Some(4));
    }
}
