//! The transaction that takes a batch.

use crate::support::{Server, Suite, place, position, time};
use eaves_model::{Code, Decimal, Position, Rejection, Value, ValueType};
use eaves_store::ingest::{CommitError, QuarantineKind, Quarantined};
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("commit::values_keep_their_type_exactly", values_keep_their_type);
    suite.test("commit::the_checkpoint_moves_with_the_rows", checkpoint_moves);
    suite.test("commit::a_batch_on_another_checkpoint_is_refused_whole", another_checkpoint);
    suite.test("commit::two_deliveries_at_once_are_taken_once", two_deliveries);
    suite.test("commit::quarantine_keeps_payloads_and_is_not_doubled", quarantine);
    suite.test("commit::positions_of_129_digits", long_positions);
    suite.test("commit::nothing_to_write_still_moves_the_checkpoint", nothing_to_write);
}

async fn values_keep_their_type(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let entity = w.entity("e").await;
    let decimals =
        ["12.30", "-0.0000000000000000000000000001", "7922816251426433759354395033", "100", "0.00"];
    let mut points = Vec::new();
    for (n, text) in decimals.iter().enumerate() {
        let id = w.attribute(&format!("d{n}"), ValueType::Decimal).await;
        points.push(w.point(entity, id, 0, Value::Decimal(text.parse::<Decimal>().unwrap())));
    }
    let long = "ä".repeat(40_000);
    let others = [
        ("min", Value::Integer(i64::MIN)),
        ("max", Value::Integer(i64::MAX)),
        ("tenth", Value::Float(0.1)),
        ("tiny", Value::Float(5e-324)),
        ("huge", Value::Float(f64::MAX)),
        ("yes", Value::Boolean(true)),
        ("no", Value::Boolean(false)),
        ("when", Value::Timestamp(time(-1_000_000_000))),
        ("empty", Value::String("".into())),
        ("long", Value::String(long.as_str().into())),
    ];
    for (name, value) in &others {
        let id = w.attribute(name, value.value_type()).await;
        points.push(w.point(entity, id, 0, value.clone()));
    }
    w.commit(1, &points, &[]).await.unwrap();
    db.drain().await;
    let of = async |name: &str, column: &str| {
        db.one(&format!(
            "select {column} from entity_values_ts join attributes using (attribute_id) where attribute_name = '{name}'"
        ))
        .await
    };
    for (n, text) in decimals.iter().enumerate() {
        assert_eq!(of(&format!("d{n}"), "value_decimal").await, *text);
    }
    assert_eq!(of("min", "value_int").await, i64::MIN.to_string());
    assert_eq!(of("max", "value_int").await, i64::MAX.to_string());
    assert_eq!(of("tenth", "value_float").await, "0.1");
    assert_eq!(of("tiny", "value_float").await, "5e-324");
    assert_eq!(of("huge", "value_float").await.parse::<f64>().unwrap(), f64::MAX);
    assert_eq!(of("yes", "value_bool").await + &of("no", "value_bool").await, "tf");
    assert_eq!(of("when", "extract(epoch from value_timestamp)::int8").await, "767225600");
    assert_eq!(of("empty", "value = ''").await, "t");
    assert_eq!(of("long", "value").await, long);
    let filled = "select distinct num_nonnulls(value_bool, value_int, value_float, value_decimal, value_timestamp, value) from entity_values_ts";
    assert_eq!(db.one(filled).await, "1");
}

async fn checkpoint_moves(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let empty = w.store.checkpoint(&place("s")).await.unwrap();
    assert!(empty.position.is_none() && empty.flushed.is_none() && empty.epoch_current);
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let before = eaves_model::Timestamp::now();
    let points = [w.point(e, a, 0, Value::Integer(1))];
    let done = w.commit(7, &points, &[]).await.unwrap();
    assert!(done.ingested_at.seconds_since(before).abs() < 60.0);
    let after = w.store.checkpoint(&place("s")).await.unwrap();
    assert_eq!((after.position, after.flushed), (Some(position(7)), None));
    db.drain().await;
    let after = w.store.checkpoint(&place("s")).await.unwrap();
    assert_eq!(after.flushed, Some(position(7)));
    let micros =
        db.one("select (extract(epoch from ingested_at) * 1000000)::int8 from entity_values_ts").await;
    assert_eq!(micros, done.ingested_at.as_micros().to_string());
}

