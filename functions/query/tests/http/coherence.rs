//! Cache and hot projection under everything at once: live writes, late values, promotion with its
//! backfill, demotion, crashes of the database, reads that fill the cache. No answer is older than it says,
//! no entry of the cache claims what was not so, and in the end the projection is the fold of history
//! (I3, I6).
//!
//! `EAVES_RACED_READS` sets how many reads are raced (default 4,000; `1000000` for the full run).

use crate::world::{World, role};
use eaves_cache::{Cache, Entry};
use eaves_model::batch::Point;
use eaves_model::tenant::Tenant;
use eaves_model::{EntityId, Position, Timestamp, Value, ValueType};
use eaves_store::admin::AdminStore;
use eaves_store::flush::FlushStore;
use eaves_store::hot::ByHand;
use eaves_store::ingest::{Commit, CommitError, HotRow, HotState, IngestStore, ShardPlace};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;

const ENTITIES: usize = 12;
const READERS: u64 = 6;
/// What is hot from the beginning, and what becomes so and ceases to be.
const ATTRIBUTES: [&str; 3] = ["a", "b", "c"];

/// Versions of an entity: when each was known to be committed, and by whom.
type Versions = BTreeMap<i64, (Timestamp, &'static str)>;
/// A reading: of whom, when, and a value for each attribute by its place.
type Reading = (EntityId, Timestamp, Vec<(usize, i64)>);

/// What is known to be committed: by entity, each version with the time at which its commit had returned.
#[derive(Default)]
struct Ledger {
    done: Mutex<HashMap<EntityId, Versions>>,
    /// Odd while the database is down; what was committed is not known then.
    life: AtomicU64,
}

impl Ledger {
    fn note(&self, rows: &[HotState], by: &'static str) {
        let now = Timestamp::now();
        let mut done = self.done.lock().unwrap();
        for row in rows {
            done.entry(row.entity).or_default().entry(row.version).or_insert((now, by));
        }
    }

    /// The first version after `version` that was committed before `at`.
    fn missed(
        &self,
        entity: EntityId,
        version: i64,
        at: Timestamp,
    ) -> Option<(i64, Timestamp, &'static str)> {
        let done = self.done.lock().unwrap();
        let later = done.get(&entity)?.range(version + 1..);
        later.map(|(v, (t, by))| (*v, *t, *by)).find(|(_, t, _)| *t < at)
    }

    /// Forgets what a crash undid.
    fn undone(&self, entity: EntityId, newest: i64) {
        if let Some(done) = self.done.lock().unwrap().get_mut(&entity) {
            done.retain(|version, _| *version <= newest);
        }
    }
}

struct Case<'a> {
    world: &'a World,
    tenant: Tenant,
    cache: Cache,
    ledger: Ledger,
    entities: Vec<(String, EntityId)>,
    /// Held while what is hot is looked up and a batch with it is written: so no batch is under way
    /// when that changes, which on the platform a hundred seconds see to.
    gate: AsyncMutex<()>,
    raced: AtomicU64,
    over: AtomicBool,
}

