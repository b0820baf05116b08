//! Staging to history: nothing lost, nothing twice, the watermark never ahead.

use crate::support::{Server, Suite, connect, place, position, refused, text, until};
use eaves_model::{Value, ValueType};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub fn add(suite: &mut Suite) {
    suite.test("flush::several_writers_and_flushers", several_writers_and_flushers);
    suite.test("flush::a_point_sent_twice_is_one_point", sent_twice);
    suite.test("flush::a_late_writer_holds_the_watermark_back", late_writer);
    suite.test("flush::a_reader_of_staging_does_not_stop_it", reader_of_staging);
    suite.test("flush::counts_arrive_with_the_rows", counts);
    suite.test("flush::refuses_an_older_snapshot", older_snapshot);
    suite.test("flush::only_one_at_a_time", one_at_a_time);
}

async fn several_writers_and_flushers(server: Arc<Server>) {
    const WRITERS: usize = 4;
    const BATCHES: u64 = 40;
    const ROWS: i64 = 250;
    let db = server.database().await;
    let done = AtomicBool::new(false);
    let moved = AtomicU64::new(0);
    let write = async {
        let writers = (0..WRITERS).map(|n| {
            let db = &db;
            async move {
                let mut w = db.writer(&format!("shard{n}")).await;
                let (e, a) = (w.entity(&format!("e{n}")).await, w.attribute("a", ValueType::Integer).await);
                for batch in 0..BATCHES {
                    let from = batch as i64 * ROWS;
                    let points: Vec<_> =
                        (from..from + ROWS).map(|i| w.point(e, a, i, Value::Integer(i))).collect();
                    w.commit(batch + 1, &points, &[]).await.unwrap();
                }
            }
        });
        futures_util::future::join_all(writers).await;
        done.store(true, Ordering::SeqCst);
    };
    let flush = async {
        let flushers = (0..3).map(|_| async {
            let flusher = db.flusher().await;
            loop {
                let finished = done.load(Ordering::SeqCst);
                let rows = flusher.stage_flush(1).await.unwrap();
                moved.fetch_add(rows.unwrap_or(0), Ordering::SeqCst);
                if finished && rows == Some(0) {
                    return;
                }
            }
        });
        futures_util::future::join_all(flushers).await;
    };
    // Watches the promise of the watermark: what it covers is in history.
    let watch = async {
        let sql = "select count(*) from flush_checkpoints f
                   join entities e on e.external_id = 'e' || right(f.shard, 1)
                   where right(f.sequence::text, 6)::int8 * 250 >
                     (select count(*) from entity_values_ts v where v.entity_id = e.entity_id)";
        while !done.load(Ordering::SeqCst) {
            assert_eq!(db.one(sql).await, "0");
        }
    };
    tokio::join!(write, flush, watch);
    let expected = WRITERS as i64 * BATCHES as i64 * ROWS;
    assert_eq!(moved.load(Ordering::SeqCst), expected as u64);
    assert_eq!(db.one("select count(*) from entity_values_ts").await, expected.to_string());
    assert_eq!(db.one("select sum(value_int) from entity_values_ts where entity_id = (select min(entity_id) from entities)").await, (0..BATCHES as i64 * ROWS).sum::<i64>().to_string());
    assert_eq!(db.one("select count(*) from entity_values_ingest").await, "0");
    let behind =
        "select count(*) from ingest_checkpoints c join flush_checkpoints f using (stream, shard, consumer)
                  where (c.sequence, c.sub) is distinct from (f.sequence, f.sub)";
    assert_eq!(db.one(behind).await, "0");
}

