//! The hot projection of a million entities: written, searched, read, filled in.

use crate::million::{ATTRIBUTES, HOT, Million, Part, value};
use crate::results::{Figure, percentile};
use crate::rig::Rig;
use anyhow::{Context as _, Result, ensure};
use eaves_cache::Entry;
use eaves_model::{EntityId, Timestamp};
use eaves_store::flush::{FlushStore, Pace};
use eaves_store::read::{Reader, SearchQuery};
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

pub(crate) const NAMES: &[&str] = &[
    "hot_filter_1200_p95_ms",
    "hot_filter_50_p95_ms",
    "hot_range_1200_p95_ms",
    "hot_range_50_p95_ms",
    "entity_db_p95_ms",
    "entity_redis_p95_ms",
    "hot_upsert_device_values_per_s",
    "hot_upsert_random_values_per_s",
    "backfill_values_per_s",
];

const WARM_UP: usize = 20;
const SEARCHES: usize = 200;
const READS: usize = 5_000;
/// Values of a batch, as ingest commits them.
const BATCH: usize = 5_000;
/// Writers, as shards would have them.
const WRITERS: usize = 2;
/// How long writers write.
const WRITING: Duration = Duration::from_secs(10);

pub(crate) async fn measure(
    rig: &Rig,
    million: &Million,
    wanted: &impl Fn(&[&str]) -> bool,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    // On one thread, as the query function reads: between two, each of an answer's parts would be handed on.
    tokio::task::block_in_place(|| {
        let one = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        one.block_on(reads(rig, million, wanted, figures))
    })?;
    // What writes comes last.
    if wanted(&NAMES[6..8]) {
        // A replica is another machine's work.
        rig.without_replica(true).await?;
        for (name, random) in [(NAMES[6], false), (NAMES[7], true)] {
            if wanted(&[name]) {
                figures.push(upserts(rig, million, name, random).await.context(name)?);
            }
        }
        rig.without_replica(false).await?;
    }
    if wanted(&["backfill_values_per_s"]) {
        rig.without_replica(true).await?;
        figures.push(backfill(rig, million).await.context("backfill_values_per_s")?);
        rig.without_replica(false).await?;
    }
    Ok(())
}

async fn reads(
    rig: &Rig,
    million: &Million,
    wanted: &impl Fn(&[&str]) -> bool,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let reader = Reader::new(&rig.database("eaves_query")?, Duration::from_secs(20));
    let plain = rig.admin().await?;
    for (name, what, filters) in filters() {
        if wanted(&[name]) {
            figures.push(searches(&reader, &plain, million, (name, what), &filters).await?);
        }
    }
    if wanted(&["entity_db_p95_ms"]) {
        figures.push(from_database(&reader, &plain, million).await?);
    }
    if wanted(&["entity_redis_p95_ms"]) {
        figures.push(from_redis(rig, million).await?);
    }
    Ok(())
}

