//! A database of the size that figures are promised for: a million entities with ten hot attributes
//! each, and twenty million values of history, of six tenants.
//!
//! Rows go in by binary COPY as the superuser, past the write path, and the indexes are built
//! afterwards: some minutes instead of an hour. The hot projection is what history folds to, so that
//! `maintain` finds nothing to repair in it. With `--keep FOLDER` they are loaded once.

mod rows;

pub(crate) use rows::{ATTRIBUTES, HOT, value};

use crate::rig::Rig;
use anyhow::{Context as _, Result, ensure};
use bytes::BytesMut;
use eaves_model::{AttributeId, TenantId};
use futures_util::SinkExt as _;
use serde::{Deserialize, Serialize};
use std::time::Instant;
use tokio_postgres::Client;

/// Bytes of one message of a COPY.
const MESSAGE: usize = 1 << 20;

/// One tenant's part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) tenant: TenantId,
    pub(crate) name: String,
    /// Its entities are those from here on.
    pub(crate) first_entity: i64,
    pub(crate) entities: i64,
    /// In the order of [`ATTRIBUTES`].
    pub(crate) attributes: Vec<AttributeId>,
    /// A reading has a value of each attribute.
    pub(crate) readings: i64,
    /// Between two readings, in microseconds.
    pub(crate) pace_us: i64,
}

impl Part {
    /// Which entity the n-th reading is of. Every entity has its turn before one comes again.
    pub(crate) fn entity(&self, reading: i64) -> i64 {
        // It has no divisor in common with the number of entities; neighbours in time are strangers.
        self.first_entity + (i128::from(reading) * 7_368_787).rem_euclid(i128::from(self.entities)) as i64
    }

    pub(crate) fn external_id(&self, entity: i64) -> String {
        format!("dev-{}", entity - self.first_entity)
    }
}

/// What is loaded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Million {
    percent: u32,
    /// When the last reading was, in microseconds since 1970.
    pub(crate) until_us: i64,
    pub(crate) parts: Vec<Part>,
}

impl Million {
    /// What the rig's folder has, or else loads it: `percent` of a million entities.
    pub(crate) async fn find_or_load(rig: &Rig, percent: u32) -> Result<Self> {
        let file = rig.data_dir().join("bench-million.json");
        if let Ok(kept) = std::fs::read(&file) {
            let kept: Self = serde_json::from_slice(&kept).context("read what is kept")?;
            ensure!(kept.percent == percent, "{} % are kept in {}", kept.percent, file.display());
            return Ok(kept);
        }
        let began = Instant::now();
        // It would replay all of it: it is made anew from what is loaded.
        rig.without_replica(true).await?;
        let loaded = load(&rig.admin().await?, percent).await?;
        rig.replica_anew().await?;
        rig.wait_replica().await?;
        std::fs::write(&file, serde_json::to_vec(&loaded)?)?;
        eprintln!("loaded {} in {:.0} s", loaded.size(), began.elapsed().as_secs_f64());
        Ok(loaded)
    }

    /// The tenant that is measured: half of the entities are its.
    pub(crate) fn fleet(&self) -> &Part {
        &self.parts[0]
    }

    /// For the notes of figures.
    pub(crate) fn size(&self) -> String {
        let entities: i64 = self.parts.iter().map(|p| p.entities).sum();
        let values: i64 = self.parts.iter().map(|p| p.readings * ATTRIBUTES.len() as i64).sum();
        let hot = HOT;
        format!("{entities} entities x {hot} hot attributes, {values} values, {} tenants", self.parts.len())
    }
}

