//! Many who ask for what the cache does not have.

use crate::world::{Answer, World, ago, claims, send};
use axum::http::Method;
use eaves_cache::Entry;
use eaves_model::tenant::Tenant;
use eaves_model::{Timestamp, Value};
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// As many as an instance takes at a time; more are told to come back (`storms`).
const AT_ONCE: usize = 120;

/// Case 20 of the faults for Redis: one load per key and instance.
pub(crate) async fn ten_thousand_misses_on_one_key_are_one_read(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(1), &[("n", Value::Integer(2))]).await;
    replicated(world, &tenant, "p").await;
    let before = world.entity_reads();
    let ask = |_| world.get(&tenant, "/v1/entities/p?max_staleness=60s");
    let mut answers = futures_util::future::join_all((0..AT_ONCE).map(ask)).await;
    assert_eq!(world.entity_reads() - before, 1, "all of them missed, and one read for all");
    let more = futures_util::stream::iter(AT_ONCE..10_000).map(ask).buffer_unordered(AT_ONCE);
    answers.extend(more.collect::<Vec<_>>().await);
    let mut sources: BTreeMap<String, usize> = BTreeMap::new();
    for answer in answers {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.body["entity"]["attributes"]["n"]["value"], 2, "{}", answer.text);
        assert!(answer.header("x-data-lag-seconds").parse::<f64>().unwrap() < 60.0);
        *sources.entry(answer.header("x-data-source").to_owned()).or_default() += 1;
    }
    let reads = world.entity_reads() - before;
    // The cache has a few milliseconds to answer in: where it is too slow for that, one reads again for all.
    assert!(reads <= 10, "{reads} reads, {sources:?}");
}

/// Requests that come together share a read only with those of the same demand: each says its own
/// source and reason.
pub(crate) async fn who_asks_for_more_shares_no_read(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(1), &[("n", Value::Integer(2))]).await;
    world.until(&tenant, "/v1/entities/p", |a| a.status == 200).await;
    for round in 0..10 {
        let ask = async |n: usize| {
            let purpose = ["critical", "dashboard", "analytics"][n % 3];
            (purpose, world.get(&tenant, &format!("/v1/entities/p?purpose={purpose}")).await.ok())
        };
        for (purpose, answer) in futures_util::future::join_all((0..60).map(ask)).await {
            let told = &answer.body["metadata"]["freshness"];
            let reason = told["route_reason"].as_str().unwrap();
            assert_eq!(told["purpose"], purpose, "{}", answer.text);
            let critical = reason == "critical reads go to the primary";
            assert_eq!(critical, purpose == "critical", "round {round}, {purpose}: {reason}");
            assert_eq!(reason.contains("OLAP"), purpose == "analytics", "round {round}, {purpose}: {reason}");
            if critical {
                assert_eq!(told["source"], "primary", "round {round}: {}", answer.text);
            }
        }
    }
}

