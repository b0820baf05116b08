//! The quarantine's part of the transaction that takes a batch (`V24__quarantine_states.sql`).

use super::commit::sub;
use super::{Commit, QuarantineKind, Quarantined};
use crate::db::Parameter;
use crate::micros::Micros;
use eaves_model::Position;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Transaction};

const ADD: &str = "select quarantine_add($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
     $16, $17)";

const REPLAYED: &str = "select quarantine_replayed($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const SETTLE: &str = "select redrive_settle($1, $2, $3, $4, $5, $6)";

impl QuarantineKind {
    /// The name in `quarantine.kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Value => "value",
            Self::Derived => "derived",
        }
    }
}

/// A count as the database has it.
fn int(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Adds what was refused. `again`: the records are read again, so rows of theirs that were
/// refused then and not now are forgotten.
pub(super) async fn quarantine(
    transaction: &Transaction<'_>,
    commit: &Commit<'_>,
    again: bool,
) -> Result<(), Error> {
    let refused = commit.quarantine;
    let column = |of: fn(&Quarantined) -> &str| -> Vec<String> {
        // The one character that text cannot hold.
        refused.iter().map(|q| of(q).replace('\0', "\u{FFFD}")).collect()
    };
    let sequences = column(|q| &q.sequence);
    let subs: Vec<i64> = refused.iter().map(|q| i64::from(q.sub)).collect();
    let items: Vec<i32> = refused.iter().map(|q| q.item).collect();
    if again {
        let parameters: &[Parameter<'_>] = &[
            (&commit.stream, Type::TEXT),
            (&commit.shard, Type::TEXT),
            (&commit.expected.map(Position::sequence), Type::TEXT),
            (&commit.expected.map(sub), Type::INT8),
            (&commit.position.sequence(), Type::TEXT),
            (&sub(commit.position), Type::INT8),
            (&sequences, Type::TEXT_ARRAY),
            (&subs, Type::INT8_ARRAY),
            (&items, Type::INT4_ARRAY),
        ];
        transaction.query_typed(REPLAYED, parameters).await?;
    }
    if refused.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Option<i32>> = refused.iter().map(|q| q.tenant.map(|t| t.0)).collect();
    let kinds = column(|q| q.kind.name());
    let reasons = column(|q| &q.rejection.code.0);
    let fields = column(|q| &q.rejection.field);
    let messages = column(|q| &q.rejection.message);
    let payloads: Vec<&[u8]> = refused.iter().map(|q| q.payload.as_slice()).collect();
    let digests: Vec<Option<&str>> = refused.iter().map(|q| q.plugin_digest.as_deref()).collect();
    let pieces: Vec<i32> = refused.iter().map(|q| int(q.pieces)).collect();
    let named: Vec<Option<String>> =
        refused.iter().map(|q| q.named.as_ref().map(|n| n.replace('\0', "\u{FFFD}"))).collect();
    let arrived: Vec<Option<Micros>> = refused.iter().map(|q| q.arrived.map(Micros)).collect();
    let redrive_of: Vec<Option<i64>> = refused.iter().map(|q| q.redrive_of).collect();
    let attempts: Vec<i32> = refused.iter().map(|q| int(q.attempts)).collect();
    let parameters: &[Parameter<'_>] = &[
        (&commit.stream, Type::TEXT),
        (&commit.shard, Type::TEXT),
        (&tenants, Type::INT4_ARRAY),
        (&kinds, Type::TEXT_ARRAY),
        (&reasons, Type::TEXT_ARRAY),
        (&fields, Type::TEXT_ARRAY),
        (&messages, Type::TEXT_ARRAY),
        (&payloads, Type::BYTEA_ARRAY),
        (&sequences, Type::TEXT_ARRAY),
        (&subs, Type::INT8_ARRAY),
        (&items, Type::INT4_ARRAY),
        (&digests, Type::TEXT_ARRAY),
        (&pieces, Type::INT4_ARRAY),
        (&named, Type::TEXT_ARRAY),
        (&arrived, Type::TIMESTAMPTZ_ARRAY),
        (&redrive_of, Type::INT8_ARRAY),
        (&attempts, Type::INT4_ARRAY),
    ];
    transaction.query_typed(ADD, parameters).await.map(drop)
}

/// Settles the rows whose redrive is in the batch; false if one of them is settled by
/// another record already.
pub(super) async fn settle(transaction: &Transaction<'_>, commit: &Commit<'_>) -> Result<bool, Error> {
    let settled = commit.redrives;
    if settled.is_empty() {
        return Ok(true);
    }
    let ids: Vec<i64> = settled.iter().map(|r| r.id).collect();
    let sequences: Vec<&str> = settled.iter().map(|r| r.sequence.as_str()).collect();
    let taken: Vec<i32> = settled.iter().map(|r| int(r.taken)).collect();
    let refused: Vec<i32> = settled.iter().map(|r| int(r.refused)).collect();
    let parameters: &[Parameter<'_>] = &[
        (&commit.stream, Type::TEXT),
        (&commit.shard, Type::TEXT),
        (&ids, Type::INT8_ARRAY),
        (&sequences, Type::TEXT_ARRAY),
        (&taken, Type::INT4_ARRAY),
        (&refused, Type::INT4_ARRAY),
    ];
    let row = transaction.query_typed_one(SETTLE, parameters).await?;
    Ok(usize::try_from(row.get::<_, i32>(0)).is_ok_and(|n| n == settled.len()))
}
