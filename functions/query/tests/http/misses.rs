//! Many who ask for what the cache does not have.

use crate::world::{World, ago};
use eaves_model::Value;
use futures_util::StreamExt as _;
use std::collections::BTreeMap;

/// As many as an instance takes at a time; more are told to come back (`storms`).
const AT_ONCE: usize = 120;

/// Case 20 of the faults for Redis: one load per key and instance.
pub(crate) async fn ten_thousand_misses_on_one_key_are_one_read(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(1), &[("n", Value::Integer(2))]).await;
    // Names and types are known; the entity itself was never asked for.
    let known = "/v1/entities/p/history/n";
    world.until(&tenant, known, |a| a.status == 200 && a.header("x-data-source") == "read-replica").await;
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