/// An instance that starts, and a Redis that was emptied, are warmed with what is asked for most.
pub(crate) async fn what_is_asked_for_most_is_warmed(world: &World) {
    let tenant = world.tenant(20).await;
    let mut known = Vec::new();
    for n in 0..5 {
        let name = format!("p{n}");
        world.take(tenant.id, &name, ago(1), &[("n", Value::Integer(n))]).await;
        known.push((name, 10 - n as u32));
    }
    let cache = world.cache().await;
    cache.note_asked(tenant.id, &known).await.unwrap();
    // The first request of the tenant, for another one than those.
    world.take(tenant.id, "q", ago(1), &[("n", Value::Integer(9))]).await;
    world.until(&tenant, "/v1/entities/q", |a| a.status == 200).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    for (name, _) in &known {
        loop {
            if let Ok(Some(named)) = cache.named(tenant.id, name).await
                && let Ok(Some(_)) = cache.get(tenant.id, named.entity).await
            {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{name} was not warmed");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

/// Waits until both servers know the `n` that was taken, and not only the entity's name: whoever is asked reads
/// it. Asks for its history, so that its name and type are known and the entity itself was never asked for.
async fn replicated(world: &World, tenant: &Tenant, name: &str) {
    let known = format!("/v1/entities/{name}/history/n?max_staleness=60s");
    let there = |a: &Answer| a.body["points"].as_array().is_some_and(|points| !points.is_empty());
    world.until(tenant, &known, |a| there(a) && a.header("x-data-source") == "read-replica").await;
}

/// An entity that is in the cache alone, as read so long ago: 1 there, and 2 in the database.
async fn aged(world: &World, tenant: &Tenant, name: &str, age: Duration) -> Entry {
    world.take(tenant.id, name, ago(9), &[("n", Value::Integer(2))]).await;
    replicated(world, tenant, name).await;
    cached(world, tenant, name, 1, age).await
}

/// Puts 1 into the cache, as read so long ago; nobody is told of it.
async fn cached(world: &World, tenant: &Tenant, name: &str, version: i64, age: Duration) -> Entry {
    let cache = world.cache().await;
    let named = cache.named(tenant.id, name).await.unwrap().expect("its name was read just now");
    let entry = Entry {
        tenant: tenant.id,
        entity: named.entity,
        version,
        as_of: Timestamp::now().plus_micros(-i64::try_from(age.as_micros()).unwrap()),
        attrs_json: r#"{"n": 1}"#.into(),
        times_json: r#"{"n": 1}"#.into(),
        taken: None,
    };
    assert_eq!(cache.fill(std::slice::from_ref(&entry)).await.unwrap(), 1);
    entry
}

/// The last tenth of what the bound allows: whoever comes first reads the entry anew, nobody waits for that,
/// and nobody has it over the bound.
pub(crate) async fn an_entry_that_ages_is_read_anew_by_one_while_the_others_have_it(world: &World) {
    const BOUND_S: u64 = 400;
    let tenant = world.tenant(20).await;
    let (old, young) = (Duration::from_secs(365), Duration::from_secs(350));
    let path = |name: &str| format!("/v1/entities/{name}?max_staleness={BOUND_S}s");
    let n = |answer: &Answer| answer.body["entity"]["attributes"]["n"]["value"].as_i64().unwrap();
    let reason = |a: &Answer| a.body["metadata"]["freshness"]["route_reason"].as_str().unwrap().to_owned();

    // Not yet.
    aged(world, &tenant, "young", young).await;
    let hit = world.get(&tenant, &path("young")).await.ok();
    assert_eq!((n(&hit), hit.header("x-data-source")), (1, "cache"), "{}", hit.text);
    assert!(!hit.header("cache-status").contains("detail"), "{}", hit.header("cache-status"));

    aged(world, &tenant, "old", old).await;
    // Where the machine is so slow that the read takes longer than it may, the entry is the answer, and the next one reads.
    let anew = world.until(&tenant, &path("old"), |a| a.status == 200 && n(a) == 2).await;
    assert_eq!(anew.header("cache-status"), "eaves; fwd=stale", "{}", anew.text);
    assert!(reason(&anew).contains("soon not under 400 s: read anew"), "{}", reason(&anew));
    assert!(anew.header("x-data-lag-seconds").parse::<f64>().unwrap() < 20.0, "{}", anew.text);
    let hit = world.until(&tenant, &path("old"), |a| a.header("x-data-source") == "cache").await;
    assert_eq!(n(&hit), 2, "{}", hit.text);
    assert!(hit.header("x-data-lag-seconds").parse::<f64>().unwrap() < 20.0, "{}", hit.text);

    // Many at once: one reads, the others have the entry with its age.
    aged(world, &tenant, "many", old).await;
    let before = world.entity_reads();
    let many = path("many");
    let answers = futures_util::future::join_all((0..AT_ONCE).map(|_| world.get(&tenant, &many))).await;
    // Where the machine is so slow that the right to read ends before the read does, another one reads, too.
    let reads = world.entity_reads() - before;
    assert!((1..=4).contains(&reads), "{reads}");
    for answer in answers {
        let answer = answer.ok();
        let lag: f64 = answer.header("x-data-lag-seconds").parse().unwrap();
        assert!(lag < BOUND_S as f64 && (n(&answer) == 2 || lag >= 365.0), "{}", answer.text);
    }

    // While an instance elsewhere reads it: at once, and told so; the right to read ends by itself, so more than once.
    let cache = world.cache().await;
    let mut told = false;
    for turn in 0..20 {
        let name = format!("elsewhere-{turn}");
        aged(world, &tenant, &name, old).await;
        let Some(lease) = cache.lease(tenant.id, &name).await.unwrap() else { continue };
        let answer = world.get(&tenant, &path(&name)).await.ok();
        cache.release(lease).await.unwrap();
        if answer.header("cache-status").ends_with("; detail=revalidating") {
            assert_eq!((n(&answer), answer.header("x-data-source")), (1, "cache"), "{}", answer.text);
            assert!(reason(&answer).contains("read anew meanwhile"), "{}", reason(&answer));
            told = true;
            break;
        }
    }
    assert!(told, "nobody was told that an entry is being read anew");

    // A bound that it is over is not stretched: it is read, whoever else reads it.
    aged(world, &tenant, "over", Duration::from_secs(BOUND_S + 1)).await;
    let read = world.get(&tenant, &path("over")).await.ok();
    assert_eq!((n(&read), read.header("cache-status")), (2, "eaves; fwd=stale"), "{}", read.text);
    assert!(!reason(&read).contains("anew"), "{}", reason(&read));
}

/// While an instance reads an entity, another one puts something newer into the cache: what was read is the answer
/// to who asked and nobody else's, it is not held.
pub(crate) async fn what_the_cache_did_not_take_is_not_held(world: &World) {
    let tenant = world.tenant(20).await;
    let instance = world.instance(&[("EAVES_REPLICA_HOST", "")]);
    let get = async |name: &str| {
        let path = format!("/v1/entities/{name}?max_staleness=300s");
        let caller = Some(claims(&tenant, "query:read"));
        let answer = send(&instance, Method::GET, &path, caller, &[], "").await.ok();
        assert_eq!(answer.body["entity"]["attributes"]["n"]["value"], 2, "{}", answer.text);
        answer.header("x-cache-hit") == "true"
    };
    // Newer, since versions are times, and too old to be an answer.
    let newer = async |name: &str| {
        let version = Timestamp::now().plus_micros(3_600_000_000).as_micros();
        cached(world, &tenant, name, version, Duration::from_secs(600)).await;
    };
    let table = world.session().await;
    for turn in 0.. {
        let (held, overtaken) = (format!("held-{turn}"), format!("overtaken-{turn}"));
        for name in [&held, &overtaken] {
            world.take(tenant.id, name, ago(9), &[("n", Value::Integer(2))]).await;
            replicated(world, &tenant, name).await;
        }
        assert!(!get(&held).await);
        table.batch_execute("begin; lock table entity_jsonb in access exclusive mode").await.unwrap();
        let meanwhile = async {
            let waits = "select pg_stat_clear_snapshot(), (select count(*) from pg_stat_activity
                where usename = 'eaves_query' and wait_event_type = 'Lock')";
            let end = Instant::now() + Duration::from_secs(20);
            while table.query_one(waits, &[]).await.unwrap().get::<_, i64>(1) == 0 {
                assert!(Instant::now() < end, "nobody reads the entity");
            }
            newer(&overtaken).await;
            table.batch_execute("rollback").await.unwrap();
        };
        let (hit, ()) = tokio::join!(get(&overtaken), meanwhile);
        assert!(!hit);
        assert!(!get(&overtaken).await, "it was held");
        // The other one is, once the instance hears of the tenant's changes: what the cache has of it is too old, too.
        newer(&held).await;
        if get(&held).await {
            return;
        }
        assert!(turn < 50, "nothing is held of what is read");
    }
}

/// Neither database answers: the entry that is still under the bound is the answer, within a moment.
pub(crate) async fn an_entry_that_ages_is_the_answer_where_nothing_fresher_is(world: &World) {
    let tenant = world.tenant(20).await;
    let entry = aged(world, &tenant, "alone", Duration::from_secs(365)).await;
    world.replica.lock().await.stop().await.unwrap();
    world.primary.lock().await.stop().await.unwrap();
    for _ in 0..5 {
        let answer = world.get(&tenant, "/v1/entities/alone?max_staleness=400s").await.ok();
        assert_eq!(answer.body["entity"]["attributes"]["n"]["value"], 1, "{}", answer.text);
        assert_eq!(answer.header("x-data-source"), "cache");
        let age = Timestamp::now().seconds_since(entry.as_of);
        // Told in milliseconds, rounded up.
        assert!(answer.header("x-data-lag-seconds").parse::<f64>().unwrap() < age + 0.001, "{}", answer.text);
    }
    let over = world.get(&tenant, "/v1/entities/alone?max_staleness=300s").await;
    over.problem(503, None, "");
    world.primary.lock().await.restart().await.unwrap();
    world.replica.lock().await.restart().await.unwrap();
    let path = "/v1/entities/alone/history/n?max_staleness=60s";
    world.until(&tenant, path, |a| a.header("x-data-source") == "read-replica").await;
}
