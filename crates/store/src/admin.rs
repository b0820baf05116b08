//! What an operator does: tenants, counts over all tenants, health, passwords.

mod audit;
mod quarantine;

pub use audit::{AuditHeld, AuditLine, AuditShard, AuditSnapshot, HeldOfRecord, PointKey};

use crate::StoreError;
use crate::db::{Db, Parameter, connect, open};
use crate::micros::Micros;
use eaves_model::tenant::Tenant;
use eaves_model::{TenantId, Timestamp, ValueType};
use eaves_settings::{Postgres, Secret};
use tokio_postgres::types::Type;

/// The operator's view. Logs in as `eaves_admin`.
pub struct AdminStore {
    db: Db,
}

/// How often something happened: a line of the ledger, summed over time and shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerTotal {
    /// The tenant; 0 where it is none that exists.
    pub tenant: TenantId,
    /// Its name; empty where it is none that exists.
    pub tenant_name: String,
    /// The name of an [`Outcome`](crate::ingest::Outcome).
    pub outcome: String,
    /// The reason's code; empty for accepted values.
    pub reason: String,
    /// Pieces; records for `redelivered`.
    pub count: u64,
}

impl AdminStore {
    /// Connects.
    pub async fn connect(settings: &Postgres) -> Result<Self, StoreError> {
        Ok(Self { db: connect(settings).await? })
    }

    /// Creates a tenant, or changes the settings of the one there is.
    pub async fn tenant_create(
        &self,
        name: &str,
        strict: bool,
        hot_limit: Option<u32>,
    ) -> Result<TenantId, StoreError> {
        let hot_limit = hot_limit.map_or(64, |n| i32::try_from(n).unwrap_or(i32::MAX));
        let parameters: &[Parameter<'_>] =
            &[(&name, Type::TEXT), (&strict, Type::BOOL), (&hot_limit, Type::INT4)];
        let row =
            self.db.query_one("creating a tenant", "select tenant_create($1, $2, $3)", parameters).await?;
        Ok(TenantId(row.get(0)))
    }

    /// All tenants, by name.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let sql = "select tenant_id, name, strict from tenants order by name";
        let rows = self.db.query("listing tenants", sql, &[]).await?;
        Ok(rows.iter().map(|r| Tenant { id: TenantId(r.get(0)), name: r.get(1), strict: r.get(2) }).collect())
    }

    /// Registers attributes with their types, also for a strict tenant. One that exists
    /// keeps its type.
    pub async fn register_attributes(
        &self,
        tenant: TenantId,
        attributes: &[(&str, ValueType)],
    ) -> Result<(), StoreError> {
        let (names, types): (Vec<&str>, Vec<&str>) = attributes.iter().map(|(n, t)| (*n, t.name())).unzip();
        let sql = "select count(*) from register_attributes($1, $2, $3, true)";
        let parameters: &[Parameter<'_>] =
            &[(&tenant.0, Type::INT4), (&names, Type::TEXT_ARRAY), (&types, Type::TEXT_ARRAY)];
        self.db.query_one("registering attributes", sql, parameters).await.map(drop)
    }

    /// Registers entities with their types, also for a strict tenant.
    pub async fn register_entities(
        &self,
        tenant: TenantId,
        entities: &[(&str, &str)],
    ) -> Result<(), StoreError> {
        let (ids, types): (Vec<&str>, Vec<&str>) = entities.iter().copied().unzip();
        let sql = "select count(*) from register_entities($1, $2, $3, true)";
        let parameters: &[Parameter<'_>] =
            &[(&tenant.0, Type::INT4), (&ids, Type::TEXT_ARRAY), (&types, Type::TEXT_ARRAY)];
        self.db.query_one("registering entities", sql, parameters).await.map(drop)
    }

    /// What became of everything since a minute, what is still staged included.
    pub async fn ledger_totals(&self, since: Option<Timestamp>) -> Result<Vec<LedgerTotal>, StoreError> {
        let since = since.map(Micros);
        let sql = "select tenant_id, tenant, outcome, reason, count \
                   from ledger_totals(coalesce($1, '-infinity'))";
        let rows = self.db.query("reading the ledger", sql, &[(&since, Type::TIMESTAMPTZ)]).await?;
        let total = |r: &tokio_postgres::Row| LedgerTotal {
            tenant: TenantId(r.get(0)),
            tenant_name: r.get(1),
            outcome: r.get(2),
            reason: r.get(3),
            count: r.get::<_, i64>(4).unsigned_abs(),
        };
        Ok(rows.iter().map(total).collect())
    }

    /// `health_check()`: `status` (`ok` or `degraded`), `problems`, and the figures behind.
    pub async fn health_check(&self) -> Result<serde_json::Value, StoreError> {
        self.json("the health check", "select health_check()::text").await
    }

    /// `pipeline_status()`: backlog, last flush, and each shard's position.
    pub async fn pipeline_status(&self) -> Result<serde_json::Value, StoreError> {
        self.json("reading the pipeline's status", "select pipeline_status()::text").await
    }

    async fn json(&self, operation: &'static str, sql: &str) -> Result<serde_json::Value, StoreError> {
        let row = self.db.query_one(operation, sql, &[]).await?;
        serde_json::from_str(row.get(0)).map_err(|_| StoreError::Unreadable("a JSON answer"))
    }
}

/// Sets the password of a role, as the superuser. Statements cannot take it as a
/// parameter; the server quotes it.
pub async fn set_password(superuser: &Postgres, role: &str, password: &Secret) -> Result<(), StoreError> {
    let client = open(superuser).await?;
    let operation = "setting a password";
    let secret = password.expose();
    let parameters: &[Parameter<'_>] = &[(&role, Type::TEXT), (&secret, Type::TEXT)];
    let row = client
        .query_typed_one("select format('alter role %I password %L', $1, $2)", parameters)
        .await
        .map_err(StoreError::of(operation))?;
    client.batch_execute(row.get(0)).await.map_err(StoreError::of(operation))
}