async fn another_checkpoint(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let points = [w.point(e, a, 0, Value::Integer(1))];
    w.commit(5, &points, &[]).await.unwrap();
    w.at = Some(position(4));
    let points = [w.point(e, a, 1, Value::Integer(2))];
    let hot = [w.hot(e, 1, r#"{"a":2}"#)];
    match w.commit(6, &points, &hot).await {
        Err(CommitError::CheckpointMoved { current }) => assert_eq!(current, Some(position(5))),
        other => panic!("{other:?}"),
    }
    db.drain().await;
    assert_eq!(db.one("select count(*) from entity_values_ts").await, "1");
    assert_eq!(db.one("select count(*) from entity_jsonb").await, "0");
}

async fn two_deliveries(server: Arc<Server>) {
    let db = server.database().await;
    let (mut one, mut two) = (db.writer("s").await, db.writer("s").await);
    let (e, a) = (one.entity("e").await, one.attribute("a", ValueType::Integer).await);
    for round in 0..20 {
        let points = [one.point(e, a, round, Value::Integer(round))];
        let to = round as u64 + 1;
        let (x, y) = tokio::join!(one.commit(to, &points, &[]), two.commit(to, &points, &[]));
        let moved = |r: &Result<_, _>| matches!(r, Err(CommitError::CheckpointMoved { .. }));
        assert!((x.is_ok() && moved(&y)) || (y.is_ok() && moved(&x)), "{x:?} {y:?}");
        one.at = Some(position(to));
        two.at = Some(position(to));
    }
    db.drain().await;
    assert_eq!(db.one("select count(*) from entity_values_ts").await, "20");
    let totals = db.admin().await.ledger_totals(None).await.unwrap();
    assert_eq!(totals.iter().map(|t| (t.outcome.as_str(), t.count)).collect::<Vec<_>>(), [("accepted", 20)]);
}

fn undecodable(sequence: u64, item: i32, payload: &[u8], message: &str) -> Quarantined {
    Quarantined {
        tenant: None,
        kind: QuarantineKind::Record,
        rejection: Rejection::new(Code::UNDECODABLE, "record", message),
        payload: payload.to_vec(),
        sequence: position(sequence).sequence().to_owned(),
        sub: 0,
        plugin_digest: None,
        item,
        pieces: 1,
        named: None,
        arrived: None,
        redrive_of: None,
        attempts: 0,
    }
}

async fn quarantine(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let bad = [undecodable(1, 1, b"\x00\xff", "a \0 in it"), undecodable(1, 2, b"", "second")];
    w.commit_all(1, &[], &[], &bad).await.unwrap();
    let rows =
        "select item, encode(payload, 'hex'), message, tenant_id is null from quarantine order by item";
    assert_eq!(db.one(rows).await, "1|00ff|a \u{FFFD} in it|t\n2||second|t");
    // The same records again, as after a crash: the same rows, with what is decided now.
    db.sql.batch_execute("update ingest_checkpoints set sequence = null, sub = null").await.unwrap();
    w.at = None;
    w.commit_all(1, &[], &[], &[bad[0].clone(), undecodable(1, 2, b"", "decided anew")]).await.unwrap();
    assert_eq!(db.one(rows).await, "1|00ff|a \u{FFFD} in it|t\n2||decided anew|t");
}

async fn long_positions(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let long = Position::within(&"9".repeat(129), 17).unwrap();
    let commit = eaves_store::ingest::Commit {
        stream: "stream",
        shard: "s",
        consumer: "test",
        expected: None,
        position: &long,
        points: &[],
        hot: &[],
        ledger: &[],
        quarantine: &[],
        redrives: &[],
    };
    w.store.commit(&commit).await.unwrap();
    assert_eq!(w.store.checkpoint(&place("s")).await.unwrap().position, Some(long));
}

async fn nothing_to_write(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    for to in 1..4 {
        w.commit(to, &[], &[]).await.unwrap();
    }
    db.drain().await;
    let now = w.store.checkpoint(&place("s")).await.unwrap();
    assert_eq!((now.position, now.flushed), (Some(position(3)), Some(position(3))));
}
