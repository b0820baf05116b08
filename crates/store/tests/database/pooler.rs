//! The same through PgBouncer in transaction mode: no statement may count on a session.
//! RDS Proxy pins where PgBouncer fails, so this is the stricter test.

use crate::support::pooler::Pooler;
use crate::support::{Server, Suite, Writer, place, role};
use eaves_model::{Value, ValueType};
use eaves_settings::Postgres;
use eaves_store::flush::FlushStore;
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("pooler::ingest_and_flush_in_transaction_mode", ingest_and_flush);
}

async fn ingest_and_flush(server: Arc<Server>) {
    const WRITERS: usize = 6;
    const BATCHES: u64 = 15;
    const ROWS: i64 = 400;
    let db = server.database().await;
    let pooler = Pooler::start(&server).await;
    let through = Postgres { port: pooler.port, ..db.superuser.clone() };
    let flusher = FlushStore::connect(&role(&through, "eaves_flush")).await.unwrap();
    let writers = (0..WRITERS).map(|n| {
        let (settings, acme) = (role(&through, "eaves_ingest"), db.acme);
        async move {
            let mut w = Writer::connect(&settings, acme, &format!("shard{n}")).await;
            for batch in 0..BATCHES {
                // Registrations in between, as ingest has them.
                let e = w.entity(&format!("e{n}-{}", batch % 5)).await;
                let a = w.attribute(&format!("a{}", batch % 3), ValueType::Integer).await;
                let from = batch as i64 * ROWS;
                let points: Vec<_> =
                    (from..from + ROWS).map(|i| w.point(e, a, i, Value::Integer(i))).collect();
                let hot = [w.hot(e, from + ROWS, &format!(r#"{{"a{}":{from}}}"#, batch % 3))];
                w.commit(batch + 1, &points, &hot).await.unwrap();
            }
            assert_eq!(w.store.checkpoint(&place(&w.shard)).await.unwrap().position, w.at);
        }
    });
    let work = futures_util::future::join_all(writers);
    let flush = async {
        let mut rows = 0;
        while rows < (WRITERS as i64 * BATCHES as i64 * ROWS) as u64 {
            rows += flusher.stage_flush(1).await.unwrap().unwrap_or(0);
            flusher.heartbeat().await.unwrap();
        }
    };
    tokio::join!(work, flush);
    let expected = (WRITERS as i64 * BATCHES as i64 * ROWS).to_string();
    assert_eq!(db.one("select count(*) from entity_values_ts").await, expected);
    assert_eq!(db.one("select count(*) from entity_jsonb").await, (WRITERS * 5).to_string());
    // Nothing stayed behind in the pooled sessions.
    assert_eq!(db.one("select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'").await, "0");
}
