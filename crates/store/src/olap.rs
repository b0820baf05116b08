//! The slot that object storage is loaded from, and how far the files are (`V66__olap.sql`).

use crate::StoreError;
use crate::db::{Db, Parameter};
use crate::micros::Micros;
use eaves_model::Timestamp;
use eaves_model::history::HistoryRow;
use eaves_settings::Postgres;
use futures_util::TryStreamExt as _;
use serde::Deserialize;
use std::pin::pin;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, PgLsn, Type, accepts};
use tokio_postgres::{Row, Transaction};

/// Logs in as `eaves_olap`.
pub struct OlapStore {
    db: Db,
}

/// How it stands. Positions are bytes of the log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OlapState {
    /// The server's timeline.
    pub timeline: String,
    /// The log is on disk up to here.
    pub flushed_to: u64,
    /// It is written up to here.
    pub inserted_to: u64,
    /// The server's clock, microseconds since 1970.
    pub now_us: i64,
    /// A transaction number that is not given yet.
    pub next_xid: u64,
    /// The current epoch.
    pub epoch: Option<OlapEpoch>,
    /// Its slot, if there is one.
    pub slot: Option<OlapSlot>,
}

/// An epoch: the files that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OlapEpoch {
    /// Its name.
    pub epoch: String,
    /// The timeline of its slot.
    pub timeline: String,
    /// Where its slot began.
    pub start_at: u64,
    /// The watermark: what was committed before it is in the files.
    pub loaded_to: u64,
    /// The end of the file that is being written.
    pub planned_to: Option<u64>,
    /// Rows that were copied.
    pub copied_rows: u64,
    /// Where the log was when the copy ended.
    pub copied_at: Option<u64>,
    /// The files are history.
    pub complete: bool,
}

/// A replication slot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OlapSlot {
    /// What was committed before this is shown no more.
    pub confirmed_to: u64,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: String,
    /// Log that is kept for it, bytes.
    pub kept_bytes: u64,
}

/// What is told of the load: `olap_status()`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct OlapStatus {
    /// `off`, `copying`, `following`, `lost`, or `unknown` to a replica.
    pub state: String,
    /// The current epoch.
    #[serde(default)]
    pub epoch: Option<String>,
    /// History is complete in the files up to this time.
    #[serde(default)]
    pub complete_to: Option<String>,
    /// How long ago that is.
    #[serde(default)]
    pub lag_seconds: f64,
    /// Log after the watermark, bytes.
    #[serde(default)]
    pub lag_bytes: f64,
    /// Log that is kept for the slot, bytes.
    #[serde(default)]
    pub kept_bytes: Option<f64>,
    /// Slots that were lost.
    #[serde(default)]
    pub lost_slots: u64,
}

/// A file that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OlapFile<'a> {
    /// Its key in the bucket.
    pub name: &'a str,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// What a file is noted as: name, rows, bytes; nothing where there is none.
type Noted<'a> = (Option<&'a str>, Option<i64>, Option<i64>);

fn noted(file: Option<OlapFile<'_>>) -> Noted<'_> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    (file.map(|f| f.name), file.map(|f| count(f.rows)), file.map(|f| count(f.bytes)))
}

impl OlapStore {
    /// Connects when it is first used.
    pub fn new(settings: &Postgres) -> Self {
        Self { db: Db::new(settings) }
    }

    /// How it stands.
    pub async fn state(&self) -> Result<OlapState, StoreError> {
        let row = self.db.query_one("reading the slot's state", "select olap_state()::text", &[]).await?;
        serde_json::from_str(row.get(0)).map_err(|_| StoreError::Unreadable("the slot's state"))
    }

    /// What is told of it.
    pub async fn status(&self) -> Result<OlapStatus, StoreError> {
        let row = self.db.query_one("reading the load's status", "select olap_status()::text", &[]).await?;
        serde_json::from_str(row.get(0)).map_err(|_| StoreError::Unreadable("the load's status"))
    }

