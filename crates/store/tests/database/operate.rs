//! What an operator and the schedules ask for.

use crate::support::{Server, Suite, place, position};
use eaves_model::{Value, ValueType};
use eaves_store::read::{Allowance, ReadError, Reader, SourceStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub fn add(suite: &mut Suite) {
    suite.test("operate::health_and_status", health);
    suite.test("operate::statistics", statistics);
    suite.test("operate::what_history_holds", history_as_of);
    suite.test("operate::lag_at_each_point", lag_points);
    suite.test("operate::a_slots_lag_in_seconds", slot_lag);
    suite.test("operate::reads_of_a_request_share_its_time", shared_time);
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
    // Counting takes a twentieth of the time at most.
    let points = [eaves_model::batch::Point {
        observed_at: now.plus_micros(-5_000_000),
        ..w.point(e, a, 0, Value::Float(9.0))
    }];
    w.commit(2, &points, &[]).await.unwrap();
    db.drain().await;
    db.sql.batch_execute("update statistics_refresh set took = '1 hour'").await.unwrap();
    db.flusher().await.refresh_statistics().await.unwrap();
    assert_eq!(db.one(found).await, "a|3|1|1|6|3");
    let later = "update statistics_refresh set refreshed_at = refreshed_at - interval '20 hours'";
    db.sql.batch_execute(later).await.unwrap();
    db.flusher().await.refresh_statistics().await.unwrap();
    assert_eq!(db.one(found).await, "a|4|1|1|9|4.5");
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
    // Nor does it move on before what was read again is flushed, though newer values are.
    w.store.rewind(&place("s"), None).await.unwrap();
    w.at = Some(position(1));
    w.commit(2, &points, &[]).await.unwrap();
    flusher.heartbeat().await.unwrap();
    db.sql.batch_execute("select nextval('staging_slot')").await.unwrap();
    let mut other = db.writer("t").await;
    other.commit(1, &[w.point(e, a, 2, Value::Integer(1))], &[]).await.unwrap();
    assert_eq!(flusher.stage_flush(1).await.unwrap(), Some(1), "the newer one");
    assert_eq!(flusher.backlog().await.unwrap().staged_rows, 1);
    assert_eq!(db.one(held).await, before);
    flusher.stage_flush(1).await.unwrap();
    assert_ne!(db.one(held).await, before);
}

async fn lag_points(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let points = [w.point(e, a, 0, Value::Integer(1)), w.point(e, a, 1, Value::Integer(2))];
    w.commit(1, &points, &[]).await.unwrap();
    // Of the server, not of the database: another variant of this test has its own.
    let slot = format!("slot_{}", db.through.database);
    db.sql.execute("select pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot]).await.unwrap();
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(5));
    let first = reader.status().await.unwrap().value;
    // Nothing is written in between: ages go on all the same.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let later = reader.status().await.unwrap().value;
    let lag = |status: &SourceStatus, point: &str| status.of(point).next().unwrap().lag_seconds.unwrap();
    for point in ["heartbeat", "staging"] {
        assert!(lag(&later, point) >= lag(&first, point) + 0.03, "{point}: {first:?} {later:?}");
    }
    let staging = first.of("staging").next().unwrap();
    assert_eq!((staging.lag_rows, staging.state.as_str()), (Some(2), "waiting"));
    assert_eq!(first.of("flush").next().unwrap().lag_seconds, None, "nothing was flushed yet");
    let found = first.of("slot").next().unwrap();
    assert_eq!((found.name.as_str(), found.state.as_str()), (slot.as_str(), "inactive"));
    assert!(found.lag_bytes >= Some(0), "{found:?}");
    let listed =
        db.one("select source, replica, state, coalesce(lag_seconds, 0) from check_replication_lag()").await;
    assert_eq!(listed, format!("slot|{slot}|inactive|0"), "it was just made");
    db.sql.execute("select pg_drop_replication_slot($1)", &[&slot]).await.unwrap();

    db.drain().await;
    let flusher = db.flusher().await;
    flusher.heartbeat().await.unwrap();
    let beaten = reader.status().await.unwrap().value;
    assert!(lag(&beaten, "heartbeat") < lag(&later, "heartbeat"));
    assert_eq!((lag(&beaten, "staging"), beaten.of("slot").count()), (0.0, 0));
    assert!(lag(&beaten, "flush") >= 0.0);
    assert_eq!(beaten.of("heartbeat").next().unwrap().lag_rows, Some(1));
}

async fn slot_lag(server: Arc<Server>) {
    let db = server.database().await;
    let flusher = db.flusher().await;
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(5));
    let remembered = "select count(*) from wal_positions";
    flusher.heartbeat().await.unwrap();
    assert_eq!(db.one(remembered).await, "0", "there is no slot to remember it for");
    let slot = format!("slot_lag_{}", db.through.database);
    db.sql.execute("select pg_create_logical_replication_slot($1, 'pgoutput')", &[&slot]).await.unwrap();
    let lag = async || reader.status().await.unwrap().value.of("slot").next().unwrap().lag_seconds;
    db.sql.batch_execute("create table written ()").await.unwrap();
    assert_eq!(lag().await, None, "nothing is remembered yet");

    let before = Instant::now();
    flusher.heartbeat().await.unwrap();
    let after = Instant::now();
    assert_eq!(db.one(remembered).await, "1");
    flusher.heartbeat().await.unwrap();
    assert_eq!(db.one(remembered).await, "1", "once a second");
    assert_eq!(lag().await, None, "what it has not confirmed is older");
    let advance = "select pg_replication_slot_advance($1, pg_current_wal_flush_lsn())";
    db.sql.batch_execute("drop table written").await.unwrap();
    db.sql.execute(advance, &[&slot]).await.unwrap();
    db.sql.batch_execute("create table written ()").await.unwrap();
    // What came after the heartbeat is not known to be confirmed.
    let (least, first) = (after.elapsed().as_secs_f64(), lag().await.unwrap());
    assert!(first >= least && first <= before.elapsed().as_secs_f64(), "{least} {first}");
    let later = lag().await.unwrap();
    assert!(later > first, "it goes on while nothing is written: {first} {later}");

    // Of what is over ten minutes old one of each minute is kept, of a week nothing.
    let old =
        "insert into wal_positions select date_trunc('minute', now()) - d + s * interval '1 s', '0/1'::pg_lsn
               from unnest('{20 min, 8 d}'::interval[]) d, generate_series(10, 40) s;
               update wal_positions set at = at - interval '2 min' where at > now() - interval '10 min'";
    db.sql.batch_execute(old).await.unwrap();
    flusher.heartbeat().await.unwrap();
    let kept = "select date_trunc('minute', now()) - interval '20 min' + interval '10 s' = min(at), count(*) from wal_positions";
    assert_eq!(db.one(kept).await, "t|3");
    db.sql.execute("select pg_drop_replication_slot($1)", &[&slot]).await.unwrap();
}

