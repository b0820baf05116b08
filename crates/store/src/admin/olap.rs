//! History against the files in object storage (`V66__olap.sql`).

use super::AdminStore;
use crate::StoreError;
use crate::db::{Parameter, begin};
use eaves_model::TenantId;
use tokio_postgres::types::{PgLsn, Type};

/// History, counted in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OlapHistory {
    /// The snapshot, as `pg_current_snapshot()` writes it.
    pub snapshot: String,
    /// Whatever the snapshot sees was committed before this position of the log.
    pub seen_to: u64,
    /// Points and the sum of their hashes by tenant and day (since 1970, UTC).
    pub days: Vec<((i32, i32), u64, i128)>,
}

/// The files of the current epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OlapFiles {
    /// The epoch.
    pub epoch: String,
    /// What was committed before this is in them.
    pub loaded_to: u64,
    /// They are history.
    pub complete: bool,
    /// Each with the positions that its changes lie between, and its rows.
    pub files: Vec<OlapListed>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OlapListed {
    /// Its key in the bucket.
    pub name: String,
    /// Changes from here on …
    pub from: u64,
    /// … and before here.
    pub to: u64,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

impl AdminStore {
    /// `olap_status()`.
    pub async fn olap_status(&self) -> Result<serde_json::Value, StoreError> {
        self.json("reading the load's status", "select olap_status()::text").await
    }

    /// Counts history, of one tenant or of all. Reads all of it.
    pub async fn olap_history(&self, tenant: Option<TenantId>) -> Result<OlapHistory, StoreError> {
        let operation = "counting history";
        let failed = StoreError::of(operation);
        let work = async {
            let client = self.db.client().await?;
            let begin = begin(self.db.limit());
            let begin = begin.replacen("begin", "begin isolation level repeatable read, read only", 1);
            client.batch_execute(&begin).await.map_err(&failed)?;
            let counted = async {
                // The position is read after the snapshot was taken.
                let sql = "select pg_current_snapshot()::text, pg_current_wal_insert_lsn()";
                let seen = client.query_typed_one(sql, &[]).await?;
                let sql = "select tenant_id, day, points, checksum from olap_fingerprint($1)";
                let tenant = tenant.map(|t| t.0);
                let rows = client.query_typed(sql, &[(&tenant, Type::INT4)]).await?;
                Ok((seen, rows))
            };
            let counted = counted.await;
            client.batch_execute("rollback").await.map_err(&failed)?;
            let (seen, rows) = counted.map_err(&failed)?;
            let mut days = Vec::with_capacity(rows.len());
            for row in &rows {
                let checksum: &str = row.get(3);
                let checksum =
                    checksum.parse().map_err(|_| StoreError::Unreadable("a checksum of history"))?;
                days.push(((row.get(0), row.get(1)), row.get::<_, i64>(2).unsigned_abs(), checksum));
            }
            Ok(OlapHistory { snapshot: seen.get(0), seen_to: seen.get::<_, PgLsn>(1).into(), days })
        };
        self.db.guarded(operation, work).await
    }

    /// The files of the current epoch in the order of the log; those after a position only.
    pub async fn olap_files(&self, after: Option<u64>) -> Result<Option<OlapFiles>, StoreError> {
        let after = PgLsn::from(after.unwrap_or(0));
        let sql = "select e.epoch, e.loaded_to, e.complete_at is not null, f.name, f.from_at, f.to_at, f.rows, f.bytes \
                   from olap_epochs e left join olap_files f on f.epoch = e.epoch and f.to_at > $1 \
                   where e.ended_at is null order by f.to_at, f.name";
        let parameters: &[Parameter<'_>] = &[(&after, Type::PG_LSN)];
        let rows = self.db.query("listing the files of history", sql, parameters).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let at = |row: &tokio_postgres::Row, column: usize| row.get::<_, PgLsn>(column).into();
        let count = |row: &tokio_postgres::Row, column: usize| row.get::<_, i64>(column).unsigned_abs();
        let listed = |row: &tokio_postgres::Row| {
            let name: Option<String> = row.get(3);
            name.map(|name| OlapListed {
                name,
                from: at(row, 4),
                to: at(row, 5),
                rows: count(row, 6),
                bytes: count(row, 7),
            })
        };
        Ok(Some(OlapFiles {
            epoch: first.get(0),
            loaded_to: at(first, 1),
            complete: first.get(2),
            files: rows.iter().filter_map(listed).collect(),
        }))
    }
}