async fn load(db: &Client, percent: u32) -> Result<Million> {
    let until_us = jiff::Timestamp::now().as_microsecond() / 1_000_000 * 1_000_000;
    let n = i64::from(percent);
    db.batch_execute(
        "set session_replication_role = replica; set synchronous_commit = off; set maintenance_work_mem = '1GB'",
    )
    .await?;
    let mut parts = Vec::new();
    let mut first_entity = 1;
    for at in 0..6 {
        // Half of the entities, and most of the values, are the first one's.
        let (entities, readings) = if at == 0 { (5_000 * n, 12_000 * n) } else { (1_000 * n, 1_000 * n) };
        let name = format!("bench-fleet-{at}");
        let sql = "insert into tenants (name, hot_auto) values ($1, false) returning tenant_id";
        let tenant = TenantId(db.query_one(sql, &[&name]).await?.get(0));
        let mut attributes = Vec::new();
        for (i, (name, value_type)) in ATTRIBUTES.iter().enumerate() {
            let sql = "insert into attributes (tenant_id, attribute_name, value_type, is_hot) values ($1, $2, $3, $4)
                       returning attribute_id";
            let row = db.query_one(sql, &[&tenant.0, name, &value_type.name(), &(i < HOT)]).await?;
            attributes.push(AttributeId(row.get(0)));
        }
        // Fifteen days of the first one's, 3,333 readings an hour; the others' are as far apart in sum.
        let pace_us = 15 * 86_400 * 1_000_000 / readings;
        parts.push(Part { tenant, name, first_entity, entities, attributes, readings, pace_us });
        first_entity += entities;
    }
    copy(db, "entities (tenant_id, entity_id, external_id, entity_type)", {
        let parts = parts.clone();
        move |send| rows::entities(&parts, send)
    })
    .await?;
    db.execute("select setval('entities_entity_id_seq', $1)", &[&first_entity]).await?;

    let hot = without_indexes(db, "entity_jsonb").await?;
    // As the maintain function would have chosen.
    let ranges = "insert into hot_ranges (tenant_id, names, ready, position)
                  select tenant_id, array[$1, null, null, null], '{t,f,f,f}', null from tenants where name ~ '^bench-fleet-'";
    db.execute(ranges, &[&rows::RANGED]).await?;
    let columns = "entity_jsonb (tenant_id, entity_id, hot_attrs, hot_times, observed_at, oldest_at, version, range_names)";
    copy(db, columns, {
        let parts = parts.clone();
        move |send| rows::hot(&parts, until_us, send)
    })
    .await?;
    db.batch_execute(&hot).await.context("index the projection")?;

    let history = without_indexes(db, "entity_values_ts").await?;
    let columns = "entity_values_ts (entity_id, observed_at, ingested_at, tenant_id, attribute_id, value_int, \
                   value_float, value_timestamp, value)";
    copy(db, columns, {
        let parts = parts.clone();
        move |send| rows::history(&parts, until_us, send)
    })
    .await?;
    db.batch_execute(&history).await.context("index history")?;
    db.batch_execute("vacuum analyze entities").await?;
    db.batch_execute("vacuum analyze entity_jsonb").await?;
    db.batch_execute("vacuum analyze entity_values_ts").await?;
    db.batch_execute("analyze attributes").await?;
    db.batch_execute("checkpoint").await?;
    Ok(Million { percent, until_us, parts })
}

/// Takes a table's indexes away, and returns what brings them back.
async fn without_indexes(db: &Client, table: &str) -> Result<String> {
    let sql = "select string_agg(case when c.oid is null then replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
                 else format('alter table %s add constraint %I %s', i.indrelid::regclass, c.conname,
                             pg_get_constraintdef(c.oid)) end, '; '),
               string_agg(case when c.oid is null then format('drop index %s', i.indexrelid::regclass)
                 else format('alter table %s drop constraint %I', i.indrelid::regclass, c.conname) end, '; ')
               from pg_index i
               left join pg_constraint c on c.conindid = i.indexrelid and c.conrelid = i.indrelid
               where i.indrelid = $1::text::regclass";
    let row = db.query_one(sql, &[&table]).await?;
    db.batch_execute(row.get(1)).await?;
    Ok(row.get(0))
}

/// A binary COPY of the rows that `make` sends. They are made by another thread while the database takes
/// those before.
async fn copy(
    db: &Client,
    into: &str,
    make: impl FnOnce(&mut dyn FnMut(&[u8])) + Send + 'static,
) -> Result<u64> {
    let sink = db.copy_in(&format!("copy {into} from stdin (format binary)")).await?;
    let mut sink = std::pin::pin!(sink);
    let (full, mut messages) = tokio::sync::mpsc::channel::<BytesMut>(4);
    let maker = tokio::task::spawn_blocking(move || {
        let mut message = BytesMut::with_capacity(MESSAGE + 4096);
        message.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        make(&mut |row| {
            message.extend_from_slice(row);
            if message.len() >= MESSAGE {
                let whole = std::mem::replace(&mut message, BytesMut::with_capacity(MESSAGE + 4096));
                // Nobody takes it any more: the COPY has failed, and says so.
                drop(full.blocking_send(whole));
            }
        });
        message.extend_from_slice(&(-1_i16).to_be_bytes());
        drop(full.blocking_send(message));
    });
    while let Some(message) = messages.recv().await {
        sink.feed(message.freeze()).await.with_context(|| format!("copy into {into}"))?;
    }
    maker.await?;
    sink.finish().await.with_context(|| format!("copy into {into}"))
}
