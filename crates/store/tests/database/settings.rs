//! What a tenant's own user changes of its settings: its own, and nothing else.

use crate::support::{Server, Suite, connect, refused};
use eaves_model::{PointPolicy, ValueType};
use eaves_store::admin::LimitChange;
use eaves_store::read::{OwnChange, Reader};
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("settings::a_tenant_changes_its_own_and_no_others", own);
}

async fn own(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    w.attribute("a", ValueType::Float).await;
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(10));
    let before = reader.own_settings(db.acme).await.unwrap().value;
    assert_eq!((before.id, before.name.as_str(), before.points), (db.acme, "acme", PointPolicy::Replace));

    let limits = LimitChange { late: Some(Some("30d:quarantine".parse().unwrap())), ahead: None };
    let change = OwnChange { strict: Some(true), points: Some(PointPolicy::Reject), limits };
    reader.own_settings_change(db.acme, change).await.unwrap();
    let after = reader.own_settings(db.acme).await.unwrap().value;
    assert_eq!((after.strict, after.points, after.hot_limit), (true, PointPolicy::Reject, before.hot_limit));
    assert_eq!((after.limits.late.unwrap().to_string(), after.limits.ahead), ("30d:quarantine".into(), None));
    // What is not given stays; a limit can be taken away.
    let limits = LimitChange { late: Some(None), ahead: None };
    reader.own_settings_change(db.acme, OwnChange { limits, ..OwnChange::default() }).await.unwrap();
    let after = reader.own_settings(db.acme).await.unwrap().value;
    assert_eq!((after.points, after.limits.late), (PointPolicy::Reject, None));
    let other = reader.own_settings(db.other).await.unwrap().value;
    assert_eq!((other.strict, other.points), (false, PointPolicy::Replace), "another tenant's settings");

    assert!(reader.attribute_describe(db.acme, "a", Some("°C"), None).await.unwrap());
    assert!(reader.attribute_describe(db.acme, "a", None, Some("the bearing")).await.unwrap());
    assert!(!reader.attribute_describe(db.acme, "b", Some("V"), None).await.unwrap());
    assert!(!reader.attribute_describe(db.other, "a", Some("K"), Some("not theirs")).await.unwrap());
    let told = reader.attribute_usages(db.acme, "", Some("a"), 1).await.unwrap().value;
    assert_eq!((told[0].attribute.unit.as_str(), told[0].description.as_str()), ("°C", "the bearing"));

    // Nothing of it without a tenant, and no other way.
    let client = connect(&db.role("eaves_query")).await;
    let none = "select own_settings_change(false, null, null, null, null, null)";
    assert_eq!(crate::support::text(&client, none).await, "f");
    assert_eq!(crate::support::text(&client, "select own_attribute_describe('a', 'x', 'x')").await, "f");
    assert_eq!(refused(&client, "update tenants set strict = false").await, "42501");
    assert_eq!(refused(&client, "update attributes set unit = ''").await, "42501");
    assert_eq!(db.one("select strict from tenants where name = 'acme'").await, "t");
}
