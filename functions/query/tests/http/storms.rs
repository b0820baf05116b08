//! Case 20 of the fault list: replicas that are a minute behind, more requests than can be
//! worked on, connections used up. Everything recovers by itself.

use crate::ground::Ground;
use crate::world::Answer;
use futures_util::future::join_all;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

const ENTITY: &str = "/v1/entities/e";

fn told(answer: &Answer) -> (&str, &str) {
    let freshness = &answer.body["metadata"]["freshness"];
    (freshness["source"].as_str().unwrap_or(""), freshness["route_reason"].as_str().unwrap_or(""))
}

fn lag(answer: &Answer) -> f64 {
    answer.header("x-data-lag-seconds").parse().unwrap_or(f64::INFINITY)
}

/// Writes a few values and rests.
pub(crate) async fn written(ground: &Ground) {
    ground.writes.store(true, Ordering::SeqCst);
    ground.until(&format!("{ENTITY}?consistency=strong"), |a| a.status == 200).await;
    ground.writes.store(false, Ordering::SeqCst);
    while !ground.rests.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn replicas_a_minute_behind_are_left_told_and_taken_back(ground: &Ground) {
    written(ground).await;
    ground.until(&format!("{ENTITY}?purpose=operational"), |a| told(a).0 == "read-replica").await;
    minute_behind(ground).await;
    let behind = |a: &Answer| told(a).0 == "primary" && told(a).1.contains("not under 5 s");
    // What it last said serves for a fifth of a second.
    ground.until(&format!("{ENTITY}?purpose=operational"), behind).await;
    let answer = ground.get(&format!("{ENTITY}?consistency=analytics")).await.ok();
    assert_eq!(told(&answer).0, "read-replica");
    let lag_told = lag(&answer);
    assert!((60.0..120.0).contains(&lag_told), "{lag_told}");
    assert_eq!((answer.header("x-freshness-tier"), answer.header("x-sla-met")), ("STALE", "true"));
    assert_eq!(answer.body["metadata"]["freshness"]["indicator"], "🔴");
    let bounded = ground.get(&format!("{ENTITY}?consistency=analytics&max_staleness=30s")).await.ok();
    assert_eq!(told(&bounded).0, "primary", "only because the bound demands it");
    assert!(told(&bounded).1.contains("not under 30 s"), "{}", told(&bounded).1);

    the_primarys_own_reads_pass(ground).await;

    ground.beats.store(true, Ordering::SeqCst);
    ground.until(&format!("{ENTITY}?purpose=operational"), |a| told(a).0 == "read-replica").await;
}

/// Makes the replicas say that they are a minute behind: the heartbeat they have is that old.
async fn minute_behind(ground: &Ground) {
    ground.beats.store(false, Ordering::SeqCst);
    // One that is under way may come after.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let port = ground.primary.lock().await.port();
    ground
        .sql(port, "update replication_heartbeat set complete_at = clock_timestamp() - interval '60 s'")
        .await;
    let all = |a: &Answer| {
        let lags = a.body["replicas"].as_array().unwrap();
        lags.iter().all(|r| r["lag_seconds"].as_f64() >= Some(60.0))
    };
    ground.until("/v1/freshness", all).await;
}

/// With the replicas behind, their reads take no more than their share of the primary.
async fn the_primarys_own_reads_pass(ground: &Ground) {
    let path = |i: usize| match i % 5 {
        // As old as replication, and never in the cache.
        0 | 1 => "/v1/entities?consistency=strong&limit=1",
        2 | 3 => "/v1/entities?max_staleness=1s&limit=1",
        _ => "/v1/entities?purpose=operational&limit=1",
    };
    let before = ground.context.shed_and_missed();
    let answers = join_all((0..100).map(|i| async move { (i, ground.get(path(i)).await) })).await;
    let counted = ground.context.shed_and_missed();
    let mut shed = 0;
    for (i, answer) in &answers {
        match i % 5 {
            0 | 1 => {
                assert_eq!((answer.status.as_u16(), told(answer).0), (200, "primary"), "{}", answer.text)
            }
            2 | 3 if answer.status == 503 => {
                answer.problem(503, None, "the primary's share for their reads is in use");
                assert_eq!(answer.header("retry-after"), "1");
                shed += 1;
            }
            2 | 3 => {
                assert_eq!((answer.status.as_u16(), told(answer).0), (200, "primary"), "{}", answer.text)
            }
            // Without a bound of the caller's, what there is beside the primary is told as it is.
            _ => {
                assert_eq!(answer.status, 200, "{}", answer.text);
                let (source, reason) = told(answer);
                let full = source == "read-replica" && reason.contains("share for such reads is in use");
                assert!(source == "primary" || (full && lag(answer) >= 60.0), "{source} {reason}");
            }
        }
    }
    assert!(shed > 0, "all of them found a place");
    let missed = answers.iter().filter(|(_, a)| a.header("x-sla-met") == "false").count() as u64;
    assert_eq!((counted.0 - before.0, counted.1 - before.1), (shed, missed), "counted for the metrics");
    let after = ground.get(path(2)).await.ok();
    assert_eq!(told(&after).0, "primary", "the share is free again");
}

pub(crate) async fn what_is_too_much_is_told_to_come_back(ground: &Ground) {
    written(ground).await;
    let path = format!("{ENTITY}?consistency=strong");
    let before = ground.context.shed_and_missed();
    let answers = join_all((0..400).map(|_| ground.get(&path))).await;
    let counted = ground.context.shed_and_missed();
    let (mut done, mut shed, mut door) = (0, 0, 0);
    for answer in &answers {
        match answer.status.as_u16() {
            200 => done += 1,
            _ => {
                // At the door; on a busy machine also after a wait for a connection.
                assert_eq!(answer.status, 503, "{}", answer.text);
                assert_eq!(answer.header("retry-after"), "1");
                shed += 1;
                let at_the_door = answer.text.contains("requests already");
                assert!(
                    at_the_door || answer.text.contains("all connections of this instance"),
                    "{}",
                    answer.text
                );
                door += u64::from(at_the_door);
            }
        }
    }
    assert!(done > 0 && door >= 100, "{done} answered, {door} of {shed} turned away at the door");
    assert_eq!((counted.0 - before.0, counted.1 - before.1), (shed, 0), "counted for the metrics");
    // Whether it runs is not a question of how much it has to do.
    ground.get(ENTITY).await.ok();
}

pub(crate) async fn with_all_connections_in_use_replicas_answer_and_strong_reads_wait(ground: &Ground) {
    written(ground).await;
    ground.until(&format!("{ENTITY}?purpose=operational"), |a| told(a).0 == "read-replica").await;
    let port = ground.primary.lock().await.port();
    let hogs = take_all(ground, port).await;
    let strong = ground.until(&format!("{ENTITY}?consistency=strong"), |a| a.status == 503).await;
    strong.problem(503, None, "strong read takes no other source");
    assert!(strong.header("retry-after").parse::<u64>().is_ok());
    let answer = ground.get(&format!("{ENTITY}?purpose=operational")).await.ok();
    assert_eq!(told(&answer).0, "read-replica");
    drop(hogs);
    ground.until(&format!("{ENTITY}?consistency=strong"), |a| a.status == 200).await;
}

/// Uses up what connections the server has, those of the API included.
async fn take_all(ground: &Ground, port: u16) -> Vec<Client> {
    let superuser = ground.superuser(Some(port));
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(port).dbname("eaves").user(&superuser.user);
    config.password(superuser.password.expose());
    let (admin, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    // Those kept back for superusers, too.
    let hog = superuser.clone();
    let mut hogs = Vec::new();
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'eaves_query'";
    for _ in 0..3 {
        admin.execute(end, &[]).await.unwrap();
        // Their places are free when they are gone, not when they are told to go.
        let left = "select count(*) from pg_stat_activity where usename = 'eaves_query'";
        while admin.query_one(left, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        loop {
            let mut config = tokio_postgres::Config::new();
            config
                .host("127.0.0.1")
                .port(port)
                .dbname("eaves")
                .user(&hog.user)
                .password(hog.password.expose());
            let Ok((client, connection)) = config.connect(NoTls).await else { break };
            tokio::spawn(connection);
            hogs.push(client);
        }
    }
    hogs
}