pub(crate) async fn no_interleaving_makes_the_cache_lie(world: &World) {
    let most: u64 = std::env::var("EAVES_RACED_READS").ok().and_then(|n| n.parse().ok()).unwrap_or(4_000);
    let seed = std::env::var("EAVES_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| u64::try_from(Timestamp::now().as_micros()).unwrap());
    eprintln!("{most} raced reads, EAVES_SEED={seed}");
    // The third attribute is not hot by itself.
    let tenant = world.tenant(2).await;
    let mut store = IngestStore::connect(&role(world, "eaves_ingest")).await.unwrap();
    let names: Vec<String> = (0..ENTITIES).map(|n| format!("e{n}")).collect();
    let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), "pump")).collect();
    let ids = store.register_entities(tenant.id, &pairs, true).await.unwrap();
    for name in ATTRIBUTES {
        store.register_attributes(tenant.id, &[(name, ValueType::Integer)], true).await.unwrap();
    }
    let case = Case {
        world,
        tenant,
        cache: world.cache().await,
        ledger: Ledger::default(),
        // Not in the order that was asked for.
        entities: ids.into_iter().map(|e| (e.external_id, e.id)).collect(),
        gate: AsyncMutex::new(()),
        raced: AtomicU64::new(0),
        over: AtomicBool::new(false),
    };
    let readers = (0..READERS).map(|n| case.read(StdRng::seed_from_u64(seed + n)));
    let began = Instant::now();
    let ending = async {
        while case.raced.load(Ordering::Relaxed) < most || began.elapsed() < Duration::from_secs(6) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        case.over.store(true, Ordering::SeqCst);
    };
    let (written, changed, crashed, _, ()) = tokio::join!(
        case.write(store, StdRng::seed_from_u64(seed + 100)),
        case.change(StdRng::seed_from_u64(seed + 101)),
        case.crash(StdRng::seed_from_u64(seed + 102), most),
        futures_util::future::join_all(readers),
        ending,
    );
    case.settle().await;
    eprintln!(
        "{} raced reads, {written} batches, {changed} parts of changes, {crashed} crashes in {:.1} s",
        case.raced.load(Ordering::Relaxed),
        began.elapsed().as_secs_f64()
    );
    assert!(written > 20 && changed > 0 && crashed > 0);
}

