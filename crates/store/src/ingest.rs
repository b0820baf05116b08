//! The write path's side of the database: names to identifiers, checkpoints, and the one
//! transaction that takes a batch.

mod commit;
mod copy;
mod guarded;
mod hot;
mod place;
mod plugins;
mod refused;
mod statistics;
mod tenants;

pub use guarded::{Correction, Decided, Guard, Held};
pub use tenants::TenantRules;
pub(crate) use tenants::limit;

use crate::StoreError;
use crate::db::{Db, MaybeStore, Parameter, connect};
use eaves_model::batch::Point;
use eaves_model::usage::WriteMeter;
use eaves_model::{AttributeId, EntityId, PluginId, Position, Rejection, TenantId, Timestamp, ValueType};
use eaves_settings::Postgres;
use std::collections::HashMap;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

pub use eaves_model::delivery::Checkpoint;
pub use place::{Loss, LossKind, ShardPlace};
pub use plugins::{HotValue, PluginFigures, PluginVersion};

/// Logs in as `eaves_ingest`: it can add to staging and call functions, nothing else.
pub struct IngestStore {
    db: Db,
    meter: WriteMeter,
}

/// An entity as registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// The tenant's own name for it.
    pub external_id: String,
    /// Its identifier.
    pub id: EntityId,
    /// Its type; empty if unknown.
    pub entity_type: String,
}

/// An attribute as registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub id: AttributeId,
    /// Its type.
    pub value_type: ValueType,
    /// Its unit; empty if none is set.
    pub unit: String,
    /// Its latest value belongs in the hot projection.
    pub is_hot: bool,
}

/// A batch of one shard's records, ready to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The stream.
    pub stream: &'a str,
    /// The shard.
    pub shard: &'a str,
    /// Who reads it: each consumer has checkpoints of its own.
    pub consumer: &'a str,
    /// The checkpoint that the batch was made on.
    pub expected: Option<&'a Position>,
    /// The checkpoint afterwards.
    pub position: &'a Position,
    /// The values, in the order in which later ones replace earlier ones.
    pub points: &'a [Point],
    /// Readings with hot attributes, in the same order.
    pub hot: &'a [HotRow],
    /// What became of everything in the batch.
    pub ledger: &'a [LedgerLine],
    /// What could not be taken.
    pub quarantine: &'a [Quarantined],
    /// Quarantine rows whose redrive is among the records.
    pub redrives: &'a [Settled],
}

/// The hot attributes of one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotRow {
    /// Whose.
    pub tenant: TenantId,
    /// Of which entity.
    pub entity: EntityId,
    /// When they were seen.
    pub observed_at: Timestamp,
    /// `{"attribute": value, …}`, as `Value::write_json` writes values.
    pub attrs_json: String,
}

/// What became of a piece. A piece is a value of a reading; what could not be decoded is one
/// piece. Of what the stream has, received = accepted + rejected + quarantined + duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was read from the stream.
    Received,
    /// A value that was taken.
    Accepted,
    /// A value that was refused.
    Rejected,
    /// A piece of a record or reading that could not be taken.
    Quarantined,
    /// A piece of a redriven record whose effect another record had already.
    Duplicate,
    /// A value or record taken again because an operator asked for it: it was counted as
    /// one of the others when it was first taken.
    Replayed,
    /// Beside the equation: a value that a plugin added.
    Derived,
    /// Beside the equation: a value that a plugin wanted to add.
    DerivedRejected,
    /// Beside the equation: a record that the stream delivered again.
    Redelivered,
}

impl Outcome {
    /// The name in `ingest_ledger.outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Quarantined => "quarantined",
            Self::Duplicate => "duplicate",
            Self::Replayed => "replayed",
            Self::Derived => "derived",
            Self::DerivedRejected => "derived_rejected",
            Self::Redelivered => "redelivered",
        }
    }
}

/// A count for the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerLine {
    /// Whose; 0 where it is no tenant that exists.
    pub tenant: TenantId,
    /// What became of it.
    pub outcome: Outcome,
    /// The reason's code; empty for accepted values.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// When the stream took what is counted, to the minute; now if it is not known.
    pub minute: Option<Timestamp>,
}

/// What is quarantined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuarantineKind {
    /// A record or a whole reading.
    Record,
    /// One value of a reading.
    Value,
    /// One value that a plugin wanted to add.
    Derived,
}

/// Something that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Whose, if that is known and exists.
    pub tenant: Option<TenantId>,
    /// What.
    pub kind: QuarantineKind,
    /// Why.
    pub rejection: Rejection,
    /// The bytes, so that they can be looked at and sent again.
    pub payload: Vec<u8>,
    /// Where in the shard it came from.
    pub sequence: String,
    /// The sub-record.
    pub sub: u32,
    /// The plugin version that refused it.
    pub plugin_digest: Option<String>,
    /// Its place in the sub-record: the same whenever the record is read, and no other's.
    pub item: i32,
    /// How many pieces it is in the ledger.
    pub pieces: u32,
    /// The tenant it names, where there is none of that name.
    pub named: Option<String>,
    /// When the stream took the record.
    pub arrived: Option<Timestamp>,
    /// The row whose redrive this comes from.
    pub redrive_of: Option<i64>,
    /// How often it has been sent again.
    pub attempts: u32,
}