async fn shared_time(server: Arc<Server>) {
    let db = server.database().await;
    let tenant = db.writer("s").await.tenant;
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(5));
    reader.entity(tenant, "e").await.unwrap();
    db.sql.batch_execute("begin; lock table entities in access exclusive mode").await.unwrap();
    let began = Instant::now();
    let (done, spent) = Allowance::scope(Duration::from_millis(300), async {
        let first = reader.entity(tenant, "e").await;
        (first, reader.entity(tenant, "e").await)
    })
    .await;
    assert!(matches!(done.0, Err(ReadError::NoTime)), "stopped at the request's end: {done:?}");
    assert!(matches!(done.1, Err(ReadError::NoTime)), "and nothing is begun after it: {done:?}");
    assert!(began.elapsed() < Duration::from_secs(4) && spent >= Duration::from_millis(290), "{spent:?}");

    // One that waits for the connection is told so, and that is no sign against the server.
    let long = reader.entity(tenant, "e");
    let short = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Allowance::scope(Duration::from_millis(100), reader.entity(tenant, "e")).await.0
    };
    let unlock = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        db.sql.batch_execute("rollback").await.unwrap();
    };
    let (long, short, ()) = tokio::join!(long, short, unlock);
    assert!(matches!(short, Err(ReadError::Busy)), "{short:?}");
    assert!(!short.unwrap_err().is_away());
    assert!(long.is_ok(), "{long:?}");
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