impl Case<'_> {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn entry(&self, row: HotState, as_of: Timestamp, taken: Option<(String, Position)>) -> Entry {
        Entry {
            tenant: row.tenant,
            entity: row.entity,
            version: row.version,
            as_of,
            attrs_json: row.attrs_json,
            times_json: row.times_json,
            taken,
        }
    }

    /// One shard of the stream as ingest takes it: each batch on top of the one before, all of it again
    /// that a crash took.
    async fn write(&self, mut store: IngestStore, mut rng: StdRng) -> usize {
        let place =
            ShardPlace { stream: "tests".into(), shard: "coherence".into(), consumer: "ingest".into() };
        let at = |n: usize| Position::whole(&(1_000_000 + n).to_string()).unwrap();
        // What the stream has: for each record its readings.
        let mut stream: Vec<Vec<Reading>> = Vec::new();
        let (mut next, mut batches) = (0, 0);
        while !self.is_over() || next < stream.len() {
            if next == stream.len() {
                stream.push(self.record(&mut rng));
            }
            let gate = self.gate.lock().await;
            let wanted: Vec<_> = ATTRIBUTES.iter().map(|name| (*name, ValueType::Integer)).collect();
            let Ok(mut attributes) = store.register_attributes(self.tenant.id, &wanted, true).await else {
                drop(gate);
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            // Not in the order that was asked for either; "a" to "c" stand as they are sorted.
            attributes.sort_by(|a, b| a.name.cmp(&b.name));
            let (mut points, mut hot) = (Vec::new(), Vec::new());
            for (entity, observed_at, values) in &stream[next] {
                let tenant = self.tenant.id;
                let mut object = Vec::new();
                for (which, value) in values {
                    let attribute = &attributes[*which];
                    let (attribute_id, value_) = (attribute.id, Value::Integer(*value));
                    points.push(Point {
                        tenant,
                        entity: *entity,
                        attribute: attribute_id,
                        observed_at: *observed_at,
                        plugin: None,
                        value: value_,
                    });
                    if attribute.is_hot {
                        object.push(format!("\"{}\":{value}", ATTRIBUTES[*which]));
                    }
                }
                if !object.is_empty() {
                    let attrs_json = format!("{{{}}}", object.join(","));
                    hot.push(HotRow { tenant, entity: *entity, observed_at: *observed_at, attrs_json });
                }
            }
            let expected = next.checked_sub(1).map(at);
            let position = at(next);
            let commit = Commit {
                stream: &place.stream,
                shard: &place.shard,
                consumer: &place.consumer,
                expected: expected.as_ref(),
                position: &position,
                points: &points,
                hot: &hot,
                ledger: &[],
                quarantine: &[],
                redrives: &[],
            };
            let done = store.commit(&commit).await;
            drop(gate);
            let index = |position: &Position| position.sequence().parse::<usize>().unwrap() - 1_000_000 + 1;
            match done {
                Ok(committed) => {
                    self.ledger.note(&committed.hot, "a batch");
                    let taken = Some((place.shard.clone(), position.clone()));
                    let entries: Vec<_> = committed
                        .hot
                        .into_iter()
                        .map(|row| self.entry(row, committed.ingested_at, taken.clone()))
                        .collect();
                    drop(self.cache.write_through(&entries).await);
                    (next, batches) = (next + 1, batches + 1);
                }
                Err(CommitError::StagingLost { .. }) => {
                    let last = at(stream.len() - 1);
                    if store.rewind(&place, Some(&last)).await.is_ok()
                        && let Ok(found) = store.checkpoint(&place).await
                    {
                        next = found.position.as_ref().map_or(0, index);
                    }
                }
                Err(CommitError::CheckpointMoved { current }) => next = current.as_ref().map_or(0, index),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..8))).await;
        }
        batches
    }

    /// A record: some readings, one in three of them late.
    fn record(&self, rng: &mut StdRng) -> Vec<Reading> {
        let reading = |rng: &mut StdRng| {
            let entity = self.entities[rng.random_range(0..ENTITIES)].1;
            let late = if rng.random_range(0..3) == 0 { rng.random_range(1..600) } else { 0 };
            let at = Timestamp::now().plus_micros(-late * 1_000_000);
            let mut values = Vec::new();
            for which in 0..ATTRIBUTES.len() {
                if rng.random() {
                    values.push((which, rng.random_range(0..1_000)));
                }
            }
            if values.is_empty() {
                values.push((0, 1));
            }
            (entity, at, values)
        };
        (0..rng.random_range(1..5)).map(|_| reading(rng)).collect()
    }

    /// Makes the third attribute hot and not hot in turn, part by part, as maintain does.
    async fn change(&self, mut rng: StdRng) -> usize {
        let flush = FlushStore::new(&role(self.world, "eaves_flush"));
        let (mut parts, mut hot) = (0, false);
        while !self.is_over() {
            let gate = self.gate.lock().await;
            if let Ok(admin) = AdminStore::connect(&role(self.world, "eaves_admin")).await {
                let wanted = if hot { ByHand::Demote } else { ByHand::Promote };
                let decided = admin.hot_decide(self.tenant.id, "c", wanted, ("test", "")).await;
                hot = if decided.is_ok() { !hot } else { hot };
            }
            drop(gate);
            for _ in 0..rng.random_range(2..8) {
                let began = Timestamp::now();
                if let Ok(Some(step)) = flush.hot_step(rng.random_range(1..6), Some(Duration::ZERO)).await {
                    let rows = step.changed_rows();
                    self.ledger.note(&rows, "a change of what is hot");
                    let entries: Vec<_> = rows.into_iter().map(|row| self.entry(row, began, None)).collect();
                    drop(self.cache.write_through(&entries).await);
                    parts += 1;
                }
                tokio::time::sleep(Duration::from_millis(rng.random_range(1..40))).await;
            }
        }
        parts
    }

    /// Kills the database now and then: twice in a short run.
    async fn crash(&self, mut rng: StdRng, most: u64) -> usize {
        let mut crashes = 0;
        while !self.is_over() {
            tokio::time::sleep(Duration::from_millis(rng.random_range(900..2_500))).await;
            if crashes > 1 + most / 50_000 {
                continue;
            }
            self.ledger.life.fetch_add(1, Ordering::SeqCst);
            let mut primary = self.world.primary.lock().await;
            primary.stop_immediately().await.unwrap();
            primary.restart().await.unwrap();
            drop(primary);
            for (_, entity) in &self.entities {
                let (version, _) = self.world.hot_row(self.tenant.id, *entity).await;
                self.ledger.undone(*entity, version);
            }
            self.ledger.life.fetch_add(1, Ordering::SeqCst);
            crashes += 1;
        }
        usize::try_from(crashes).unwrap()
    }

    /// Asks as callers do, and looks at primary and cache side by side.
    async fn read(&self, mut rng: StdRng) {
        let bounds =
            ["", "?max_staleness=250ms", "?max_staleness=1s", "?max_staleness=30s", "?consistency=strong"];
        while !self.is_over() {
            let (name, entity) = &self.entities[rng.random_range(0..ENTITIES)];
            let life = self.ledger.life.load(Ordering::SeqCst);
            if rng.random_range(0..4) == 0 {
                self.side_by_side(*entity, life).await;
            } else {
                let path = format!("/v1/entities/{name}{}", bounds[rng.random_range(0..bounds.len())]);
                let began = Timestamp::now();
                let answer = self.world.get(&self.tenant, &path).await;
                let Ok(lag) = answer.header("x-data-lag-seconds").parse::<f64>() else {
                    assert!([200, 503].contains(&answer.status.as_u16()), "{}", answer.text);
                    continue;
                };
                // It may lack what was committed in the last `lag` seconds, and nothing else.
                let version = answer.body["entity"]["version"].as_i64().unwrap();
                let known = began.plus_micros(-(lag * 1_000_000.0) as i64);
                let missed = self.ledger.missed(*entity, version, known);
                if self.ledger.life.load(Ordering::SeqCst) == life && life.is_multiple_of(2) {
                    assert_eq!(missed, None, "{path} at {began}: {:?} {}", answer.headers, answer.text);
                }
            }
            self.raced.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    async fn side_by_side(&self, entity: EntityId, life: u64) {
        if life % 2 == 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            return;
        }
        let Ok(Some(entry)) = self.cache.get(self.tenant.id, entity).await else { return };
        let Some((version, attrs)) = self.world.try_hot_row(self.tenant.id, entity).await else { return };
        let missed = self.ledger.missed(entity, entry.version, entry.as_of);
        if self.ledger.life.load(Ordering::SeqCst) != life {
            return;
        }
        assert_eq!(missed, None, "{entry:?}");
        if version == entry.version {
            assert_eq!(entry.attrs_json, attrs, "two contents of one version of {entity:?}");
        }
    }

    /// When all is quiet: the projection is the fold of history, and the cache is the projection.
    async fn settle(&self) {
        self.world.fill().await;
        let admin = AdminStore::connect(&role(self.world, "eaves_admin")).await.unwrap();
        let found = admin.hot_verify(self.tenant.id, EntityId(0), 1_000, false).await.unwrap();
        assert!(found.values > 0 && found.differences.is_empty(), "{:?}", found.differences);
        for (_, entity) in &self.entities {
            if let Ok(Some(entry)) = self.cache.get(self.tenant.id, *entity).await {
                assert_eq!(self.ledger.missed(*entity, entry.version, entry.as_of), None, "{entry:?}");
            }
        }
        // Nothing that was there is in the way of what is read now: not what a crash undid either.
        let deadline = Instant::now() + Duration::from_secs(20);
        for (name, entity) in &self.entities {
            loop {
                let path = format!("/v1/entities/{name}?consistency=strong");
                self.world.until(&self.tenant, &path, |a| a.status == 200).await;
                let now = self.world.hot_row(self.tenant.id, *entity).await;
                let entry = self.cache.get(self.tenant.id, *entity).await.ok().flatten();
                if entry.as_ref().is_some_and(|e| (e.version, e.attrs_json.clone()) == now) {
                    break;
                }
                assert!(Instant::now() < deadline, "{name} stays {entry:?}, and is {now:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
