//! The operations of functions that no other test here comes by: each does what it says,
//! through a pooler, too (`scripts/check_statements.py` looks for gaps).

use crate::support::{Server, Suite, place, position};
use eaves_model::delivery::Gap;
use eaves_model::{Value, ValueType};
use eaves_store::admin::{AdminStore, Declared};
use eaves_store::ingest::{Loss, LossKind};
use eaves_store::quarantine::Filter;
use eaves_store::read::{Reader, SearchQuery};
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("rest::reads", reads);
    suite.test("rest::replays_and_losses", replays_and_losses);
    suite.test("rest::maintenance", maintenance);
}

async fn reads(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (e, a) = (w.entity("pump").await, w.attribute("level", ValueType::Integer).await);
    let point = w.point(e, a, 1, Value::Integer(7));
    w.commit(1, &[point], &[w.hot(e, 1, r#"{"level":7}"#)]).await.unwrap();
    db.flusher().await.heartbeat().await.unwrap();
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(5));
    let query = SearchQuery::new(db.acme, r#"{"attribute":"level","gte":7}"#, 10);
    let found = reader.search(&query).await.unwrap().value;
    assert_eq!(found.iter().map(|row| row.entity.external_id.as_str()).collect::<Vec<_>>(), ["pump"]);
    let counted = reader.search_counting(&query, Some(5)).await.unwrap().value;
    assert_eq!((counted.0.len(), counted.1), (1, Some(1)));
    assert_eq!(reader.search_counting(&query, None).await.unwrap().value.1, None);
    let all = SearchQuery::new(db.other, "{}", 10);
    let none = reader.search(&all).await.unwrap().value;
    assert!(none.is_empty(), "a row of another tenant");
    let (entity, attributes) = reader.names(db.acme, "pump", &["level", "none"]).await.unwrap().value;
    assert_eq!((entity.unwrap().0, attributes.len(), attributes[0].name.as_str()), (e, 1, "level"));
    assert_eq!(reader.attributes(db.acme, &["level", "none"]).await.unwrap().value.len(), 1);
    assert!(reader.attributes(db.other, &["level"]).await.unwrap().value.is_empty());
    assert_eq!(reader.tenant("acme").await.unwrap().unwrap().id, db.acme);
    assert!(reader.tenant("nobody").await.unwrap().is_none());
    let ages = reader.ages().await.unwrap();
    assert!(ages.hot_age < Duration::from_secs(30), "{:?}", ages.hot_age);
    // One entity is a statement of its own, and leaves its tenant to no other.
    let found = reader.entity(db.acme, "pump").await.unwrap();
    assert!(found.hot_age < Duration::from_secs(30) && !found.in_recovery, "{found:?}");
    let found = found.value.unwrap();
    assert_eq!((found.entity, found.attrs_json.as_str()), (e, r#"{"level": 7}"#));
    assert_eq!(reader.entity(db.other, "pump").await.unwrap().value, None);
    assert_eq!(reader.entity(db.acme, "nobody").await.unwrap().value, None);

    let (unit, none) = (Some("kWh"), None);
    let declare =
        async |value_type| reader.attribute_declare(db.acme, ("energy", value_type), unit, none).await;
    let made = declare(ValueType::Decimal).await.unwrap();
    assert_eq!(made, Declared { value_type: ValueType::Decimal, made: true });
    assert!(!declare(ValueType::Decimal).await.unwrap().made);
    assert_eq!(declare(ValueType::Float).await.unwrap().value_type, ValueType::Decimal, "it stays as it is");
    let known = reader.attributes(db.acme, &["energy"]).await.unwrap().value;
    assert_eq!((known[0].value_type, known[0].unit.as_str()), (ValueType::Decimal, "kWh"));
    let admin = AdminStore::connect(&db.role("eaves_admin")).await.unwrap();
    let told =
        admin.attribute_declare(db.other, ("energy", ValueType::Float), none, Some("x")).await.unwrap();
    assert_eq!(told, Declared { value_type: ValueType::Float, made: true }, "each tenant has its own");
    assert_eq!(reader.quarantine_count(db.acme, &Filter::default()).await.unwrap(), (0, 0));
}

async fn replays_and_losses(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    // A shard that was not seen before is read from its beginning first.
    assert_eq!(w.store.checkpoint(&place("new")).await.unwrap().begin, None);
    w.store.begun(&place("new"), &position(1), &position(5)).await.unwrap();
    let due = w.store.stale_shards(Duration::ZERO).await.unwrap();
    assert_eq!(due, [place("new")]);
    assert!(w.store.stale_shards(Duration::from_secs(3600)).await.unwrap().is_empty(), "somebody is at it");
    let at = w.store.checkpoint(&place("new")).await.unwrap().position;
    w.store.end_replay(&place("new"), at.as_ref()).await.unwrap();
    assert!(w.store.stale_shards(Duration::ZERO).await.unwrap().is_empty());
    w.store.rewind(&place("new"), Some(&position(9))).await.unwrap();
    let gap = Gap { after: Some(position(1)), before: Some(position(5)) };
    let loss = Loss { gap: &gap, kind: LossKind::Possible, reason: "a test" };
    assert!(w.store.note_loss(&place("new"), &loss).await.unwrap(), "it was not known");
    assert!(!w.store.note_loss(&place("new"), &loss).await.unwrap(), "it is known now");
    assert!(w.store.longest_outage(&place("new")).await.unwrap() < Duration::from_secs(3600));
}

async fn maintenance(server: Arc<Server>) {
    let db = server.database().await;
    db.flusher().await.maintain_partitions().await.unwrap();
    let ahead = "select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid
                 where i.inhparent = 'entity_values_ts'::regclass
                 and pg_get_expr(c.relpartbound, c.oid) like
                     '%' || to_char(date_trunc('month', now()) + interval '1 month', 'YYYY-MM') || '-01%TO%'";
    assert_eq!(db.one(ahead).await, "1", "the next month has its partition");
}
