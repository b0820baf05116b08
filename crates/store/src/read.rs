//! Reads for the query function: one tenant at a time, under row-level security.
//!
//! Every read is one unit of BEGIN READ ONLY, the tenant's setting, the statements and
//! COMMIT, sent at once: it costs one round trip, and no other read on the connection
//! can come between (see [`Reader::unit`]). Statements are unnamed, so that a pooler in
//! transaction mode or RDS Proxy can stand in between; what is read most is in functions, whose
//! plans a connection keeps. Each unit also reads how far this server is: [`Snapshot`]. The only things
//! that are written here are what a tenant's user decides about the tenant's quarantine, settings and
//! hot projection, what is decided about the latter by itself, and what queries ask for.

mod aggregate;
mod allowance;
mod buckets;
mod distribution;
mod entities;
mod entity;
mod guards;
mod history;
mod hot;
mod plugins;
mod quarantine;
mod reached;
mod search;
mod series;
mod settings;
mod status;
mod usage;

pub use aggregate::{Aggregate, AggregateQuery, AggregateRow};
pub use allowance::Allowance;
pub use buckets::{Bucket, BucketQuery};
pub use distribution::{Distribution, DistributionQuery, HistogramBucket, TopValue};
pub use entities::EntitiesQuery;
pub use entity::{AttributeRow, EntityRow};
pub(crate) use guards::tenant_guards;
pub use guards::{Cost, TenantGuards};
pub use history::{HistoryPoint, HistoryQuery, Superseded};
pub use hot::{DecidingPlugin, HeldProposal, HotDecision, HotRun, LastHotRun, RunDecision};
pub use plugins::{AttributeInfoRow, PluginEvent, PluginHour, StoredRefusal, StoredValue};
pub use reached::{Awaited, Reached, awaiting};
pub use search::{SearchQuery, SearchRow, SearchSort};
pub use series::{LatestQuery, LatestValue, SeriesPart, SeriesQuery};
pub use settings::OwnChange;
pub use status::{LagPoint, PipelineStatus, SourceStatus};
pub use usage::{Asked, AttributeUsage, DayFigures, HotStatistics};

use crate::{Db, StoreError};
use eaves_model::{TenantId, Timestamp};
use eaves_settings::Postgres;
use eaves_telemetry::span;
use futures_util::TryStreamExt as _;
use futures_util::future::{join_all, join4};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
use tracing::Instrument as _;

/// Makes the transaction a tenant's, limits its statements, and tells how old what it sees may be, by the
/// clock of the server that is read, that clock, whether the server follows another, and whether it is
/// reading again what a crash took (`V79__read_plans.sql`).
const BEGINS: &str =
    "select hot_age_us, history_age_us, at_us, in_recovery, recovering from read_begins($1, $2)";

/// Shortest limit of a statement: 0 would mean none.
const LEAST_LIMIT: Duration = Duration::from_millis(1);
/// How much longer than its limit a statement is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one read may hold unless it says otherwise: an answer has 4 MiB at most, of rows that have more than it
/// shows.
const MOST_BYTES: usize = 32 << 20;

/// How often a change is tried that comes in another's way.
const TRIES: u32 = 4;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No connection to the database.
    #[error("connecting to read failed")]
    Connect(#[source] StoreError),
    /// The database went away, or does not answer in time.
    #[error("the database went away while reading")]
    Away(#[source] Option<tokio_postgres::Error>),
    /// The connection was in use by other reads for as long as this one could wait.
    #[error("all connections to the database are in use")]
    Busy,
    /// The request's time is used up.
    #[error("the time that the request may take is used up")]
    NoTime,
    /// The statement ran longer than it may.
    #[error("the statement ran longer than it may")]
    TooSlow,
    /// A search filter that the database refuses.
    #[error("the filter is refused at {subject:?}: {refusal:?}")]
    Filter {
        /// Why.
        refusal: FilterRefusal,
        /// The attribute or keyword.
        subject: String,
    },
    /// It would have more bytes than may be held; the rest was thrown away.
    #[error("the rows have more than {0} bytes together")]
    TooLarge(usize),
    /// A figure is beyond the range of its type.
    #[error("a figure is beyond the range of its type")]
    OutOfRange,
    /// The planner expects it to cost more than it may; it was not run.
    #[error("the statement would cost {}, more than it may", .0.total)]
    TooExpensive(Cost),
    /// The database refused the statement.
    #[error("a read was refused")]
    Refused(#[source] tokio_postgres::Error),
    /// The database holds something that this version cannot read.
    #[error("cannot read {0}")]
    Unreadable(&'static str),
}

/// Why the database refuses a search filter (SQLSTATE class EV, `V18__search.sql`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterRefusal {
    /// The tenant has no such attribute.
    UnknownAttribute,
    /// The attribute is not in the hot projection.
    NotHot,
    /// The value is of another type than the attribute.
    WrongType,
    /// Not a filter.
    Malformed,
    /// Too deep or too large.
    TooLarge,
}

impl ReadError {
    /// The source failed, not the request: another source may answer.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Away(_))
    }

    /// The server was asked for what is staged, which one that follows another does not have.
    pub fn is_of_a_follower(&self) -> bool {
        matches!(self, Self::Away(Some(e)) if e.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED))
    }
}

