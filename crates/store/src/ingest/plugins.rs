//! Plugins as the write path registers, feeds and reports them.

use super::IngestStore;
use crate::StoreError;
use crate::db::Parameter;
use eaves_model::{EntityId, PluginId, TenantId};
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use tokio_postgres::types::Type;

/// A plugin version as history rows name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PluginVersion<'a> {
    /// The plugin's name.
    pub name: &'a str,
    /// What its author calls the version.
    pub version: &'a str,
    /// SHA-256 of the component, in hex.
    pub digest: &'a str,
    /// SHA-256 of the settings, in hex.
    pub settings_digest: &'a str,
    /// Whether it judged the values; not, where they were taken although it failed.
    pub validated: bool,
}

/// The latest hot value of an attribute of an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct HotValue {
    /// The entity.
    pub entity: EntityId,
    /// The attribute's name.
    pub name: String,
    /// The value, as `Value::write_json` wrote it.
    pub value_json: String,
    /// When it was seen, in microseconds since 1970.
    pub observed_at: i64,
}

/// What a plugin version did since it was last written down. Counts only grow.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PluginFigures {
    /// Whose.
    pub tenant: i32,
    /// The plugin's name.
    pub name: String,
    /// What its author calls the version.
    pub version: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// `active`, `fallback` or `shadow`.
    pub role: String,
    /// Calls.
    pub calls: u64,
    /// Values that it was asked about.
    pub values: u64,
    /// Failed calls, by kind.
    pub failures: BTreeMap<String, u64>,
    /// Batches that a shadow did not see.
    pub skipped: u64,
    /// Most memory of a call, in bytes.
    pub memory_peak: u64,
    /// Time per 1,000 values: calls by bucket of a histogram.
    pub times: BTreeMap<String, u64>,
    /// Values by verdict: `accepted`, `rejected:above_range`.
    pub verdicts: BTreeMap<String, u64>,
    /// A shadow's verdicts that differ: `accepted>rejected`.
    pub changes: BTreeMap<String, u64>,
    /// Some of those values.
    pub samples: Vec<Json>,
}

impl IngestStore {
    /// The number that history rows carry for a version.
    pub async fn register_plugin_version(
        &self,
        tenant: TenantId,
        version: &PluginVersion<'_>,
    ) -> Result<PluginId, StoreError> {
        let parameters: &[Parameter<'_>] = &[
            (&tenant.0, Type::INT4),
            (&version.name, Type::TEXT),
            (&version.digest, Type::TEXT),
            (&version.settings_digest, Type::TEXT),
            (&version.version, Type::TEXT),
            (&version.validated, Type::BOOL),
        ];
        let sql = "select register_plugin_version($1, $2, $3, $4, $5, $6)";
        let row = self.db.query_one("registering a plugin version", sql, parameters).await?;
        Ok(PluginId(row.get(0)))
    }

    /// The hot values of these attributes of these entities, where there are any.
    pub async fn hot_previous(
        &self,
        tenant: TenantId,
        entities: &[EntityId],
        names: &[&str],
    ) -> Result<Vec<HotValue>, StoreError> {
        let entities: Vec<i64> = entities.iter().map(|e| e.0).collect();
        let parameters: &[Parameter<'_>] =
            &[(&tenant.0, Type::INT4), (&entities, Type::INT8_ARRAY), (&names, Type::TEXT_ARRAY)];
        let sql = "select entity_id, name, value, observed_at from hot_previous($1, $2, $3)";
        let rows = self.db.query("reading previous values", sql, parameters).await?;
        let value = |r: &tokio_postgres::Row| HotValue {
            entity: EntityId(r.get(0)),
            name: r.get(1),
            value_json: r.get(2),
            observed_at: r.get(3),
        };
        Ok(rows.iter().map(value).collect())
    }

    /// Adds figures to those of the current hour.
    pub async fn plugin_metrics_add(&self, figures: &[PluginFigures]) -> Result<(), StoreError> {
        let text = serde_json::to_string(figures).map_err(|_| StoreError::Unreadable("plugin figures"))?;
        let sql = "select plugin_metrics_add($1::text::jsonb)";
        self.db.query_one("adding plugin figures", sql, &[(&text, Type::TEXT)]).await.map(drop)
    }

    /// Tells the tenant that something happened to a plugin of its own.
    pub async fn plugin_event_add(
        &self,
        tenant: TenantId,
        kind: &str,
        version: &PluginVersion<'_>,
        message: &str,
    ) -> Result<(), StoreError> {
        let parameters: &[Parameter<'_>] = &[
            (&tenant.0, Type::INT4),
            (&kind, Type::TEXT),
            (&version.name, Type::TEXT),
            (&version.version, Type::TEXT),
            (&version.digest, Type::TEXT),
            (&message, Type::TEXT),
        ];
        let sql = "select plugin_event_add($1, $2, $3, $4, $5, $6)";
        self.db.query_one("adding a plugin event", sql, parameters).await.map(drop)
    }
}
