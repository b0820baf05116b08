//! Reads across tenants, each noted before it is made (`V61__superadmin.sql`).
//!
//! Logs in as `eaves_superadmin`, which can read two views and no table. Row-level security stays on.
//! Advice is also there for `eaves_admin`, noted likewise.

use crate::StoreError;
use crate::advice::{self, Advice};
use crate::db::{Db, Parameter};
use crate::micros::Micros;
use eaves_model::{EntityId, TenantId, Timestamp};
use eaves_settings::Postgres;
use futures_util::future::join4;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

const READ: &str = "reading across tenants";

/// Who reads across tenants, and why.
#[derive(Debug, Clone, Copy)]
pub struct Purpose<'a> {
    /// The person.
    pub who: &'a str,
    /// Why: 8 to 500 characters.
    pub reason: &'a str,
}

/// Why a read across tenants failed.
#[derive(Debug, thiserror::Error)]
pub enum SuperadminError {
    /// There is no tenant of that name.
    #[error("there is no such tenant")]
    NoTenant,
    /// The database; nothing was read that was not noted.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An entity of some tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct ForeignEntity {
    /// Whose.
    pub tenant: String,
    /// Whose, as a number.
    pub tenant_id: TenantId,
    /// Its identifier.
    pub entity: EntityId,
    /// The tenant's own name for it.
    pub external_id: String,
    /// Its type; empty if unknown.
    pub entity_type: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Grows with every change of its hot attributes.
    pub version: i64,
    /// The latest values of its hot attributes, as JSON.
    pub attrs_json: String,
}

/// Which entities.
#[derive(Debug, Clone, Copy)]
pub struct ForeignEntities<'a> {
    /// Of one tenant, or of all.
    pub tenant: Option<&'a str>,
    /// Only the one of this name.
    pub external_id: Option<&'a str>,
    /// Only those after this one.
    pub after: EntityId,
    /// At most so many.
    pub limit: u32,
}

/// Reads across tenants.
pub struct Superadmin {
    db: Db,
}

impl Superadmin {
    /// Connects when it is first used.
    pub fn new(settings: &Postgres) -> Self {
        Self { db: Db::new(settings) }
    }

    /// Notes a read; nothing can be read before that is committed. Returns its ticket.
    async fn open(
        &self,
        purpose: Purpose<'_>,
        what: &str,
        tenant: Option<&str>,
    ) -> Result<String, SuperadminError> {
        let parameters: &[Parameter<'_>] = &[
            (&purpose.who, Type::TEXT),
            (&what, Type::TEXT),
            (&tenant, Type::TEXT),
            (&purpose.reason, Type::TEXT),
        ];
        let sql = "select superadmin_open($1, $2, $3, $4)::text";
        match self.db.query_one("noting a read across tenants", sql, parameters).await {
            Ok(row) => Ok(row.get(0)),
            Err(e) if e.sql_state() == Some("EV007") => Err(SuperadminError::NoTenant),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads with a ticket, in a transaction that can do nothing else.
    async fn read(
        &self,
        ticket: &str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let work = async {
            let client = self.db.client().await?;
            let limit = self.db.limit().as_millis();
            let begin = format!("begin read only; select set_config('statement_timeout', '{limit}', true)");
            let set: &[Parameter<'_>] = &[(&ticket, Type::TEXT)];
            // Polled in order, and each sends at its first poll.
            let (begun, set, rows, committed) = join4(
                client.batch_execute(&begin),
                client.query_typed("select set_config('app.superadmin_ticket', $1, true)", set),
                client.query_typed(sql, parameters),
                client.batch_execute("commit"),
            )
            .await;
            begun.map_err(StoreError::of(READ))?;
            set.map_err(StoreError::of(READ))?;
            let rows = rows.map_err(StoreError::of(READ))?;
            committed.map_err(StoreError::of(READ))?;
            Ok(rows)
        };
        self.db.guarded(READ, work).await
    }

    /// Entities of a tenant or of all, in the order of registration.
    pub async fn entities(
        &self,
        purpose: Purpose<'_>,
        which: ForeignEntities<'_>,
    ) -> Result<Vec<ForeignEntity>, SuperadminError> {
        let ticket = self.open(purpose, "entities", which.tenant).await?;
        let limit = i64::from(which.limit);
        let parameters: &[Parameter<'_>] =
            &[(&which.after.0, Type::INT8), (&which.external_id, Type::TEXT), (&limit, Type::INT8)];
        let sql = "select tenant, tenant_id, entity_id, external_id, entity_type, created_at, version, \
                   hot_attrs::text from superadmin_entities \
                   where entity_id > $1 and ($2::text is null or external_id = $2) order by entity_id limit $3";
        let rows = self.read(&ticket, sql, parameters).await?;
        let entity = |r: &Row| ForeignEntity {
            tenant: r.get(0),
            tenant_id: TenantId(r.get(1)),
            entity: EntityId(r.get(2)),
            external_id: r.get(3),
            entity_type: r.get(4),
            created_at: r.get::<_, Micros>(5).0,
            version: r.get(6),
            attrs_json: r.get(7),
        };
        Ok(rows.iter().map(entity).collect())
    }

    /// What could be done about slow queries of any tenant: statements that take `slow_ms` on average,
    /// attributes by which `least_filters` queries filter.
    pub async fn advice(
        &self,
        purpose: Purpose<'_>,
        slow_ms: f64,
        least_filters: u32,
    ) -> Result<Vec<Advice>, SuperadminError> {
        let ticket = self.open(purpose, "advice", None).await?;
        let least = i64::from(least_filters);
        let parameters: &[Parameter<'_>] = &[(&slow_ms, Type::FLOAT8), (&least, Type::INT8)];
        let rows = self.read(&ticket, advice::SQL, parameters).await?;
        let found = rows.iter().map(advice::advice).collect::<Result<_, _>>();
        Ok(found.map_err(StoreError::of(READ))?)
    }
}