impl From<tokio_postgres::Error> for ReadError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else { return Self::Away(Some(error)) };
        let refusal = match database.code().code() {
            "EV001" => FilterRefusal::UnknownAttribute,
            "EV002" => FilterRefusal::NotHot,
            "EV003" => FilterRefusal::WrongType,
            "EV004" => FilterRefusal::Malformed,
            "EV005" => FilterRefusal::TooLarge,
            "EV006" => return Self::TooExpensive(Cost::of_detail(database.detail().unwrap_or_default())),
            _ if *database.code() == SqlState::QUERY_CANCELED => return Self::TooSlow,
            // Somebody else has the table, which no other question would change.
            _ if *database.code() == SqlState::LOCK_NOT_AVAILABLE => return Self::NoTime,
            _ if *database.code() == SqlState::NUMERIC_VALUE_OUT_OF_RANGE => return Self::OutOfRange,
            // Only a server that follows another one says so, of staging.
            _ if *database.code() == SqlState::FEATURE_NOT_SUPPORTED => return Self::Away(Some(error)),
            // Connection exceptions, a replica's recovery that needs what was read, no resources,
            // shutdown, pooler errors.
            code if ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => {
                return Self::Away(Some(error));
            }
            _ => return Self::Refused(error),
        };
        Self::Filter { refusal, subject: database.detail().unwrap_or_default().to_owned() }
    }
}

/// What was read, and how old it may be.
#[derive(Clone, Debug)]
pub struct Snapshot<T> {
    /// What was read.
    pub value: T,
    /// When the read began.
    pub began: Instant,
    /// Everything acknowledged before `began - hot_age` was seen in the hot projection, if the server
    /// is a replica or recovering. (Assumes that the two servers' clocks agree.)
    pub hot_age: Duration,
    /// History held everything committed before `began - history_age`.
    pub history_age: Duration,
    /// When the read began, by the server's clock.
    pub at: Timestamp,
    /// The server follows another one, whatever its address promised: after a failover the
    /// primary's name may lead to a replica for a while.
    pub in_recovery: bool,
    /// It is the primary, and values that were acknowledged before a crash are not read again yet.
    pub recovering: bool,
    /// Whether the records that were waited for ([`awaiting`]) are in what was read; `None` if there
    /// were none.
    pub reached: Option<Reached>,
}

impl<T> Snapshot<T> {
    /// The same ages with another value.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Snapshot<U> {
        let Self { value, began, hot_age, history_age, at, in_recovery, recovering, reached } = self;
        Snapshot { value: with(value), began, hot_age, history_age, at, in_recovery, recovering, reached }
    }

    fn try_map<U>(self, with: impl FnOnce(T) -> Result<U, ReadError>) -> Result<Snapshot<U>, ReadError> {
        let Self { value, began, hot_age, history_age, at, in_recovery, recovering, reached } = self;
        let value = with(value)?;
        Ok(Snapshot { value, began, hot_age, history_age, at, in_recovery, recovering, reached })
    }

    /// How far the hot projection was behind what was acknowledged when the read began, at most.
    pub fn behind(&self) -> Duration {
        if self.in_recovery || self.recovering { self.hot_age } else { Duration::ZERO }
    }
}

/// A parameter with its type: unnamed statements are sent without asking the server.
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// One statement of a unit.
struct Statement<'a> {
    sql: &'a str,
    parameters: &'a [Parameter<'a>],
}

/// Reads from one server, the primary or a replica.
pub struct Reader {
    settings: Postgres,
    limit: Duration,
    most_bytes: usize,
    db: Db,
}

impl Reader {
    /// Reads as the settings say, no statement longer than `limit`. Connects when first used.
    pub fn new(settings: &Postgres, limit: Duration) -> Self {
        Self { settings: settings.clone(), limit, most_bytes: MOST_BYTES, db: Db::new(settings) }
    }

    /// The same, holding up to so many bytes of rows in one read (32 MiB where nothing is said): one
    /// that has more ends as [`ReadError::TooLarge`], and no more than that was in memory.
    pub fn holding(mut self, bytes: usize) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// Another connection to the same server, with a limit of its own.
    pub fn beside(&self, limit: Duration) -> Self {
        Self::new(&self.settings, limit).holding(self.most_bytes)
    }

    /// Gives the connection up, so that the next read looks the server up anew.
    pub fn reconnect(&self) {
        self.db.give_up();
    }

