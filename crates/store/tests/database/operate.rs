//! What an operator and the schedules ask for.

use crate::support::{Server, Suite};
use eaves_model::{Value, ValueType};
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("operate::health_and_status", health);
    suite.test("operate::statistics", statistics);
    suite.test("operate::what_history_holds", history_as_of);
    suite.test("operate::monitoring_sql_runs", monitoring_sql);
    suite.test("operate::what_is_old_is_forgotten", forgotten);
}

async fn health(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let points = [w.point(e, a, 0, Value::Integer(1))];
    w.commit(1, &points, &[]).await.unwrap();
    let admin = db.admin().await;
    let status = admin.pipeline_status().await.unwrap();
    assert_eq!(status["staged_rows"], 1);
    assert_eq!(status["shards"][0]["staging_lost"], false);
    let flusher = db.flusher().await;
    flusher.heartbeat().await.unwrap();
    assert_eq!(flusher.backlog().await.unwrap().staged_rows, 1);
    db.drain().await;
    assert_eq!(flusher.backlog().await.unwrap().staged_rows, 0);
    let health = admin.health_check().await.unwrap();
    assert_eq!(
        (health["status"].as_str(), health["role"].as_str()),
        (Some("ok"), Some("primary")),
        "{health}"
    );
    db.sql.batch_execute("delete from staging_epoch").await.unwrap();
    let health = admin.health_check().await.unwrap();
    assert_eq!(health["problems"], serde_json::json!(["staging_lost"]));
}

async fn statistics(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Float).await);
    let now = eaves_model::Timestamp::now();
    let points: Vec<_> = [1.0, 2.0, 6.0]
        .iter()
        .enumerate()
        .map(|(n, v)| eaves_model::batch::Point {
            observed_at: now.plus_micros(-(n as i64) * 1_000_000),
            ..w.point(e, a, 0, Value::Float(*v))
        })
        .collect();
    w.commit(1, &points, &[]).await.unwrap();
    db.drain().await;
    db.flusher().await.refresh_statistics().await.unwrap();
    let found = "select attribute_name, value_count, entity_count, min_value, max_value, avg_value from mv_entity_attribute_stats";
    assert_eq!(db.one(found).await, "a|3|1|1|6|3");
}

async fn history_as_of(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let flusher = db.flusher().await;
    let held = "select history_as_of from flush_state";
    flusher.stage_flush(1).await.unwrap();
    let first = db.one(held).await;
    assert_ne!(first, "-infinity");
    let points = [w.point(e, a, 0, Value::Integer(1))];
    let taken = w.commit(1, &points, &[]).await.unwrap();
    // Before what is staged, after it once that is flushed.
    let covers = format!(
        "select history_as_of >= to_timestamp({}::numeric / 1000000) from flush_state",
        taken.ingested_at.as_micros()
    );
    assert_eq!(db.one(&covers).await, "f");
    flusher.stage_flush(1).await.unwrap();
    assert_eq!(db.one(&covers).await, "t");
    // While staging is lost it stands still.
    let points = [w.point(e, a, 1, Value::Integer(1))];
    w.commit(2, &points, &[]).await.unwrap();
    db.sql
        .batch_execute("truncate staging_epoch, staging_batches, staging_ledger, entity_values_ingest")
        .await
        .unwrap();
    let before = db.one(held).await;
    flusher.stage_flush(1).await.unwrap();
    assert_eq!(db.one(held).await, before);
}

async fn monitoring_sql(server: Arc<Server>) {
    let db = server.database().await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ops/monitoring.sql");
    let sql = std::fs::read_to_string(file).unwrap();
    let mut queries = 0;
    for query in sql.split(";\n").filter(|q| q.lines().any(|l| !l.is_empty() && !l.starts_with("--"))) {
        crate::support::text(&db.sql, query).await;
        queries += 1;
    }
    assert!(queries >= 15, "{queries}");
}

async fn forgotten(server: Arc<Server>) {
    let db = server.database().await;
    db.sql
        .batch_execute(
            "insert into quarantine (stream, shard, kind, reason, field, message, payload, sequence, sub, item,
                                     created_at, state)
             select 's', 'sh', 'record', 'bad_json', '', '', 'x', n, 0, 0, now() - make_interval(days => n),
                    case when n = 60 then 'redriving' else 'open' end
             from generate_series(1, 60) n;
             insert into plugin_metrics (tenant_id, name, digest, role, hour, version, calls, \"values\", failures,
                                         skipped, memory_peak, times, verdicts, changes, samples)
             select t.tenant_id, 'p', 'd', 'active', date_trunc('hour', now()) - make_interval(days => n), '1', 1, 1,
                    '{}', 0, 0, '{}', '{}', '{}', '[]'
             from generate_series(1, 60) n, (select min(tenant_id) tenant_id from tenants) t",
        )
        .await
        .unwrap();
    let flusher = db.flusher().await;
    // In parts. A row that is under way to be taken again stays.
    assert_eq!(flusher.forget_old(10, 30, 20).await.unwrap(), (20, 20));
    assert_eq!(flusher.forget_old(10, 30, 1000).await.unwrap(), (31, 10));
    assert_eq!(flusher.forget_old(10, 30, 1000).await.unwrap(), (0, 0));
    let left = "select count(*) filter (where state = 'open'), count(*) filter (where state = 'redriving') from quarantine";
    assert_eq!(db.one(left).await, "29|1");
    assert_eq!(db.one("select count(*) from plugin_metrics").await, "9");
    assert!(flusher.forget_old(0, 30, 1000).await.is_err());
}