/// Filters in turn, so that no answer is just repeated. Of the half million entities one in 300 has a
/// site, five in seven are online, one in 30 has a firmware.
fn filters() -> Vec<(&'static str, &'static str, Vec<String>)> {
    let equal = |attribute: &str, value: &str| format!(r#"{{"attribute":"{attribute}","eq":"{value}"}}"#);
    let both = |a: &str, b: &str| format!(r#"{{"and":[{a},{b}]}}"#);
    let site = |n: u32| equal("site", &format!("site-{n}"));
    let range = |n: u32, wide: f64| {
        let low = f64::from(n) * 1.5;
        format!(r#"{{"attribute":"temperature","gte":{low},"lt":{:.2}}}"#, low + wide)
    };
    let each = |make: &dyn Fn(u32) -> String| (0..50).map(make).collect::<Vec<_>>();
    vec![
        (
            NAMES[0],
            "two attributes, about 1,200 match",
            each(&|n| both(&site(n), &equal("status", "online"))),
        ),
        (
            NAMES[1],
            "two attributes, about 55 match",
            each(&|n| both(&site(n), &equal("firmware", &format!("3.{}", n % 30)))),
        ),
        (NAMES[2], "a range of a number, about 1,200 match", each(&|n| range(n, 0.24))),
        (NAMES[3], "a range of a number, about 50 match", each(&|n| range(n, 0.01))),
    ]
}

/// A page of a hundred through the store, beside the same condition as plain SQL without row-level
/// security, the page of it included.
async fn searches(
    reader: &Reader,
    plain: &Client,
    million: &Million,
    (name, what): (&'static str, &str),
    filters: &[String],
) -> Result<Figure> {
    let tenant = million.fleet().tenant;
    let mut matches = 0;
    let (mut took, mut bare) = (Vec::new(), Vec::new());
    // Each filter once: a figure of what is in memory.
    let warm_up = filters.len();
    for n in 0..warm_up + SEARCHES {
        let filter = &filters[n % filters.len()];
        let query = SearchQuery::new(tenant, filter.as_str(), 101);
        let began = Instant::now();
        let found = reader.search(&query).await?.value;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        let sql = "select search_condition($1, $2::text::jsonb)";
        let condition: String = plain.query_one(sql, &[&tenant.0, filter]).await?.get(0);
        let sql = format!(
            "select h.entity_id, h.hot_attrs::text, count(*) over () from entity_jsonb h
             where h.tenant_id = {tenant} and {condition} order by h.entity_id limit 101"
        );
        let began = Instant::now();
        let rows = plain.query(&sql.replace("$1", &tenant.to_string()), &[]).await?;
        let plain_ms = began.elapsed().as_secs_f64() * 1e3;
        ensure!(found.len() == rows.len(), "{filter}: {} of {}", found.len(), rows.len());
        if n >= warm_up {
            matches += rows.first().map_or(0, |row| row.get::<_, i64>(2));
            took.push(ms);
            bare.push(plain_ms);
        }
    }
    let mean = matches / took.len() as i64;
    let note = format!(
        "{what} ({mean} on the mean) of {} entities, a page of 100, under row-level security; median {:.2} ms; {}; baseline: the same by plain SQL as superuser, prepared each time, p95",
        million.fleet().entities,
        percentile(&mut took, 50.0),
        million.size()
    );
    let n = took.len() as u64;
    Ok(Figure::new(name, percentile(&mut took, 95.0), "ms", percentile(&mut bare, 95.0), n, note))
}

/// Some of the fleet's entities, strangers to one another.
fn some(part: &Part, n: usize) -> impl Iterator<Item = i64> + '_ {
    (0..n as i64).map(|at| part.first_entity + (at * 7_919) % part.entities)
}

async fn from_database(reader: &Reader, plain: &Client, million: &Million) -> Result<Figure> {
    let fleet = million.fleet();
    let sql = "select hot_attrs::text, hot_times::text, version from entity_jsonb h join entities e using (tenant_id, entity_id)
               where e.tenant_id = $1 and e.external_id = $2";
    let statement = plain.prepare(sql).await?;
    let (mut took, mut bare) = (Vec::new(), Vec::new());
    // Each once before: a connection that was made just now has none of the shared memory mapped.
    for entity in some(fleet, WARM_UP + READS) {
        let name = fleet.external_id(entity);
        reader.entity(fleet.tenant, &name).await?;
        plain.query_one(&statement, &[&fleet.tenant.0, &name]).await?;
    }
    for (n, entity) in some(fleet, WARM_UP + READS).enumerate() {
        let name = fleet.external_id(entity);
        let began = Instant::now();
        let found = reader.entity(fleet.tenant, &name).await?.value;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        ensure!(found.is_some_and(|e| e.version > 0), "{name} is not there");
        let began = Instant::now();
        plain.query_one(&statement, &[&fleet.tenant.0, &name]).await?;
        let plain_ms = began.elapsed().as_secs_f64() * 1e3;
        if n >= WARM_UP {
            took.push(ms);
            bare.push(plain_ms);
        }
    }
    let note = format!(
        "an entity by name at the store interface, its age included, each read once before; median {:.3} ms; {}; baseline: a prepared join as superuser, p95",
        percentile(&mut took, 50.0),
        million.size()
    );
    let p95 = percentile(&mut took, 95.0);
    Ok(Figure::new("entity_db_p95_ms", p95, "ms", percentile(&mut bare, 95.0), READS as u64, note))
}

async fn from_redis(rig: &Rig, million: &Million) -> Result<Figure> {
    const CACHED: usize = 5_000;
    let fleet = million.fleet();
    let cache = rig.cache()?;
    let reader = Reader::new(&rig.database("eaves_query")?, Duration::from_secs(20));
    let mut entries = Vec::new();
    for entity in some(fleet, CACHED) {
        let found = reader.entity(fleet.tenant, &fleet.external_id(entity)).await?.value;
        let found = found.context("an entity of the fleet")?;
        entries.push(Entry {
            tenant: fleet.tenant,
            entity: found.entity,
            version: found.version,
            as_of: Timestamp::now(),
            attrs_json: found.attrs_json,
            times_json: found.times_json,
            taken: None,
        });
    }
    cache.write_through(&entries).await?;
    let (mut took, mut bare) = (Vec::new(), Vec::new());
    for (n, entry) in entries.iter().cycle().take(WARM_UP + READS).enumerate() {
        let began = Instant::now();
        let found = cache.get(entry.tenant, EntityId(entry.entity.0)).await?;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        ensure!(found.is_some(), "an entry is not there");
        let began = Instant::now();
        cache.ping().await?;
        let ping_ms = began.elapsed().as_secs_f64() * 1e3;
        if n >= WARM_UP {
            took.push(ms);
            bare.push(ping_ms);
        }
    }
    let median = percentile(&mut took, 50.0);
    let note =
        format!("one of {CACHED} entries of ten attributes; median {median:.3} ms; baseline: PING, p95");
    let p95 = percentile(&mut took, 95.0);
    Ok(Figure::new("entity_redis_p95_ms", p95, "ms", percentile(&mut bare, 95.0), READS as u64, note))
}

/// What a batch gives to the upsert, in the order of the parameters.
struct Batch {
    tenants: Vec<i32>,
    entities: Vec<i64>,
    attrs: Vec<String>,
    times: Vec<String>,
    at: f64,
}

/// A batch of all hot attributes of entities that follow each other, or of one attribute each.
fn batch(part: &Part, writer: usize, n: usize, random: bool, at_us: i64) -> Batch {
    let mut batch = Batch {
        tenants: Vec::new(),
        entities: Vec::new(),
        attrs: Vec::new(),
        times: Vec::new(),
        at: at_us as f64 / 1e6,
    };
    // Each writer has entities of its own, as shards have.
    let own = part.entities / WRITERS as i64;
    let first = part.first_entity + own * writer as i64;
    let rows = if random { BATCH } else { BATCH / HOT };
    let step = if random { 7_919 } else { 1 };
    let mut entities: Vec<i64> =
        (0..rows).map(|row| first + ((n * rows + row) as i64 * step) % own).collect();
    entities.sort_unstable();
    entities.dedup();
    for entity in entities {
        let (mut attrs, mut times) = (String::from("{"), String::from("{"));
        let only = random.then_some((n + entity as usize) % HOT);
        for (i, (name, _)) in
            ATTRIBUTES.iter().enumerate().take(HOT).filter(|(i, _)| only.is_none_or(|o| o == *i))
        {
            if attrs.len() > 1 {
                attrs.push(',');
                times.push(',');
            }
            let _infallible = write!(attrs, "\"{name}\":");
            value(entity, at_us, i).json(&mut attrs);
            let _infallible = write!(times, "\"{name}\":{at_us}");
        }
        attrs.push('}');
        times.push('}');
        batch.tenants.push(part.tenant.0);
        batch.entities.push(entity);
        batch.attrs.push(attrs);
        batch.times.push(times);
    }
    batch
}

/// As ingest calls it in its transaction, once for a batch.
const UPSERT: &str = "select tenant_id, entity_id, version, hot_attrs, hot_times
     from upsert_hot_batch($1, $2::int8[], array_fill(to_timestamp($3), array[cardinality($2::int8[])]),
       array_fill(to_timestamp($3), array[cardinality($2::int8[])]), $4::text[]::jsonb[], $5::text[]::jsonb[])";

async fn upserts(rig: &Rig, million: &Million, name: &'static str, random: bool) -> Result<Figure> {
    let part = million.fleet().clone();
    let started = newest(rig, &part).await? + 1_000_000;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let client = connect(rig, "eaves_ingest").await?;
        let part = part.clone();
        writers.push(async move {
            client.batch_execute("set synchronous_commit = off").await?;
            let (mut values, mut rows, mut busy) = (0_u64, 0_u64, Duration::ZERO);
            let end = Instant::now() + WRITING;
            for n in 0.. {
                if Instant::now() > end {
                    break;
                }
                let b = batch(&part, writer, n, random, started + n as i64 * 1_000_000);
                let began = Instant::now();
                let changed =
                    client.query(UPSERT, &[&b.tenants, &b.entities, &b.at, &b.attrs, &b.times]).await?;
                busy += began.elapsed();
                ensure!(changed.len() == b.entities.len(), "{} of {} rows", changed.len(), b.entities.len());
                rows += b.entities.len() as u64;
                values += (b.entities.len() * if random { 1 } else { HOT }) as u64;
            }
            anyhow::Ok((values, rows, busy))
        });
    }
    let done = futures_util::future::try_join_all(writers).await?;
    // Making a batch is not the database's time.
    let per_s = done.iter().map(|(values, _, busy)| *values as f64 / busy.as_secs_f64()).sum();
    let values = done.iter().map(|d| d.0).sum();
    let rows: u64 = done.iter().map(|d| d.1).sum();
    let one_by_one = one_by_one(rig, &part, started).await?;
    let shape =
        if random { "one attribute each of unrelated entities" } else { "ten attributes of an entity" };
    let note = format!(
        "upsert_hot_batch of {BATCH} values, {shape}, {WRITERS} writers with entities of their own, {rows} rows; every value changes, and is indexed for filters by equality, one for ranges, too; {}; baseline: upsert_hot_attrs, an entity of ten attributes a call, one writer",
        million.size()
    );
    Ok(Figure::new(name, per_s, "values/s", one_by_one, values, note))
}

/// When the part's newest value is from, in microseconds since 1970: what is written after that is newer than all.
async fn newest(rig: &Rig, part: &Part) -> Result<i64> {
    let sql = "select (extract(epoch from max(observed_at)) * 1000000)::int8 from entity_jsonb where tenant_id = $1";
    Ok(rig.admin().await?.query_one(sql, &[&part.tenant.0]).await?.try_get(0)?)
}

/// The seeds' way.
async fn one_by_one(rig: &Rig, part: &Part, after_us: i64) -> Result<f64> {
    let client = connect(rig, "eaves_ingest").await?;
    client.batch_execute("set synchronous_commit = off").await?;
    let statement =
        client.prepare("select upsert_hot_attrs($1, $2, $3::text::jsonb, to_timestamp($4))").await?;
    let b = batch(part, 0, 0, false, after_us + 3_600_000_000);
    let mut values = 0;
    let began = Instant::now();
    for round in 0..10 {
        for (entity, attrs) in b.entities.iter().zip(&b.attrs) {
            let at = b.at + f64::from(round);
            client.query_one(&statement, &[&part.tenant.0, entity, attrs, &at]).await?;
            values += HOT;
        }
    }
    Ok(values as f64 / began.elapsed().as_secs_f64())
}

async fn connect(rig: &Rig, role: &str) -> Result<Client> {
    let settings = rig.database(role)?;
    let mut config = tokio_postgres::Config::new();
    config.host(&settings.host).port(settings.port).dbname(&settings.database);
    config.user(&settings.user).password(settings.password.expose());
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// An attribute becomes hot, and ceases to be so again.
async fn backfill(rig: &Rig, million: &Million) -> Result<Figure> {
    let part = million.parts.last().context("a tenant")?;
    let (admin, flush) = (rig.admin().await?, FlushStore::connect(&rig.database("eaves_flush")?).await?);
    let change = async |names: &[&str], hot: bool| -> Result<f64> {
        for name in names {
            let sql = "select hot_request($1, $2, $3, 'bench', '')";
            admin.execute(sql, &[&part.tenant.0, name, &hot]).await?;
        }
        let (mut rows, mut pace, began) = (0, Pace::default(), Instant::now());
        loop {
            let step =
                flush.paced_hot_step(Some(Duration::ZERO), &mut pace).await?.context("a change is due")?;
            ensure!(step.attributes == names, "another change is under way: {:?}", step.attributes);
            rows += step.rows;
            if step.done {
                break;
            }
        }
        Ok(rows as f64 / began.elapsed().as_secs_f64())
    };
    let one = change(&["battery"], true).await?;
    let taken_out = change(&["battery"], false).await?;
    // As a tenant's attributes are when a rule finds them for the first time: in history only.
    let cold = format!(
        "update attributes set is_hot = false where tenant_id = {0};
         update entity_jsonb set hot_attrs = '{{}}', hot_times = '{{}}' where tenant_id = {0}",
        part.tenant
    );
    admin.batch_execute(&cold).await?;
    admin.batch_execute("vacuum analyze entity_jsonb").await?;
    let names: Vec<&str> = ATTRIBUTES.iter().take(HOT).map(|(name, _)| *name).collect();
    let rows = change(&names, true).await?;
    let note = format!(
        "{HOT} attributes of {} entities become hot together at the pace of maintain, nothing comes in, no replica beside it; one alone \
         {one:.0}/s, taken out again at {taken_out:.0}/s; {}; baseline: the target",
        part.entities,
        million.size()
    );
    let values = part.entities.unsigned_abs() * HOT as u64;
    Ok(Figure::new("backfill_values_per_s", rows * HOT as f64, "values/s", 100_000.0, values, note))
}