    /// Whether a read is under way on the connection.
    pub fn is_in_use(&self) -> bool {
        self.db.is_in_use()
    }

    /// How far the server is, and nothing else.
    pub async fn ages(&self) -> Result<Snapshot<()>, ReadError> {
        Ok(self.unit(None, &[]).await?.map(|_| ()))
    }

    /// Runs the statements for a tenant in one read-only transaction and one round trip.
    ///
    /// The connection is held exclusively from the first byte to the last answer, and
    /// COMMIT is on its way before the first row comes back. So neither a second request
    /// nor one that is dropped half-way can leave its tenant behind for another.
    async fn unit(
        &self,
        tenant: Option<TenantId>,
        statements: &[Statement<'_>],
    ) -> Result<Snapshot<Vec<Vec<Row>>>, ReadError> {
        self.run(Sent::Unit { begin: "begin read only", tenant, statements }).await
    }

    /// Runs one statement that is a transaction of its own, begins as [`BEGINS`] does by itself and has its
    /// columns first (`V82__entity_in_one.sql`). Its last parameter, which is added here, says how long it may wait
    /// for a lock, in milliseconds. What takes longer by itself is given up on this side only: for look-ups.
    async fn alone(&self, statement: Statement<'_>) -> Result<Snapshot<Vec<Row>>, ReadError> {
        let done = self.run(Sent::Alone(statement)).await?;
        done.try_map(|results| results.into_iter().next().ok_or(ReadError::Unreadable("an answer")))
    }

    /// The same in a transaction that may write. On [`ReadError::Away`] nobody knows whether
    /// it did: only for what can be asked for again.
    async fn write(
        &self,
        tenant: TenantId,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Vec<Row>>, ReadError> {
        for _ in 1..TRIES {
            match self.run(Sent::Unit { begin: "begin", tenant: Some(tenant), statements }).await {
                // Two wanted the same rows in another order. Nothing of it was done.
                Err(ReadError::Refused(e)) if e.code().is_some_and(|c| c.code().starts_with("40")) => {}
                done => return Ok(done?.value),
            }
        }
        Ok(self.run(Sent::Unit { begin: "begin", tenant: Some(tenant), statements }).await?.value)
    }

    /// On the heap: what a statement needs on its way is some 3 kB, and each place that waits for one would have
    /// room for its own in whatever waits for it, up to a request's future of 50 kB that is moved time and again.
    async fn run(&self, sent: Sent<'_>) -> Result<Snapshot<Vec<Vec<Row>>>, ReadError> {
        Box::pin(self.run_here(sent)).await
    }

    async fn run_here(&self, sent: Sent<'_>) -> Result<Snapshot<Vec<Vec<Row>>>, ReadError> {
        let asked = Instant::now();
        let left = Allowance::left().unwrap_or(Duration::MAX);
        if left.is_zero() {
            return Err(ReadError::NoTime);
        }
        let limit = left.min(self.limit);
        // A read waits for others of its instance, and that is no fault of the server.
        let wait = tokio::time::timeout(limit, self.db.slot());
        let Ok(mut slot) = wait.await else { return Err(ReadError::Busy) };
        let whole = limit;
        let limit = limit.saturating_sub(asked.elapsed()).max(LEAST_LIMIT);
        let awaited = reached::awaited();
        let work = async {
            let client = slot.open().await.map_err(ReadError::Connect)?;
            let began = Instant::now();
            let (ages, value, reached) = match &sent {
                Sent::Unit { begin, tenant, statements } => {
                    let (begin, awaited) = ((*begin, *tenant, limit), awaited.as_deref());
                    let (ages, value, reached) =
                        send(client, begin, awaited, statements, self.most_bytes).await?;
                    (Ages::of(&ages)?, value, reached)
                }
                Sent::Alone(Statement { sql, parameters }) => {
                    let ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
                    let mut parameters: Vec<Parameter<'_>> = parameters.to_vec();
                    parameters.push((&ms, Type::INT4));
                    let statement = Statement { sql, parameters: &parameters };
                    let found = rows(client, &statement, &AtomicUsize::new(self.most_bytes)).await?;
                    let found = found.ok_or(ReadError::TooLarge(self.most_bytes))?;
                    (Ages::of(&found)?, vec![found], None)
                }
            };
            Ok::<_, ReadError>((began, ages, value, reached))
        };
        let span = span!(
            "statement",
            otel.kind = "client",
            db.system.name = "postgresql",
            db.query.text = sent.text(),
            server.address = self.settings.host,
            server.port = self.settings.port
        );
        // The database stops a long statement itself; this is for one that does not answer.
        let done = tokio::time::timeout(limit + PATIENCE, work.instrument(span)).await;
        Allowance::spend(asked.elapsed());
        let Ok(done) = done else {
            // Whoever comes next shall not wait behind what never came back.
            slot.close();
            return Err(ReadError::Away(None));
        };
        let (began, ages, value, reached) = match done {
            Err(ReadError::TooSlow) if left < self.limit => return Err(ReadError::NoTime),
            // It waited for longer than it was let run.
            Err(ReadError::TooSlow) if limit < whole / 2 => return Err(ReadError::Busy),
            done => done?,
        };
        let Ages { hot_age, history_age, at, in_recovery, recovering } = ages;
        Ok(Snapshot { value, began, hot_age, history_age, at, in_recovery, recovering, reached })
    }
}

/// What is sent to the server.
enum Sent<'a> {
    /// A transaction of the statements, for a tenant.
    Unit { begin: &'a str, tenant: Option<TenantId>, statements: &'a [Statement<'a>] },
    /// A statement that is one.
    Alone(Statement<'a>),
}

impl Sent<'_> {
    /// What stands in a trace. The text has no values in it: they are parameters.
    fn text(&self) -> &str {
        match self {
            Self::Unit { statements, .. } => statements.first().map_or(BEGINS, |s| s.sql),
            Self::Alone(statement) => statement.sql,
        }
    }
}

/// How far a server is, as [`BEGINS`] tells it.
struct Ages {
    hot_age: Duration,
    history_age: Duration,
    at: Timestamp,
    in_recovery: bool,
    recovering: bool,
}

impl Ages {
    fn of(rows: &[Row]) -> Result<Self, ReadError> {
        let row = rows.first().ok_or(ReadError::Unreadable("the heartbeat"))?;
        let micros = |column: usize| -> Result<i64, ReadError> {
            row.try_get(column).map_err(|_| ReadError::Unreadable("the heartbeat"))
        };
        // A clock that is behind shall not make data from the future.
        let age =
            |column| Ok::<_, ReadError>(Duration::from_micros(u64::try_from(micros(column)?).unwrap_or(0)));
        let at = Timestamp::from_micros(micros(2)?).ok_or(ReadError::Unreadable("the server's clock"))?;
        let flag = |column: usize| -> Result<bool, ReadError> {
            row.try_get(column).map_err(|_| ReadError::Unreadable("whether it is in recovery"))
        };
        let (in_recovery, recovering) = (flag(3)?, flag(4)?);
        Ok(Self { hot_age: age(0)?, history_age: age(1)?, at, in_recovery, recovering })
    }
}

async fn send(
    client: &Client,
    (begin, tenant, limit): (&str, Option<TenantId>, Duration),
    awaited: Option<&Awaited>,
    statements: &[Statement<'_>],
    most_bytes: usize,
) -> Result<(Vec<Row>, Vec<Vec<Row>>, Option<Reached>), ReadError> {
    let tenant = tenant.map(|t| t.0);
    let limit = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    let begins: [Parameter<'_>; 2] = [(&tenant, Type::INT4), (&limit, Type::INT4)];
    let parameters = awaited.map(Awaited::parameters);
    // First: what it finds is then in the snapshots of all that come after.
    let asked = parameters.as_ref().map(|p| Awaited::statement(p));
    let all = asked.iter().chain(statements);
    let left = AtomicUsize::new(most_bytes);
    // These joins poll in order, and each future sends at its first poll: the messages
    // leave as they stand here. (`tokio::join!` would rotate them.)
    let (begun, ages, rows, committed) = join4(
        client.batch_execute(begin),
        client.query_typed(BEGINS, &begins),
        join_all(all.map(|s| rows(client, s, &left))),
        client.batch_execute("commit"),
    )
    .await;
    begun?;
    let ages = ages?;
    let mut rows = rows.into_iter();
    let reached = match asked.and_then(|_| rows.next()) {
        Some(found) => Some(reached::reached(&found?.ok_or(ReadError::TooLarge(most_bytes))?)?),
        None => None,
    };
    let rows =
        rows.map(|found| found?.ok_or(ReadError::TooLarge(most_bytes))).collect::<Result<_, ReadError>>()?;
    committed?;
    Ok((ages, rows, reached))
}

/// A statement's rows, as long as there is room for them; `None` if there is not. What comes after is read and thrown
/// away, so that the connection is as good as before.
async fn rows(
    client: &Client,
    statement: &Statement<'_>,
    left: &AtomicUsize,
) -> Result<Option<Vec<Row>>, tokio_postgres::Error> {
    let parameters = statement.parameters.iter().map(|(value, type_)| (*value, type_.clone()));
    let found = client.query_typed_raw(statement.sql, parameters).await?;
    let mut found = std::pin::pin!(found);
    let mut rows = Vec::new();
    while let Some(row) = found.try_next().await? {
        let bytes = row.raw_size_bytes();
        let room = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if room.is_err() {
            return Ok(None);
        }
        rows.push(row);
    }
    Ok(Some(rows))
}
