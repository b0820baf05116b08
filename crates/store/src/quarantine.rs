//! The quarantine after ingest: looked at, sent again, dropped. By a tenant's user through
//! [`Reader`](crate::read::Reader), under row-level security; by an operator, for all
//! tenants and for rows of none, through [`AdminStore`](crate::admin::AdminStore).

use crate::db::Parameter;
use crate::micros::Micros;
use eaves_model::{TenantId, Timestamp};
use serde::Serialize;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Every state a row can be in: waiting, sent again and not yet arrived, settled with at
/// least a piece taken, settled with none (new rows hold what was refused), given up.
pub const STATES: [&str; 5] = ["open", "redriving", "redriven", "refused", "dropped"];
/// What can be quarantined: a record or reading, a value, a value that a plugin derived.
pub const KINDS: [&str; 3] = ["record", "value", "derived"];

/// Whose rows an operator means. A tenant's user sees the tenant's, whatever this says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Owner {
    /// Everybody's.
    #[default]
    Any,
    /// Those of no tenant.
    Nobody,
    /// One tenant's.
    Tenant(TenantId),
}

/// Which rows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Whose.
    pub owner: Owner,
    /// With this reason.
    pub reason: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// About this attribute.
    pub attribute: Option<String>,
    /// Quarantined at this time or later.
    pub since: Option<Timestamp>,
    /// Quarantined before this time.
    pub until: Option<Timestamp>,
    /// Beyond this row in the order of the list.
    pub after: Option<i64>,
    /// Oldest first, as they are to be sent again; else newest first.
    pub oldest_first: bool,
}

/// A row without its payload.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// Its number.
    pub id: i64,
    /// Whose, if a tenant's.
    pub tenant: Option<String>,
    /// The tenant as the record gave it, where there was none of that name.
    pub named_tenant: Option<String>,
    /// One of [`KINDS`].
    pub kind: String,
    /// The reason's code.
    pub reason: String,
    /// The field it is about.
    pub field: String,
    /// A sentence for people.
    pub message: String,
    /// One of [`STATES`].
    pub state: String,
    /// Values in it; 1 for what could not be decoded, 0 for a derived value.
    pub pieces: i32,
    /// The payload's size; none if it is dropped.
    pub payload_bytes: Option<i32>,
    /// The plugin version that refused it.
    pub plugin_digest: Option<String>,
    /// Where it came from.
    pub stream: String,
    /// The shard.
    pub shard: String,
    /// The record's sequence number.
    pub sequence: String,
    /// The sub-record of an aggregated record.
    pub sub: i64,
    /// When the stream took the record.
    pub arrived_at: Option<Timestamp>,
    /// When it was quarantined.
    pub created_at: Timestamp,
    /// How often it was sent again.
    pub attempts: i32,
    /// The row whose redrive was refused and became this one.
    pub redrive_of: Option<i64>,
    /// When somebody last sent or dropped it.
    pub changed_at: Option<Timestamp>,
    /// Who that was.
    pub changed_by: Option<String>,
    /// Why it was dropped.
    pub changed_why: Option<String>,
    /// When the record of its redrive was taken.
    pub settled_at: Option<Timestamp>,
    /// Where that record stands.
    pub settled_sequence: Option<String>,
    /// Pieces of it that were taken then.
    pub taken_again: Option<i32>,
    /// Pieces that were refused again.
    pub refused_again: Option<i32>,
}

/// A row that is to be sent again now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Its number.
    pub id: i64,
    /// Its secret, for the record's frame.
    pub token: [u8; 16],
    /// The bytes.
    pub payload: Vec<u8>,
}

const COLUMNS: &str = "q.quarantine_id, t.name, q.named_tenant, q.kind, q.reason, q.field, q.message, q.state, \
     q.pieces, octet_length(q.payload), q.plugin_digest, q.stream, q.shard, q.sequence::text, q.sub, q.arrived_at, \
     q.created_at, q.attempts, q.redrive_of, q.changed_at, q.changed_by, q.changed_why, q.settled_at, \
     q.settled_sequence::text, q.taken_again, q.refused_again";

const FROM: &str = "from quarantine q left join tenants t on t.tenant_id = q.tenant_id";