async fn sent_twice(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let value = |n| w.point(e, a, 0, Value::Integer(n));
    let (one, two, three) = (value(1), value(2), value(3));
    // Twice in a batch, in the next batch, and after it was flushed.
    w.commit(1, &[one.clone(), two.clone()], &[]).await.unwrap();
    w.commit(2, &[one.clone(), two.clone(), one.clone()], &[]).await.unwrap();
    db.drain().await;
    let row = "select count(*), max(value_int) from entity_values_ts";
    assert_eq!(db.one(row).await, "1|1");
    w.commit(3, &[three], &[]).await.unwrap();
    db.drain().await;
    assert_eq!(db.one(row).await, "1|3");
    // Flushes that expect such points take new ones as well.
    let new: Vec<_> = (1..100).map(|n| w.point(e, a, n, Value::Integer(n))).collect();
    w.commit(4, &new, &[]).await.unwrap();
    w.commit(5, &new, &[]).await.unwrap();
    db.drain().await;
    assert_eq!(db.one(row).await, "100|99");
}

async fn late_writer(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    for to in 1..4 {
        let points = [w.point(e, a, to, Value::Integer(to))];
        w.commit(to as u64, &points, &[]).await.unwrap();
    }
    // As if the second batch had come to its leaf only after that leaf was flushed.
    db.sql
        .batch_execute(
            "insert into entity_values_ingest_1 select * from entity_values_ingest_0 where value_int = 2;
             delete from entity_values_ingest_0 where value_int = 2;
             update staging_batches set slot = 1 where right(sequence::text, 1) = '2'",
        )
        .await
        .unwrap();
    let flusher = db.flusher().await;
    assert_eq!(flusher.stage_flush(1).await.unwrap(), Some(2));
    assert_eq!(w.store.checkpoint(&place("s")).await.unwrap().flushed, Some(position(1)));
    assert_eq!(flusher.stage_flush(1).await.unwrap(), Some(1));
    assert_eq!(w.store.checkpoint(&place("s")).await.unwrap().flushed, Some(position(3)));
}

async fn reader_of_staging(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let reader = connect(&db.superuser).await;
    for to in 1..5 {
        let points = [w.point(e, a, to, Value::Integer(to))];
        w.commit(to as u64, &points, &[]).await.unwrap();
        reader.batch_execute("begin; select from entity_values_ingest").await.unwrap();
        assert_eq!(db.flusher().await.stage_flush(1).await.unwrap(), Some(1));
        reader.batch_execute("commit").await.unwrap();
    }
    assert_eq!(db.one("select count(*), sum(value_int) from entity_values_ts").await, "4|10");
    assert_eq!(db.one("select count(*) from entity_values_ingest").await, "0");
}

async fn counts(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let admin = db.admin().await;
    let accepted = async || -> u64 { admin.ledger_totals(None).await.unwrap().iter().map(|t| t.count).sum() };
    for to in 1..4u64 {
        let points = [w.point(e, a, to as i64, Value::Integer(1))];
        w.commit(to, &points, &[]).await.unwrap();
        assert_eq!(accepted().await, to, "staged counts are counted");
        if to > 1 {
            db.drain().await;
        }
        assert_eq!(accepted().await, to, "flushed counts are not counted twice");
    }
    assert_eq!(db.one("select sum(count) from ingest_ledger").await, "3");
}

async fn older_snapshot(server: Arc<Server>) {
    let db = server.database().await;
    let client = connect(&db.role("eaves_flush")).await;
    client.batch_execute("begin isolation level repeatable read").await.unwrap();
    assert_eq!(refused(&client, "select stage_flush()").await, "25000");
}

async fn one_at_a_time(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let points = [w.point(e, a, 0, Value::Integer(1))];
    w.commit(1, &points, &[]).await.unwrap();
    let other = connect(&db.role("eaves_flush")).await;
    other.batch_execute("begin").await.unwrap();
    assert_eq!(text(&other, "select stage_flush()").await, "1");
    assert_eq!(db.flusher().await.stage_flush(1).await.unwrap(), None);
    // Writers go on meanwhile, in the other leaf.
    let points = [w.point(e, a, 1, Value::Integer(1))];
    w.commit(2, &points, &[]).await.unwrap();
    // A flush that dies takes nothing with it.
    other.batch_execute("rollback").await.unwrap();
    until("both rows in history", async || {
        db.flusher().await.stage_flush(1).await.unwrap();
        db.one("select count(*) from entity_values_ts").await == "2"
    })
    .await;
}
