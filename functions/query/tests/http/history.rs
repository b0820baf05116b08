//! History of one attribute.

use crate::world::{World, ago, at};
use eaves_model::Value;
use serde_json::Value as Json;

fn values(answer: &Json) -> Vec<i64> {
    answer["points"].as_array().unwrap().iter().map(|p| p["value"].as_i64().unwrap()).collect()
}

pub(crate) async fn a_strong_read_sees_what_is_not_flushed_yet(world: &World) {
    let tenant = world.tenant(20).await;
    world.take(tenant.id, "p", ago(30), &[("n", Value::Integer(1))]).await;
    let path = "/v1/entities/p/history/n";
    world.until(&tenant, path, |a| a.status == 200 && values(&a.body) == [1]).await;

    world.flushes(false);
    // Let a flush that is under way end, so that what follows stays in staging.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    world.take(tenant.id, "p", ago(20), &[("n", Value::Integer(2))]).await;
    // The point at ago(30) again, with another value: the later one holds.
    let first = world.get(&tenant, path).await.ok();
    let first = first.body["points"][0]["observed_at"].as_str().unwrap().to_owned();
    world.take(tenant.id, "p", at(&first), &[("n", Value::Integer(10))]).await;

    let strong = world.get(&tenant, &format!("{path}?consistency=strong")).await.ok();
    assert_eq!(values(&strong.body), [2, 10]);
    assert_eq!(strong.header("x-data-lag-seconds"), "0.000");
    // The replica cannot see staging, and says how old it may be for that.
    let eventual = world.get(&tenant, path).await.ok();
    if eventual.header("x-data-source") == "read-replica" {
        assert_eq!(values(&eventual.body), [1]);
        let lag: f64 = eventual.header("x-data-lag-seconds").parse().unwrap();
        assert!(lag >= 0.2, "{lag}");
    }
    // While the flush stands still the replica's history falls behind the bound.
    let later = world.until(&tenant, path, |a| a.header("x-data-source") == "primary").await;
    assert_eq!(values(&later.body), [2, 10]);
    world.flushes(true);
    let replica = world.until(&tenant, path, |a| a.header("x-data-source") == "read-replica").await;
    assert_eq!(values(&replica.body), [2, 10]);
}

pub(crate) async fn pages_cover_the_window_once(world: &World) {
    let tenant = world.tenant(20).await;
    let start = ago(5000);
    for i in 0..25 {
        world.take(tenant.id, "p", start.plus_micros(i * 1_000_000), &[("n", Value::Integer(i))]).await;
    }
    for (order, expect) in [("desc", (0..25).rev().collect::<Vec<_>>()), ("asc", (0..25).collect())] {
        let mut path = format!("/v1/entities/p/history/n?consistency=strong&limit=10&order={order}");
        let (mut seen, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let answer = world.get(&tenant, &path).await.ok();
            let page = values(&answer.body);
            assert_eq!(answer.body["metadata"]["count"], page.len());
            assert_eq!(answer.body["metadata"]["order"], order);
            sizes.push(page.len());
            seen.extend(page);
            let Some(cursor) = answer.body["next_cursor"].as_str() else { break };
            path = format!("/v1/entities/p/history/n?consistency=strong&limit=10&cursor={cursor}");
        }
        assert_eq!(seen, expect);
        assert_eq!(sizes, [10, 10, 5]);
    }
    let (from, to) = (start.plus_micros(5_000_000), start.plus_micros(8_000_000));
    let path = format!("/v1/entities/p/history/n?consistency=strong&from={from}&to={to}");
    assert_eq!(values(&world.get(&tenant, &path).await.ok().body), [7, 6, 5], "to is not included");
    world.get(&tenant, "/v1/entities/p/history/m").await.problem(404, Some("attribute"), "\"m\"");
    world.get(&tenant, "/v1/entities/q/history/n").await.problem(404, Some("external_id"), "\"q\"");
}

pub(crate) async fn pages_keep_to_their_window_while_values_come(world: &World) {
    let tenant = world.tenant(20).await;
    let start = ago(5000);
    let at = |second: i64| start.plus_micros(second * 1_000_000);
    for (order, entity) in [("desc", "d"), ("asc", "a")] {
        for i in 0..12 {
            world.take(tenant.id, entity, at(10 * i), &[("n", Value::Integer(i))]).await;
        }
        let (mut seen, mut pages) = (Vec::new(), 0);
        let mut query = format!("order={order}&to={}", at(130));
        loop {
            let path = format!("/v1/entities/{entity}/history/n?consistency=strong&limit=5&{query}");
            let answer = world.get(&tenant, &path).await.ok();
            seen.extend(values(&answer.body));
            pages += 1;
            let Some(cursor) = answer.body["next_cursor"].as_str() else { break };
            query = format!("cursor={cursor}");
            // One after the window, one where the pages were already, and one where they have yet to come.
            let (passed, to_come) = if order == "desc" { (111, 1) } else { (1, 111) };
            for (second, n) in [(140, 1000), (passed, 1001), (to_come, 1002)] {
                world.take(tenant.id, entity, at(second), &[("n", Value::Integer(n))]).await;
            }
        }
        let told: Vec<i64> = seen.iter().copied().filter(|n| *n < 1000).collect();
        let expect: Vec<i64> = if order == "desc" { (0..12).rev().collect() } else { (0..12).collect() };
        assert_eq!((told, pages), (expect, 3), "each once, in order");
        let late: Vec<i64> = seen.into_iter().filter(|n| *n >= 1000).collect();
        assert_eq!(late, [1002], "{order}");
    }
}

pub(crate) async fn windows_are_checked(world: &World) {
    let tenant = world.tenant(20).await;
    let get = async |query: &str| world.get(&tenant, &format!("/v1/entities/p/history/n?{query}")).await;
    get("from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z").await.problem(400, Some("from"), "at most 30");
    get("from=2026-01-01T00:00:00Z").await.problem(400, Some("from"), "several windows");
    get("from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z").await.problem(
        400,
        Some("from"),
        "is not before",
    );
    get("from=2026-03-02T00:00:00").await.problem(400, Some("from"), "with a zone");
    get("to=tomorrow").await.problem(400, Some("to"), "RFC 3339");
    get("limit=0").await.problem(400, Some("limit"), "1 to 10000");
    get("limit=many").await.problem(400, Some("limit"), "many");
    get("order=sideways").await.problem(400, Some("order"), "asc nor desc");
    get("cursor=abc").await.problem(400, Some("cursor"), "not a cursor");
}
