//! Names to identifiers, cached: tenants, entities, attributes, plugin versions.
//!
//! Identifiers are registered in transactions of their own, before the batch's, so that a
//! cached identifier is always a committed one.

use eaves_model::tenant::Tenant;
use eaves_model::{AttributeId, EntityId, PluginId, PointPolicy, TenantId, TimeLimits, ValueType};
use eaves_registry::Activation;
use eaves_store::StoreError;
use eaves_store::ingest::{Attribute, IngestStore, PluginVersion, TenantRules};
use quick_cache::{Equivalent, unsync::Cache};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Entities remembered per instance; about 100 bytes each.
const ENTITIES: usize = 200_000;
/// How long a tenant's settings and attributes are trusted: a change of its rules holds
/// in every instance after this time.
const FRESH: Duration = Duration::from_secs(10);

/// An attribute with what the batch needs of it prepared.
#[derive(Debug)]
pub(crate) struct KnownAttribute {
    pub(crate) row: Attribute,
    /// `"name":`, escaped as JSON.
    pub(crate) json_key: Box<str>,
    /// Its own limits, or its tenant's.
    pub(crate) limits: TimeLimits,
}

/// An entity as registered.
#[derive(Clone, Debug)]
pub(crate) struct KnownEntity {
    pub(crate) id: EntityId,
    pub(crate) entity_type: Arc<str>,
}

#[derive(PartialEq, Eq, Hash)]
struct EntityKey(TenantId, Box<str>);

#[derive(Hash)]
struct EntityKeyRef<'a>(TenantId, &'a str);

impl Equivalent<EntityKey> for EntityKeyRef<'_> {
    fn equivalent(&self, key: &EntityKey) -> bool {
        self.0 == key.0 && self.1 == &*key.1
    }
}

struct KnownTenant {
    tenant: Option<TenantRules>,
    attributes: HashMap<Box<str>, Arc<KnownAttribute>>,
    read_at: Instant,
}

/// What this instance knows of the platform's names.
pub(crate) struct Directory {
    tenants: HashMap<Box<str>, KnownTenant>,
    entities: Cache<EntityKey, KnownEntity>,
    plugins: HashMap<(TenantId, String, String, bool), PluginId>,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self { tenants: HashMap::new(), entities: Cache::new(ENTITIES), plugins: HashMap::new() }
    }

    /// Makes sure that each named tenant is known or known not to exist.
    pub(crate) async fn load_tenants(
        &mut self,
        store: &mut IngestStore,
        names: &[&str],
    ) -> Result<(), StoreError> {
        // That one does not exist is asked for in each batch that names it: whoever creates a
        // tenant sends to it at once.
        self.tenants.retain(|_, t| t.tenant.is_some() && t.read_at.elapsed() < FRESH);
        let unknown: Vec<&str> = names.iter().copied().filter(|n| !self.tenants.contains_key(*n)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut found: HashMap<String, TenantRules> =
            store.tenants(&unknown).await?.into_iter().map(|t| (t.tenant.name.clone(), t)).collect();
        for name in unknown {
            let known = KnownTenant {
                tenant: found.remove(name),
                attributes: HashMap::new(),
                read_at: Instant::now(),
            };
            self.tenants.insert(name.into(), known);
        }
        Ok(())
    }

    /// The tenant of that name, if it exists. Call [`Self::load_tenants`] first.
    pub(crate) fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenants.get(name).and_then(|t| t.tenant.as_ref()).map(|rules| &rules.tenant)
    }

    /// What a second value for a point of the tenant does.
    pub(crate) fn points(&self, name: &str) -> PointPolicy {
        self.tenants.get(name).and_then(|t| t.tenant.as_ref()).map(|rules| rules.points).unwrap_or_default()
    }

    pub(crate) fn entity(&mut self, tenant: TenantId, name: &str) -> Option<KnownEntity> {
        self.entities.get(&EntityKeyRef(tenant, name)).cloned()
    }

    /// Registers entities (or, for a strict tenant, looks them up) and remembers them.
    pub(crate) async fn add_entities(
        &mut self,
        store: &mut IngestStore,
        tenant: &Tenant,
        entities: &[(&str, &str)],
    ) -> Result<(), StoreError> {
        if entities.is_empty() {
            return Ok(());
        }
        for entity in store.register_entities(tenant.id, entities, !tenant.strict).await? {
            let known = KnownEntity { id: entity.id, entity_type: entity.entity_type.into() };
            self.entities.insert(EntityKey(tenant.id, entity.external_id.into()), known);
        }
        Ok(())
    }

    pub(crate) fn attribute(&self, tenant: &str, name: &str) -> Option<&Arc<KnownAttribute>> {
        self.tenants.get(tenant).and_then(|t| t.attributes.get(name))
    }

    /// Registers attributes (or, for a strict tenant, looks them up) and remembers them.
    /// An attribute that exists keeps its type.
    pub(crate) async fn add_attributes(
        &mut self,
        store: &mut IngestStore,
        tenant: &Tenant,
        attributes: &[(&str, ValueType)],
    ) -> Result<(), StoreError> {
        if attributes.is_empty() {
            return Ok(());
        }
        let rows = store.register_attributes(tenant.id, attributes, !tenant.strict).await?;
        let Some(known) = self.tenants.get_mut(tenant.name.as_str()) else { return Ok(()) };
        for row in rows {
            let mut json_key = serde_json::Value::from(row.name.as_str()).to_string();
            json_key.push(':');
            let name = row.name.as_str().into();
            let limits = limits(known.tenant.as_ref(), row.id);
            known
                .attributes
                .insert(name, Arc::new(KnownAttribute { row, json_key: json_key.into(), limits }));
        }
        Ok(())
    }

    /// The number that history rows carry for a plugin version; one of its own for values
    /// that were taken although it failed on them.
    pub(crate) async fn plugin(
        &mut self,
        store: &mut IngestStore,
        tenant: TenantId,
        active: &Activation,
        validated: bool,
    ) -> Result<PluginId, StoreError> {
        let key = (tenant, active.digest.clone(), active.settings_digest.clone(), validated);
        if let Some(id) = self.plugins.get(&key) {
            return Ok(*id);
        }
        let version = PluginVersion {
            name: &active.name,
            version: &active.version,
            digest: &active.digest,
            settings_digest: &active.settings_digest,
            validated,
        };
        let id = store.register_plugin_version(tenant, &version).await?;
        self.plugins.insert(key, id);
        Ok(id)
    }

    /// Forgets all names: after a failover they may not be there.
    pub(crate) fn forget(&mut self) {
        *self = Self::new();
    }
}

/// The limits that hold for an attribute of the tenant.
fn limits(rules: Option<&TenantRules>, attribute: AttributeId) -> TimeLimits {
    let Some(rules) = rules else { return TimeLimits::default() };
    let own = rules.attributes.binary_search_by_key(&attribute, |(id, _)| *id).ok();
    own.map(|at| rules.attributes[at].1).unwrap_or_default().or(rules.limits)
}
