//! Names to identifiers.

use crate::support::{Server, Suite};
use eaves_model::ValueType;
use eaves_store::ingest::IngestStore;
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("register::names_keep_their_first_identifier_and_type", names_keep);
    suite.test("register::at_the_same_time", at_the_same_time);
    suite.test("register::a_strict_tenant_registers_nothing_by_itself", strict);
    suite.test("register::only_so_many_attributes_become_hot", hot_limit);
    suite.test("register::plugin_versions", plugin_versions);
}

async fn names_keep(server: Arc<Server>) {
    let db = server.database().await;
    let mut store = IngestStore::connect(&db.role("eaves_ingest")).await.unwrap();
    let tenants = store.tenants(&["acme", "nobody", "other"]).await.unwrap();
    assert_eq!(tenants.len(), 2);

    let first = store.register_entities(db.acme, &[("b", ""), ("a", "pump"), ("b", "")], true).await.unwrap();
    let ids: Vec<(&str, i64)> = first.iter().map(|e| (e.external_id.as_str(), e.id.0)).collect();
    assert_eq!(ids.iter().map(|i| i.0).collect::<Vec<_>>(), ["b", "a", "b"]);
    assert_eq!(ids[0].1, ids[2].1);
    // A type said later is taken; one that is known is not changed.
    let again = store.register_entities(db.acme, &[("a", "fan"), ("b", "valve")], true).await.unwrap();
    assert_eq!((again[0].id, again[0].entity_type.as_str()), (first[1].id, "pump"));
    assert_eq!((again[1].id, again[1].entity_type.as_str()), (first[0].id, "valve"));
    let foreign = store.register_entities(db.other, &[("a", "")], true).await.unwrap();
    assert_ne!(foreign[0].id, first[1].id);

    let float = store.register_attributes(db.acme, &[("t", ValueType::Float)], true).await.unwrap();
    let kept = store.register_attributes(db.acme, &[("t", ValueType::String)], true).await.unwrap();
    assert_eq!(kept, float);
    assert_eq!(kept[0].value_type, ValueType::Float);
}

async fn at_the_same_time(server: Arc<Server>) {
    let db = server.database().await;
    let names: Vec<String> = (0..200).map(|n| format!("n{n}")).collect();
    let work = (0..6).map(|task| {
        let (settings, acme) = (db.role("eaves_ingest"), db.acme);
        let mut names = names.clone();
        // Each in another order.
        names.rotate_left(task * 31);
        async move {
            let mut store = IngestStore::connect(&settings).await.unwrap();
            let entities: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "x")).collect();
            let attributes: Vec<(&str, ValueType)> =
                names.iter().map(|n| (n.as_str(), ValueType::Float)).collect();
            let mut entities = store.register_entities(acme, &entities, true).await.unwrap();
            let mut attributes = store.register_attributes(acme, &attributes, true).await.unwrap();
            entities.sort_by_key(|e| e.id);
            attributes.sort_by_key(|a| a.id);
            (entities, attributes)
        }
    });
    let all = futures_util::future::join_all(work).await;
    assert_eq!(all[0].0.len(), 200);
    assert!(all.iter().all(|found| *found == all[0]));
    assert_eq!(all[0].1.iter().filter(|a| a.is_hot).count(), 64);
}

async fn strict(server: Arc<Server>) {
    let db = server.database().await;
    let admin = db.admin().await;
    let tenant = admin.tenant_create("strict", true, None).await.unwrap();
    let mut store = IngestStore::connect(&db.role("eaves_ingest")).await.unwrap();
    // Even for an instance that does not know yet that the tenant is strict.
    assert!(store.register_entities(tenant, &[("a", "")], true).await.unwrap().is_empty());
    assert!(store.register_attributes(tenant, &[("t", ValueType::Float)], true).await.unwrap().is_empty());
    admin.register_entities(tenant, &[("a", "pump")]).await.unwrap();
    admin.register_attributes(tenant, &[("t", ValueType::Decimal)]).await.unwrap();
    assert_eq!(store.register_entities(tenant, &[("z", ""), ("a", "")], false).await.unwrap().len(), 1);
    let found = store.register_attributes(tenant, &[("t", ValueType::Float)], false).await.unwrap();
    assert_eq!(found[0].value_type, ValueType::Decimal);
}

async fn hot_limit(server: Arc<Server>) {
    let db = server.database().await;
    let tenant = db.admin().await.tenant_create("few", false, Some(2)).await.unwrap();
    let mut store = IngestStore::connect(&db.role("eaves_ingest")).await.unwrap();
    let names = [("c", ValueType::Float), ("a", ValueType::Float), ("b", ValueType::Float)];
    let found = store.register_attributes(tenant, &names, true).await.unwrap();
    let mut hot: Vec<&str> = found.iter().filter(|a| a.is_hot).map(|a| a.name.as_str()).collect();
    hot.sort_unstable();
    assert_eq!(hot, ["a", "c"], "the first two in the order given");
}

async fn plugin_versions(server: Arc<Server>) {
    let db = server.database().await;
    let mut store = IngestStore::connect(&db.role("eaves_ingest")).await.unwrap();
    let first = store.register_plugin(db.acme, "rules", "d1", "s1").await.unwrap();
    assert_eq!(store.register_plugin(db.acme, "rules", "d1", "s1").await.unwrap(), first);
    assert_ne!(store.register_plugin(db.acme, "rules", "d1", "s2").await.unwrap(), first);
    assert_ne!(store.register_plugin(db.other, "rules", "d1", "s1").await.unwrap(), first);
}
