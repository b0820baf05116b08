//! What an audit asks of the database (`V26__audit.sql`).

use super::AdminStore;
use crate::StoreError;
use crate::db::Parameter;
use crate::ingest::{Redriven, Verdict, verdict};
use crate::micros::Micros;
use eaves_model::{Position, TenantId, Timestamp};
use serde::Deserialize;
use std::collections::HashMap;
use tokio_postgres::types::Type;

/// What the database knows of a span, all of one moment.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditSnapshot {
    /// How far each shard is.
    pub shards: Vec<AuditShard>,
    /// The ledger's sums.
    pub ledger: Vec<AuditLine>,
    /// The pieces in quarantine.
    pub held: Vec<AuditHeld>,
    /// All tenants, by name.
    pub tenants: HashMap<String, TenantId>,
}

/// How far a shard is.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditShard {
    /// The shard.
    pub shard: String,
    sequence: Option<String>,
    sub: Option<u32>,
    /// Staging was lost and the shard is not where it was yet.
    pub replaying: bool,
}

impl AuditShard {
    /// What the ledger covers; after a crash, what is in history.
    pub fn position(&self) -> Option<Position> {
        Position::within(self.sequence.as_deref()?, self.sub?).ok()
    }
}

/// One sum of the ledger.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditLine {
    /// The shard.
    pub shard: String,
    /// The tenant; 0 for none.
    pub tenant_id: TenantId,
    /// What became of the pieces.
    pub outcome: String,
    /// How many.
    pub count: i64,
}

/// Pieces in quarantine.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditHeld {
    /// The shard.
    pub shard: String,
    /// The tenant; 0 for none.
    pub tenant_id: TenantId,
    /// How many.
    pub pieces: i64,
}

/// Pieces of one record in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOfRecord {
    /// The record.
    pub sequence: String,
    /// The tenant; 0 for none.
    pub tenant: TenantId,
    /// The tenant the record named, where there was none of that name.
    pub named: Option<String>,
    /// How many.
    pub pieces: u64,
}

/// One point, by names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PointKey {
    /// Whose.
    pub tenant: TenantId,
    /// The tenant's name for the entity.
    pub entity: Box<str>,
    /// The attribute.
    pub attribute: Box<str>,
    /// When it was seen.
    pub observed_at: Timestamp,
}

impl AdminStore {
    /// What the database knows of what arrived from the minute `since` on, before `until`.
    pub async fn audit_snapshot(
        &self,
        stream: &str,
        consumer: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<AuditSnapshot, StoreError> {
        let (since, until) = (Micros(since), Micros(until));
        let parameters: &[Parameter<'_>] = &[
            (&stream, Type::TEXT),
            (&consumer, Type::TEXT),
            (&since, Type::TIMESTAMPTZ),
            (&until, Type::TIMESTAMPTZ),
        ];
        let sql = "select audit_snapshot($1, $2, $3, $4)::text";
        let row = self.db.query_one("reading the ledger", sql, parameters).await?;
        serde_json::from_str(row.get(0)).map_err(|_| StoreError::Unreadable("the ledger"))
    }

    /// What quarantine holds of these records of a shard.
    pub async fn audit_quarantined(
        &self,
        stream: &str,
        shard: &str,
        sequences: &[&str],
    ) -> Result<Vec<HeldOfRecord>, StoreError> {
        let sql = "select sequence, tenant_id, named_tenant, pieces from audit_quarantined($1, $2, $3)";
        let parameters: &[Parameter<'_>] =
            &[(&stream, Type::TEXT), (&shard, Type::TEXT), (&sequences, Type::TEXT_ARRAY)];
        let rows = self.db.query("reading the quarantine", sql, parameters).await?;
        let held = |r: &tokio_postgres::Row| HeldOfRecord {
            sequence: r.get(0),
            tenant: TenantId(r.get(1)),
            named: r.get(2),
            pieces: r.get::<_, i64>(3).unsigned_abs(),
        };
        Ok(rows.iter().map(held).collect())
    }

    /// What became of redriven records of a shard, in their order.
    pub async fn audit_redrives(
        &self,
        stream: &str,
        shard: &str,
        redriven: &[Redriven],
    ) -> Result<Vec<Verdict>, StoreError> {
        let ids: Vec<i64> = redriven.iter().map(|r| r.id).collect();
        let tokens: Vec<&[u8]> = redriven.iter().map(|r| r.token.as_slice()).collect();
        let sequences: Vec<&str> = redriven.iter().map(|r| r.sequence.as_str()).collect();
        let parameters: &[Parameter<'_>] = &[
            (&stream, Type::TEXT),
            (&shard, Type::TEXT),
            (&ids, Type::INT8_ARRAY),
            (&tokens, Type::BYTEA_ARRAY),
            (&sequences, Type::TEXT_ARRAY),
        ];
        let sql = "select verdict, tenant_id, attempts from audit_redrives($1, $2, $3, $4, $5) order by ord";
        let rows = self.db.query("reading redrives", sql, parameters).await?;
        Ok(rows.iter().map(verdict).collect())
    }

    /// Which of these points, by their index, are neither staged nor in history.
    pub async fn audit_missing(&self, points: &[PointKey]) -> Result<Vec<usize>, StoreError> {
        let tenants: Vec<i32> = points.iter().map(|p| p.tenant.0).collect();
        let entities: Vec<&str> = points.iter().map(|p| &*p.entity).collect();
        let attributes: Vec<&str> = points.iter().map(|p| &*p.attribute).collect();
        let times: Vec<Micros> = points.iter().map(|p| Micros(p.observed_at)).collect();
        let parameters: &[Parameter<'_>] = &[
            (&tenants, Type::INT4_ARRAY),
            (&entities, Type::TEXT_ARRAY),
            (&attributes, Type::TEXT_ARRAY),
            (&times, Type::TIMESTAMPTZ_ARRAY),
        ];
        let sql = "select ord from audit_missing($1, $2, $3, $4)";
        let rows = self.db.query("looking for points", sql, parameters).await?;
        let index = |r: &tokio_postgres::Row| usize::try_from(r.get::<_, i32>(0)).ok()?.checked_sub(1);
        Ok(rows.iter().filter_map(index).collect())
    }

    /// A tenant's points in history, and the values the ledger says were added, both since
    /// the beginning.
    pub async fn audit_history(&self, tenant: TenantId) -> Result<(u64, u64), StoreError> {
        let sql = "select points, counted from audit_history($1)";
        let row = self.db.query_one("counting history", sql, &[(&tenant.0, Type::INT4)]).await?;
        Ok((row.get::<_, i64>(0).unsigned_abs(), row.get::<_, i64>(1).unsigned_abs()))
    }
}