/// A redriven record, as the database is asked about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redriven {
    /// The quarantine row it is for.
    pub id: i64,
    /// The row's token, as the record has it.
    pub token: Vec<u8>,
    /// Where the record stands in the shard.
    pub sequence: String,
}

/// What is to be made of a redriven record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It takes effect.
    Take {
        /// Whose the row is; none if it is no tenant's.
        tenant: Option<TenantId>,
        /// How often it has been sent again.
        attempts: u32,
    },
    /// Another record had its effect, or the row was dropped.
    Duplicate,
    /// The platform did not make it.
    Forged,
}

/// A quarantine row that a record settles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The row.
    pub id: i64,
    /// The record.
    pub sequence: String,
    /// Pieces of it that were taken.
    pub taken: u32,
    /// Pieces of it that were refused again.
    pub refused: u32,
}

/// A batch that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The entities whose hot attributes changed, as they are now.
    pub hot: Vec<HotState>,
    /// The batch's `ingested_at`: the database's clock when the transaction began.
    pub ingested_at: Timestamp,
}

/// An entity's hot attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotState {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub entity: EntityId,
    /// Grows with every change.
    pub version: i64,
    /// `{"attribute": value}`.
    pub attrs_json: String,
    /// `{"attribute": observed_at in microseconds since 1970}`.
    pub times_json: String,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else has moved the checkpoint.
    #[error("the shard's checkpoint is not where the batch begins")]
    CheckpointMoved {
        /// Where it is.
        current: Option<Position>,
    },
    /// A crash or failover has emptied staging: what was taken after `flushed` is gone.
    #[error("staging was emptied since the shard's checkpoint moved")]
    StagingLost {
        /// Up to where the shard is in history.
        flushed: Option<Position>,
    },
    /// A redriven record is a duplicate by now: another shard's was faster.
    #[error("a redriven record took effect elsewhere meanwhile")]
    RedriveSettled,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl MaybeStore for CommitError {
    fn store(&self) -> Option<&StoreError> {
        match self {
            Self::Store(e) => Some(e),
            _ => None,
        }
    }
}

impl IngestStore {
    /// Connects now, so that wrong settings show at start.
    pub async fn connect(settings: &Postgres) -> Result<Self, StoreError> {
        Ok(Self { db: connect(settings).await?, meter: WriteMeter::default() })
    }

    /// Connects when it is first used.
    pub fn new(settings: &Postgres) -> Self {
        Self { db: Db::new(settings), meter: WriteMeter::default() }
    }

    /// Those of the named tenants that exist, with their rules.
    pub async fn tenants(&mut self, names: &[&str]) -> Result<Vec<TenantRules>, StoreError> {
        let rows = self.db.query("looking up tenants", tenants::SQL, &[(&names, Type::TEXT_ARRAY)]).await?;
        rows.iter().map(tenants::rules).collect()
    }

    /// The entities of these names and types (empty: unknown). Unknown ones are registered
    /// if `create` is set and the tenant is not strict; else they are missing from the
    /// answer.
    pub async fn register_entities(
        &mut self,
        tenant: TenantId,
        entities: &[(&str, &str)],
        create: bool,
    ) -> Result<Vec<Entity>, StoreError> {
        let (ids, types): (Vec<&str>, Vec<&str>) = entities.iter().copied().unzip();
        let sql = "select ord, entity_id, entity_type from register_entities($1, $2, $3, $4)";
        let rows = self.register("registering entities", sql, tenant, &ids, &types, create).await?;
        let entity = |(at, r): (usize, &Row)| Entity {
            external_id: ids[at].to_owned(),
            id: EntityId(r.get(1)),
            entity_type: r.get(2),
        };
        indexed(&rows, ids.len())?.map(|found| Ok(entity(found))).collect()
    }

    /// The attributes of these names. Unknown ones are registered with the type given if
    /// `create` is set and the tenant is not strict; else they are missing from the answer.
    pub async fn register_attributes(
        &mut self,
        tenant: TenantId,
        attributes: &[(&str, ValueType)],
        create: bool,
    ) -> Result<Vec<Attribute>, StoreError> {
        let (names, types): (Vec<&str>, Vec<&str>) = attributes.iter().map(|(n, t)| (*n, t.name())).unzip();
        let sql =
            "select ord, attribute_id, value_type, unit, is_hot from register_attributes($1, $2, $3, $4)";
        let rows = self.register("registering attributes", sql, tenant, &names, &types, create).await?;
        let attribute = |(at, r): (usize, &Row)| -> Result<Attribute, StoreError> {
            let value_type: &str = r.get(2);
            Ok(Attribute {
                name: names[at].to_owned(),
                id: AttributeId(r.get(1)),
                value_type: value_type.parse().map_err(|_| StoreError::Unreadable("a value type"))?,
                unit: r.get(3),
                is_hot: r.get(4),
            })
        };
        indexed(&rows, names.len())?.map(attribute).collect()
    }

