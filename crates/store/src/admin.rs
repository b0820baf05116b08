//! What an operator does: tenants, counts over all tenants, health, passwords.

mod audit;
mod guards;
mod hot;
mod olap;
mod quarantine;
mod rules;

pub use audit::{AuditHeld, AuditLine, AuditShard, AuditSnapshot, HeldOfRecord, PointKey};
pub use guards::{AdminRead, GuardChange};
pub(crate) use hot::check as hot_check;
pub use hot::{HotCheck, HotDifference, HotStep};
pub use olap::{OlapFiles, OlapHistory, OlapListed};
pub use rules::{AttributeSettings, Declared, LimitChange, TenantChange, TenantSettings};
pub(crate) use rules::{limit_columns, tenant_settings};

use crate::StoreError;
use crate::db::{Db, Parameter, connect, open};
use crate::micros::Micros;
use eaves_model::tenant::Tenant;
use eaves_model::{Position, TenantId, Timestamp, ValueType};
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

/// How far a replay is that an operator asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayState {
    /// Everything was read again.
    pub finished: bool,
    /// The last record that was; `None` before the first, and some time after the end.
    pub sequence: Option<String>,
}

/// A range of the stream that could not be read when it was needed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StreamLoss {
    /// Its number.
    pub id: i64,
    /// The stream.
    pub stream: String,
    /// The shard.
    pub shard: String,
    /// The last record before the range; `None` if the range is the shard's first records.
    pub after: Option<String>,
    /// The first record behind it; `None` if the stream kept nothing newer.
    pub before: Option<String>,
    /// `certain` (it was in staging when a crash emptied it) or `possible`.
    pub kind: String,
    /// In words.
    pub reason: String,
    /// When it was found.
    pub found_at: Timestamp,
    /// Who has looked at it.
    pub acknowledged_by: Option<String>,
    /// What they noted.
    pub note: String,
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

    /// Asks for a range of a shard to be read again: after `from` (`None`: from the oldest
    /// record that the stream keeps) up to and with `to` (`None`: to the end). The flush
    /// loop finds the request and serves it. Returns its number.
    pub async fn replay_request(
        &self,
        stream: &str,
        shard: &str,
        from: Option<&Position>,
        to: Option<&Position>,
        by: &str,
    ) -> Result<i64, StoreError> {
        let (from, to) = (from.map(Position::sequence), to.map(Position::sequence));
        let parameters: &[Parameter<'_>] = &[
            (&stream, Type::TEXT),
            (&shard, Type::TEXT),
            (&from, Type::TEXT),
            (&to, Type::TEXT),
            (&by, Type::TEXT),
        ];
        let sql = "select replay_request($1, $2, $3, $4, $5)";
        Ok(self.db.query_one("asking for a replay", sql, parameters).await?.get(0))
    }

    /// How far a replay that was asked for is.
    pub async fn replay(&self, id: i64) -> Result<ReplayState, StoreError> {
        let sql = "select r.finished_at is not null, c.sequence::text from replays r \
                   left join ingest_checkpoints c on c.stream = r.stream and c.shard = r.shard \
                     and c.consumer = 'replay-' || r.replay_id \
                   where r.replay_id = $1";
        let row = self.db.query_one("reading a replay's state", sql, &[(&id, Type::INT8)]).await?;
        Ok(ReplayState { finished: row.get(0), sequence: row.get(1) })
    }

    /// Ranges of the stream that could not be read when they were needed, oldest first.
    pub async fn losses(&self) -> Result<Vec<StreamLoss>, StoreError> {
        let sql = "select loss_id, stream, shard, after_sequence::text, before_sequence::text, kind, reason, \
                   found_at, acknowledged_by, note from stream_losses order by loss_id";
        let rows = self.db.query("listing losses", sql, &[]).await?;
        let loss = |r: &tokio_postgres::Row| StreamLoss {
            id: r.get(0),
            stream: r.get(1),
            shard: r.get(2),
            after: r.get(3),
            before: r.get(4),
            kind: r.get(5),
            reason: r.get(6),
            found_at: r.get::<_, Micros>(7).0,
            acknowledged_by: r.get(8),
            note: r.get(9),
        };
        Ok(rows.iter().map(loss).collect())
    }

    /// Notes that somebody has looked at a loss; `health_check()` stops telling it.
    /// Returns whether there is such a loss.
    pub async fn acknowledge_loss(&self, id: i64, by: &str, note: &str) -> Result<bool, StoreError> {
        let parameters: &[Parameter<'_>] = &[(&id, Type::INT8), (&by, Type::TEXT), (&note, Type::TEXT)];
        let sql = "select loss_acknowledge($1, $2, $3)";
        Ok(self.db.query_one("acknowledging a loss", sql, parameters).await?.get(0))
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
    // The server is sent what it would store: statements can end in logs and statistics.
    let secret = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
    let parameters: &[Parameter<'_>] = &[(&role, Type::TEXT), (&secret, Type::TEXT)];
    let row = client
        .query_typed_one("select format('alter role %I password %L', $1, $2)", parameters)
        .await
        .map_err(StoreError::of(operation))?;
    client.batch_execute(row.get(0)).await.map_err(StoreError::of(operation))
}
