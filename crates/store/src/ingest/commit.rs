//! The transaction that takes a batch (`V16__ingest.sql` has its steps).

use super::{
    Checkpoint, Commit, CommitError, Committed, Correction, Guard, HotState, copy, guarded, hot, refused,
    statistics,
};
use crate::StoreError;
use crate::db::{Db, Parameter};
use crate::micros::Micros;
use eaves_model::delivery::Refusal;
use eaves_model::usage::{Batch, WriteMeter};
use eaves_model::{EntityId, Position, TenantId, Timestamp};
use futures_util::SinkExt as _;
use futures_util::future::{join, join5};
use std::pin::pin;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

/// The function that opens it, as a FROM item named `b`.
pub(super) const BEGIN: &str = "ingest_begin($1, $2, $3) b";

const UPSERT: &str = "select tenant_id, entity_id, version, hot_attrs, hot_times \
     from upsert_hot_batch($1, $2, $3, $4, $5::text[]::jsonb[], $6::text[]::jsonb[])";

const FINISH: &str = "select ingest_finish($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";

const OPERATION: &str = "taking a batch";

/// A sub-record's index as the database keeps it.
pub(super) fn sub(position: &Position) -> i64 {
    i64::from(position.sub())
}

fn position(row: &Row, sequence: &str, sub: &str) -> Result<Option<Position>, StoreError> {
    let (Some(sequence), Some(sub)) = (row.get::<_, Option<&str>>(sequence), row.get::<_, Option<i64>>(sub))
    else {
        return Ok(None);
    };
    let bad = || StoreError::Unreadable("a checkpoint");
    let sub = u32::try_from(sub).map_err(|_| bad())?;
    Position::within(sequence, sub).map(Some).map_err(|_| bad())
}

/// What `ingest_begin` answered.
pub(super) fn checkpoint(row: &Row) -> Result<Checkpoint, StoreError> {
    let begin = row.get::<_, Option<&str>>("begin_sequence").map(Position::whole).transpose();
    Ok(Checkpoint {
        begin: begin.map_err(|_| StoreError::Unreadable("where a shard begins"))?,
        position: position(row, "sequence", "sub")?,
        flushed: position(row, "flushed_sequence", "flushed_sub")?,
        epoch_current: row.get("epoch_current"),
        replay_to: position(row, "replay_sequence", "replay_sub")?,
        lost_to: position(row, "lost_sequence", "lost_sub")?,
    })
}

pub(super) async fn run(
    db: &Db,
    meter: &mut WriteMeter,
    commit: &Commit<'_>,
    guard: Option<Guard<'_>>,
) -> Result<Committed, CommitError> {
    let failed = StoreError::of(OPERATION);
    let mut client = db.client().await?;
    // Dropped before COMMIT it rolls back, also when this future is dropped half-way.
    let transaction = client.transaction().await.map_err(&failed)?;
    let limit = db.limit().as_millis().to_string();
    let parameters: &[Parameter<'_>] = &[
        (&commit.stream, Type::TEXT),
        (&commit.shard, Type::TEXT),
        (&commit.consumer, Type::TEXT),
        (&limit, Type::TEXT),
    ];
    let sql = format!("select b.* from set_config('statement_timeout', $4, true), {BEGIN}");
    let begun = transaction.query_typed_one(&sql, parameters).await.map_err(&failed)?;
    let found = checkpoint(&begun)?;
    match found.admits(commit.expected) {
        Ok(()) => {}
        Err(Refusal::StagingLost) => return Err(CommitError::StagingLost { flushed: found.flushed }),
        Err(Refusal::Moved) => return Err(CommitError::CheckpointMoved { current: found.position }),
    }
    let Micros(ingested_at) = begun.get("began_at");
    let mut slot: i16 = begun.get("slot");
    let (mut commit, mut stamp, mut corrections): (_, _, &[Correction]) = (*commit, None, &[]);
    let decided;
    if let Some(guard) = guard {
        let replaying = found.replay_to.is_some();
        let held = guarded::look_up(&transaction, &commit, guard.points, replaying).await.map_err(&failed)?;
        (slot, stamp) = (held.slot, Some(held.stamp));
        decided = (guard.settle)(held.held);
        commit.points = &decided.points;
        commit.hot = &decided.hot;
        commit.ledger = &decided.ledger;
        commit.quarantine = &decided.quarantine;
        commit.redrives = &decided.redrives;
        corrections = &decided.corrections;
    }

    // Staging first: what comes later locks rows that other shards may want.
    if !commit.points.is_empty() {
        stage(&transaction, slot, &commit, stamp).await.map_err(&failed)?;
    }
    // What an operator has read again was counted when it was first taken.
    let measured = match commit.consumer.starts_with("replay-") {
        true => Batch::default(),
        false => meter.measure(commit.points, Timestamp::now()),
    };
    // Sent together: one round trip.
    let again = found.replay_to.is_some();
    let written = join5(
        upsert(&transaction, &commit),
        refused::quarantine(&transaction, &commit, again),
        guarded::correct(&transaction, &commit, corrections, stamp.unwrap_or(ingested_at)),
        refused::settle(&transaction, &commit),
        finish(&transaction, slot, &commit),
    );
    let ((changed, quarantined, corrected, settled, finished), counted) =
        join(written, statistics::add(&transaction, &measured)).await;
    let hot = changed.map_err(&failed)?;
    quarantined.map_err(&failed)?;
    corrected.map_err(&failed)?;
    finished.map_err(&failed)?;
    counted.map_err(&failed)?;
    if !settled.map_err(&failed)? {
        return Err(CommitError::RedriveSettled);
    }
    transaction.commit().await.map_err(&failed)?;
    Ok(Committed { hot, ingested_at })
}