    async fn register(
        &self,
        operation: &'static str,
        sql: &str,
        tenant: TenantId,
        names: &[&str],
        types: &[&str],
        create: bool,
    ) -> Result<Vec<Row>, StoreError> {
        // Null leaves it to the tenant's own setting, which a caller may have cached.
        let create = if create { None } else { Some(false) };
        let parameters: &[Parameter<'_>] = &[
            (&tenant.0, Type::INT4),
            (&names, Type::TEXT_ARRAY),
            (&types, Type::TEXT_ARRAY),
            (&create, Type::BOOL),
        ];
        self.db.query(operation, sql, parameters).await
    }

    /// The number that history rows carry for a plugin version with its settings.
    pub async fn register_plugin(
        &mut self,
        tenant: TenantId,
        name: &str,
        digest: &str,
        settings_digest: &str,
    ) -> Result<PluginId, StoreError> {
        let parameters: &[Parameter<'_>] = &[
            (&tenant.0, Type::INT4),
            (&name, Type::TEXT),
            (&digest, Type::TEXT),
            (&settings_digest, Type::TEXT),
        ];
        let sql = "select register_plugin($1, $2, $3, $4)";
        let row = self.db.query_one("registering a plugin version", sql, parameters).await?;
        Ok(PluginId(row.get(0)))
    }

    /// What is to be made of redriven records of a shard, in their order. The commit looks
    /// again, under lock.
    pub async fn redrives(
        &mut self,
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
        let sql = "select verdict, tenant_id, attempts from redrive_check($1, $2, $3, $4, $5) order by ord";
        let rows = self.db.query("looking up redriven records", sql, parameters).await?;
        if rows.len() != redriven.len() {
            return Err(StoreError::Unreadable("what becomes of a redriven record"));
        }
        Ok(rows.iter().map(verdict).collect())
    }

    /// Takes a batch: values to staging, hot attributes, ledger, quarantine and checkpoint,
    /// all or nothing. On return it is acknowledged: it survives everything but a crash of
    /// the database, after which [`CommitError::StagingLost`] asks for it again.
    pub async fn commit(&mut self, commit: &Commit<'_>) -> Result<Committed, CommitError> {
        self.run(commit, None).await
    }

    /// Like [`Self::commit`] for a batch with guarded points: `guard` is told what they
    /// hold already and decides what is written, in the same transaction. The batches of a
    /// tenant with guarded points are taken one at a time, over all shards.
    pub async fn commit_guarded(
        &mut self,
        commit: &Commit<'_>,
        guard: Guard<'_>,
    ) -> Result<Committed, CommitError> {
        self.run(commit, Some(guard)).await
    }

    async fn run(&mut self, commit: &Commit<'_>, guard: Option<Guard<'_>>) -> Result<Committed, CommitError> {
        // On the heap: 10 kB that whoever waits would have to have room for, several times.
        let work = Box::pin(commit::run(&self.db, &mut self.meter, commit, guard));
        let done = self.db.guarded("taking a batch", work).await;
        if done.is_err() {
            // What the meter told of may have been rolled back, or lost with staging.
            self.meter.forget();
        }
        done
    }
}

/// What `redrive_check` answered: verdict, tenant, attempts.
pub(crate) fn verdict(row: &Row) -> Verdict {
    match row.get::<_, &str>(0) {
        "take" => Verdict::Take {
            tenant: row.get::<_, Option<i32>>(1).map(TenantId),
            attempts: row.get::<_, Option<i32>>(2).unwrap_or_default().unsigned_abs(),
        },
        "duplicate" => Verdict::Duplicate,
        _ => Verdict::Forged,
    }
}

/// Rows with the index of what they answer; `ord` counts from 1.
fn indexed(rows: &[Row], asked: usize) -> Result<impl Iterator<Item = (usize, &Row)>, StoreError> {
    let at = |row: &Row| usize::try_from(row.get::<_, i32>(0)).ok().and_then(|n| n.checked_sub(1));
    if rows.iter().any(|row| at(row).is_none_or(|at| at >= asked)) {
        return Err(StoreError::Unreadable("what a registration answered"));
    }
    Ok(rows.iter().map(move |row| (at(row).unwrap_or_default(), row)))
}

/// Numbers things within their sub-record from 1: the same when the record is read again.
fn numbered<'a>(places: impl Iterator<Item = (&'a str, u32)>) -> Vec<i32> {
    let mut seen: HashMap<(&str, u32), i32> = HashMap::new();
    let number = |place| {
        let next = seen.entry(place).or_default();
        *next += 1;
        *next
    };
    places.map(number).collect()
}
