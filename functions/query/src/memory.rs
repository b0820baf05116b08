//! What an instance remembers between requests: things that hardly ever change.

use eaves_cache::Named;
use eaves_model::TenantId;
use eaves_model::tenant::Tenant;
use eaves_store::read::AttributeRow;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a tenant is believed without looking again.
const TENANT_FOR: Duration = Duration::from_secs(60);
/// How long an attribute's unit is believed; its type never changes.
const ATTRIBUTE_FOR: Duration = Duration::from_secs(10);

type Key = (TenantId, Box<str>);

/// A key to look up by, borrowed: it hashes as the pair does.
#[derive(Hash)]
struct Of<'a>(TenantId, &'a str);

impl Equivalent<Key> for Of<'_> {
    fn equivalent(&self, (tenant, name): &Key) -> bool {
        self.0 == *tenant && self.1 == &**name
    }
}

/// Bounded by number; the least useful go first.
pub(crate) struct Memory {
    tenants: Cache<Box<str>, (Tenant, Instant)>,
    entities: Cache<Key, Named>,
    attributes: Cache<Key, (Arc<AttributeRow>, Instant)>,
}

/// Something remembered.
pub(crate) enum Recall<T> {
    /// Young enough to be used.
    Fresh(T),
    /// To be looked up again, and used if that fails.
    Old(T),
    /// Nothing.
    Nothing,
}

impl<T> Recall<T> {
    fn of(found: Option<(T, Instant)>, for_time: Duration) -> Self {
        match found {
            Some((value, since)) if since.elapsed() < for_time => Self::Fresh(value),
            Some((value, _)) => Self::Old(value),
            None => Self::Nothing,
        }
    }
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { tenants: Cache::new(10_000), entities: Cache::new(100_000), attributes: Cache::new(100_000) }
    }

    pub(crate) fn tenant(&self, name: &str) -> Recall<Tenant> {
        Recall::of(self.tenants.get(name), TENANT_FOR)
    }

    pub(crate) fn remember_tenant(&self, tenant: Tenant) {
        self.tenants.insert(tenant.name.as_str().into(), (tenant, Instant::now()));
    }

    pub(crate) fn entity(&self, tenant: TenantId, external_id: &str) -> Option<Named> {
        self.entities.get(&Of(tenant, external_id))
    }

    pub(crate) fn remember_entity(&self, tenant: TenantId, external_id: &str, named: Named) {
        self.entities.insert((tenant, external_id.into()), named);
    }

    pub(crate) fn attribute(&self, tenant: TenantId, name: &str) -> Recall<Arc<AttributeRow>> {
        Recall::of(self.attributes.get(&Of(tenant, name)), ATTRIBUTE_FOR)
    }

    pub(crate) fn remember_attribute(&self, tenant: TenantId, row: Arc<AttributeRow>) {
        self.attributes.insert((tenant, row.name.as_str().into()), (row, Instant::now()));
    }
}