async fn stage(
    transaction: &Transaction<'_>,
    slot: i16,
    commit: &Commit<'_>,
    stamp: Option<Timestamp>,
) -> Result<(), tokio_postgres::Error> {
    let sink = transaction.copy_in(&copy::statement(slot, stamp.is_some())).await?;
    let mut sink = pin!(sink);
    for piece in copy::encode(commit.points, stamp) {
        sink.feed(piece).await?;
    }
    sink.finish().await.map(drop)
}

async fn upsert(
    transaction: &Transaction<'_>,
    commit: &Commit<'_>,
) -> Result<Vec<HotState>, tokio_postgres::Error> {
    if commit.hot.is_empty() {
        return Ok(Vec::new());
    }
    let rows = hot::fold(commit.hot);
    let parameters: &[Parameter<'_>] = &[
        (&rows.tenants, Type::INT4_ARRAY),
        (&rows.entities, Type::INT8_ARRAY),
        (&rows.oldest, Type::TIMESTAMPTZ_ARRAY),
        (&rows.newest, Type::TIMESTAMPTZ_ARRAY),
        (&rows.attrs, Type::TEXT_ARRAY),
        (&rows.times, Type::TEXT_ARRAY),
    ];
    let changed = transaction.query_typed(UPSERT, parameters).await?;
    let state = |r: &Row| HotState {
        tenant: TenantId(r.get(0)),
        entity: EntityId(r.get(1)),
        version: r.get(2),
        attrs_json: r.get(3),
        times_json: r.get(4),
    };
    Ok(changed.iter().map(state).collect())
}

async fn finish(
    transaction: &Transaction<'_>,
    slot: i16,
    commit: &Commit<'_>,
) -> Result<(), tokio_postgres::Error> {
    let ledger = commit.ledger;
    let tenants: Vec<i32> = ledger.iter().map(|l| l.tenant.0).collect();
    let outcomes: Vec<&str> = ledger.iter().map(|l| l.outcome.name()).collect();
    let reasons: Vec<String> = ledger.iter().map(|l| l.reason.replace('\0', "\u{FFFD}")).collect();
    let counts: Vec<i64> = ledger.iter().map(|l| i64::try_from(l.count).unwrap_or(i64::MAX)).collect();
    let minutes: Vec<Option<Micros>> = ledger.iter().map(|l| l.minute.map(Micros)).collect();
    let expected = commit.expected.map(Position::sequence);
    let expected_sub = commit.expected.map(sub);
    let sequence = commit.position.sequence();
    let position_sub = sub(commit.position);
    let rows = i32::try_from(commit.points.len()).unwrap_or(i32::MAX);
    let parameters: &[Parameter<'_>] = &[
        (&commit.stream, Type::TEXT),
        (&commit.shard, Type::TEXT),
        (&commit.consumer, Type::TEXT),
        (&slot, Type::INT2),
        (&expected, Type::TEXT),
        (&expected_sub, Type::INT8),
        (&sequence, Type::TEXT),
        (&position_sub, Type::INT8),
        (&rows, Type::INT4),
        (&tenants, Type::INT4_ARRAY),
        (&outcomes, Type::TEXT_ARRAY),
        (&reasons, Type::TEXT_ARRAY),
        (&counts, Type::INT8_ARRAY),
        (&minutes, Type::TIMESTAMPTZ_ARRAY),
    ];
    transaction.query_typed(FINISH, parameters).await.map(drop)
}