    /// Makes the slot of a new epoch, and ends the current epoch for this reason. Changes from here
    /// on are in the slot; history before it is to be copied.
    pub async fn begin(&self, epoch: &str, timeline: &str, reason: &str) -> Result<(), StoreError> {
        let start = self.make_slot(epoch).await?;
        let parameters: &[Parameter<'_>] =
            &[(&epoch, Type::TEXT), (&start, Type::PG_LSN), (&timeline, Type::TEXT), (&reason, Type::TEXT)];
        let sql = "select olap_begin($1, $2, $3, $4)";
        self.db.query_one("beginning an epoch", sql, parameters).await.map(drop)
    }

    /// PostgreSQL 15 reads the log to where it can begin within the statement, and now and then, where many
    /// make slots and tables at once, loses count of its snapshots meanwhile (XX000, "snapshot reference … is not
    /// owned by resource owner"): nothing is made then, and the next try succeeds.
    async fn make_slot(&self, epoch: &str) -> Result<PgLsn, StoreError> {
        let mut tries = 0;
        loop {
            let sql = "select olap_slot_create($1)";
            let made = self.db.query_one("making a replication slot", sql, &[(&epoch, Type::TEXT)]).await;
            tries += 1;
            match made {
                Err(StoreError::Statement { source, .. })
                    if source.code() == Some(&SqlState::INTERNAL_ERROR) && tries < 3 => {}
                made => return Ok(made?.get(0)),
            }
        }
    }

    /// Puts partitions that were dropped by hand into the stream of changes.
    pub async fn note_partitions(&self) -> Result<u32, StoreError> {
        let sql = "select olap_note_partitions()";
        let row = self.db.query_one("looking for dropped partitions", sql, &[]).await?;
        Ok(row.get::<_, i32>(0).unsigned_abs())
    }

    /// Looks at the slot's messages: whole transactions up to the position, and no more of them once
    /// there are `most` messages (`None`: all). `take` gets each message and says whether to go on.
    pub async fn peek(
        &self,
        epoch: &str,
        upto: u64,
        most: Option<u32>,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let operation = "looking into the replication slot";
        let failed = StoreError::of(operation);
        let upto = PgLsn::from(upto);
        let most = most.map(|most| i32::try_from(most).unwrap_or(i32::MAX));
        let work = async {
            let mut client = self.db.client().await?;
            let transaction = client.transaction().await.map_err(&failed)?;
            self.limited(&transaction).await.map_err(&failed)?;
            let parameters: [Parameter<'_>; 3] =
                [(&epoch, Type::TEXT), (&upto, Type::PG_LSN), (&most, Type::INT4)];
            let rows = transaction.query_typed_raw("select olap_peek($1, $2, $3)", parameters).await;
            let mut rows = pin!(rows.map_err(&failed)?);
            while let Some(row) = rows.try_next().await.map_err(&failed)? {
                if !take(row.get(0)) {
                    break;
                }
            }
            Ok(())
        };
        self.db.guarded(operation, work).await
    }

    /// Says that the file with the changes from `from` to before `to` is about to be written. False
    /// if somebody else has moved the watermark, or plans another file.
    pub async fn plan(&self, epoch: &str, from: u64, to: u64) -> Result<bool, StoreError> {
        let (from, to) = (PgLsn::from(from), PgLsn::from(to));
        let parameters: &[Parameter<'_>] =
            &[(&epoch, Type::TEXT), (&from, Type::PG_LSN), (&to, Type::PG_LSN)];
        let row = self.db.query_one("planning a file", "select olap_plan($1, $2, $3)", parameters).await?;
        Ok(row.get(0))
    }

    /// Moves the watermark. False if somebody else has.
    pub async fn loaded(
        &self,
        epoch: &str,
        from: u64,
        to: u64,
        complete_to: Option<Timestamp>,
        file: Option<OlapFile<'_>>,
    ) -> Result<bool, StoreError> {
        let (from, to) = (PgLsn::from(from), PgLsn::from(to));
        let complete_to = complete_to.map(Micros);
        let (name, rows, bytes) = noted(file);
        let parameters: &[Parameter<'_>] = &[
            (&epoch, Type::TEXT),
            (&from, Type::PG_LSN),
            (&to, Type::PG_LSN),
            (&complete_to, Type::TIMESTAMPTZ),
            (&name, Type::TEXT),
            (&rows, Type::INT8),
            (&bytes, Type::INT8),
        ];
        let sql = "select olap_loaded($1, $2, $3, $4, $5, $6, $7)";
        Ok(self.db.query_one("moving the watermark", sql, parameters).await?.get(0))
    }

    /// Lets go of the log before the watermark.
    pub async fn advance(&self, epoch: &str) -> Result<(), StoreError> {
        let sql = "select olap_advance($1)";
        self.db.query_one("advancing the slot", sql, &[(&epoch, Type::TEXT)]).await.map(drop)
    }

    /// The next rows of the copy, in the order of their keys, as they are now.
    pub async fn copy(&self, epoch: &str, most: u32) -> Result<Vec<HistoryRow>, StoreError> {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let sql = "select tenant_id, entity_id, attribute_id, observed_at, ingested_at, plugin_id, value_bool, \
                   value_int, value_float, value_decimal::text, value_timestamp, value from olap_copy($1, $2)";
        let parameters: &[Parameter<'_>] = &[(&epoch, Type::TEXT), (&most, Type::INT4)];
        let rows = self.db.query("copying history", sql, parameters).await?;
        Ok(rows.iter().map(history).collect())
    }

    /// Notes that rows were copied into this file, `before` of them having been before; without a
    /// file, that there are none left. False if somebody else has.
    pub async fn copied(
        &self,
        epoch: &str,
        before: u64,
        copied: Option<(&HistoryRow, OlapFile<'_>)>,
    ) -> Result<bool, StoreError> {
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let last = copied.map(|(last, _)| last);
        let key = (last.map(|r| r.tenant), last.map(|r| r.entity), last.map(|r| r.attribute));
        let at = last.map(|r| RawMicros(r.observed_at));
        let (name, rows, bytes) = noted(copied.map(|(_, file)| file));
        let parameters: &[Parameter<'_>] = &[
            (&epoch, Type::TEXT),
            (&before, Type::INT8),
            (&key.0, Type::INT4),
            (&key.1, Type::INT8),
            (&key.2, Type::INT4),
            (&at, Type::TIMESTAMPTZ),
            (&name, Type::TEXT),
            (&rows, Type::INT8),
            (&bytes, Type::INT8),
        ];
        let sql = "select olap_copied($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        Ok(self.db.query_one("noting a part of the copy", sql, parameters).await?.get(0))
    }

    async fn limited(&self, transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
        let limit = self.db.limit().as_millis().to_string();
        let sql = "select set_config('statement_timeout', $1, true)";
        transaction.query_typed(sql, &[(&limit, Type::TEXT)]).await.map(drop)
    }
}

fn history(row: &Row) -> HistoryRow {
    let micros = |at: usize| row.get::<_, Option<RawMicros>>(at).map(|at| at.0);
    HistoryRow {
        tenant: row.get(0),
        entity: row.get(1),
        attribute: row.get(2),
        observed_at: row.get::<_, RawMicros>(3).0,
        ingested_at: micros(4),
        plugin: row.get(5),
        boolean: row.get(6),
        integer: row.get(7),
        float: row.get(8),
        decimal: row.get(9),
        timestamp: micros(10),
        text: row.get(11),
    }
}

/// A timestamptz as microseconds since 1970, whatever the year: what history holds is carried as it is.
#[derive(Debug, Clone, Copy)]
struct RawMicros(i64);

/// 2000-01-01T00:00:00Z, from which PostgreSQL counts, in microseconds since 1970.
const EPOCH_2000: i64 = 946_684_800_000_000;

impl<'a> FromSql<'a> for RawMicros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH_2000)))
    }

    accepts!(TIMESTAMPTZ);
}

impl tokio_postgres::types::ToSql for RawMicros {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut bytes::BytesMut,
    ) -> Result<tokio_postgres::types::IsNull, Box<dyn std::error::Error + Sync + Send>> {
        bytes::BufMut::put_i64(out, self.0.saturating_sub(EPOCH_2000));
        Ok(tokio_postgres::types::IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    tokio_postgres::types::to_sql_checked!();
}