const WHERE: &str = "($1::int4 is null or q.tenant_id = $1) and (not $2::bool or q.tenant_id is null) \
     and ($3::text is null or q.reason = $3) and ($4::text is null or q.state = $4) \
     and ($5::text is null or q.kind = $5) \
     and ($6::text is null or q.field = 'values.' || $6 or right(q.field, length($6) + 8) = '.values.' || $6) \
     and ($7::timestamptz is null or q.created_at >= $7) and ($8::timestamptz is null or q.created_at < $8)";

/// The statement that lists rows.
pub(crate) fn list_sql(oldest_first: bool) -> String {
    let (beyond, order) = if oldest_first { (">", "asc") } else { ("<", "desc") };
    format!(
        "select {COLUMNS} {FROM} where {WHERE} and ($9::int8 is null or q.quarantine_id {beyond} $9) \
         order by q.quarantine_id {order} limit $10"
    )
}

/// The statement that counts rows and their pieces.
pub(crate) fn count_sql() -> String {
    format!("select count(*), coalesce(sum(q.pieces), 0)::int8 {FROM} where {WHERE}")
}

/// The statement that reads one row with its payload.
pub(crate) fn one_sql() -> String {
    format!("select {COLUMNS}, q.payload {FROM} where q.quarantine_id = $1")
}

/// A filter's parameters, of which the statements above take the first so many.
pub(crate) struct Bound<'a> {
    tenant: Option<i32>,
    nobody: bool,
    filter: &'a Filter,
    since: Option<Micros>,
    until: Option<Micros>,
}

impl<'a> Bound<'a> {
    pub(crate) fn new(filter: &'a Filter) -> Self {
        let tenant = match filter.owner {
            Owner::Tenant(tenant) => Some(tenant.0),
            Owner::Any | Owner::Nobody => None,
        };
        let nobody = filter.owner == Owner::Nobody;
        Self { tenant, nobody, filter, since: filter.since.map(Micros), until: filter.until.map(Micros) }
    }

    pub(crate) fn parameters(&'a self) -> Vec<Parameter<'a>> {
        vec![
            (&self.tenant, Type::INT4),
            (&self.nobody, Type::BOOL),
            (&self.filter.reason, Type::TEXT),
            (&self.filter.state, Type::TEXT),
            (&self.filter.kind, Type::TEXT),
            (&self.filter.attribute, Type::TEXT),
            (&self.since, Type::TIMESTAMPTZ),
            (&self.until, Type::TIMESTAMPTZ),
        ]
    }
}

pub(crate) fn item(row: &Row) -> Result<Item, tokio_postgres::Error> {
    let time = |at: usize| row.try_get::<_, Option<Micros>>(at).map(|t| t.map(|Micros(t)| t));
    let Micros(created_at) = row.try_get(16)?;
    Ok(Item {
        id: row.try_get(0)?,
        tenant: row.try_get(1)?,
        named_tenant: row.try_get(2)?,
        kind: row.try_get(3)?,
        reason: row.try_get(4)?,
        field: row.try_get(5)?,
        message: row.try_get(6)?,
        state: row.try_get(7)?,
        pieces: row.try_get(8)?,
        payload_bytes: row.try_get(9)?,
        plugin_digest: row.try_get(10)?,
        stream: row.try_get(11)?,
        shard: row.try_get(12)?,
        sequence: row.try_get(13)?,
        sub: row.try_get(14)?,
        arrived_at: time(15)?,
        created_at,
        attempts: row.try_get(17)?,
        redrive_of: row.try_get(18)?,
        changed_at: time(19)?,
        changed_by: row.try_get(20)?,
        changed_why: row.try_get(21)?,
        settled_at: time(22)?,
        settled_sequence: row.try_get(23)?,
        taken_again: row.try_get(24)?,
        refused_again: row.try_get(25)?,
    })
}

/// A row with its payload, as [`one_sql`] reads it.
pub(crate) fn full(row: &Row) -> Result<(Item, Option<Vec<u8>>), tokio_postgres::Error> {
    Ok((item(row)?, row.try_get(26)?))
}

/// A claimed row: `quarantine_id, token, payload`. None if it cannot be one.
pub(crate) fn claimed(row: &Row) -> Option<Claimed> {
    let token: &[u8] = row.try_get(1).ok()?;
    Some(Claimed {
        id: row.try_get(0).ok()?,
        token: token.try_into().ok()?,
        payload: row.try_get::<_, Option<Vec<u8>>>(2).ok()??,
    })
}
