//! Search over hot attributes.

use crate::support::{Server, Suite, connect, refused, text};
use eaves_model::ValueType;
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("search::filters_find_what_they_say", filters);
    suite.test("search::a_bad_filter_is_told", bad_filters);
    suite.test("search::another_tenants_type_of_the_name_does_not_matter", other_types);
    suite.test("search::equality_uses_the_index", uses_the_index);
}

async fn filters(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let types = [
        ("status", ValueType::String),
        ("temp", ValueType::Float),
        ("n", ValueType::Integer),
        ("ok", ValueType::Boolean),
        ("seen", ValueType::Timestamp),
    ];
    w.store.register_attributes(w.tenant, &types, true).await.unwrap();
    let rows = [
        ("a", r#"{"status":"online","temp":20.5,"n":1,"ok":true,"seen":"2026-01-01T00:00:00Z"}"#),
        ("b", r#"{"status":"online","temp":30.0,"n":2,"ok":false,"seen":"2026-01-01T00:00:00.25Z"}"#),
        ("c", r#"{"status":"off'line","temp":-5,"n":9007199254740993}"#),
        ("d", r#"{"temp":30}"#),
    ];
    let mut hot = Vec::new();
    for (name, attrs) in rows {
        let e = w.entity(name).await;
        hot.push(w.hot(e, 0, attrs));
    }
    w.commit(1, &[], &hot).await.unwrap();
    let client = connect(&db.role("eaves_query")).await;
    client
        .batch_execute(&format!("begin; select set_config('app.current_tenant_id', '{}', true)", db.acme))
        .await
        .unwrap();
    let check = async |filter: &str, expected: &str| {
        let filter = filter.replace('\'', "''");
        let sql = format!(
            "select coalesce(string_agg(external_id, ''), '') from find_entities_by_attributes('{filter}')"
        );
        assert_eq!(text(&client, &sql).await, expected, "{filter}");
    };
    check(r#"{}"#, "abcd").await;
    check(r#"{"attribute":"status","eq":"online"}"#, "ab").await;
    check(r#"{"attribute":"status","eq":"off'line"}"#, "c").await;
    check(r#"{"attribute":"status","in":["off'line","nope"]}"#, "c").await;
    check(r#"{"not":{"attribute":"status","eq":"online"}}"#, "cd").await;
    check(r#"{"attribute":"temp","eq":30}"#, "bd").await;
    check(r#"{"attribute":"temp","gte":-5,"lt":30}"#, "ac").await;
    check(r#"{"not":{"attribute":"n","gt":1}}"#, "ad").await;
    check(r#"{"attribute":"n","eq":9007199254740993}"#, "c").await;
    check(r#"{"attribute":"n","eq":9007199254740992}"#, "").await;
    check(r#"{"attribute":"ok","eq":false}"#, "b").await;
    check(r#"{"attribute":"seen","gt":"2026-01-01T00:00:00Z"}"#, "b").await;
    check(r#"{"attribute":"seen","eq":"2026-01-01T01:00:00+01:00"}"#, "a").await;
    check(r#"{"attribute":"status","exists":false}"#, "d").await;
    check(r#"{"and":[{"attribute":"status","eq":"online"},{"attribute":"temp","gt":25}]}"#, "b").await;
    check(r#"{"or":[{"attribute":"ok","eq":true},{"not":{"attribute":"status","exists":true}}]}"#, "ad")
        .await;
    // Pages.
    let page = "select string_agg(external_id, '') from find_entities_by_attributes('{}', null,
                (select entity_id from entities where external_id = 'b'), 1)";
    assert_eq!(text(&client, page).await, "c");
}

async fn bad_filters(server: Arc<Server>) {
    let db = server.database().await;
    let tenant = db.admin().await.tenant_create("few", false, Some(1)).await.unwrap();
    let mut w = db.writer("s").await;
    w.store
        .register_attributes(tenant, &[("hot", ValueType::Float), ("cold", ValueType::Float)], true)
        .await
        .unwrap();
    let client = connect(&db.role("eaves_query")).await;
    client
        .batch_execute(&format!("select set_config('app.current_tenant_id', '{tenant}', false)"))
        .await
        .unwrap();
    let deep = format!("{}{{\"attribute\":\"hot\",\"eq\":1}}{}", r#"{"not":"#.repeat(12), "}".repeat(12));
    for (filter, code) in [
        (r#"{"attribute":"none","eq":1}"#, "EV001"),
        (r#"{"attribute":"cold","eq":1}"#, "EV002"),
        (r#"{"attribute":"hot","eq":"x"}"#, "EV003"),
        (r#"{"attribute":"hot","like":1}"#, "EV004"),
        (r#"{"attribute":"hot"}"#, "EV004"),
        (r#"{"and":[]}"#, "EV004"),
        (r#"{"and":[1]}"#, "EV004"),
        (r#"{"or":[{"attribute":"hot","eq":1}],"and":[]}"#, "EV004"),
        ("[]", "EV004"),
        (&deep, "EV005"),
    ] {
        let sql = format!("select from find_entities_by_attributes('{filter}')");
        assert_eq!(refused(&client, &sql).await, code, "{filter}");
    }
}

/// Tenants share hash partitions: a cast must never meet another tenant's value.
async fn other_types(server: Arc<Server>) {
    let db = server.database().await;
    let admin = db.admin().await;
    let client = connect(&db.role("eaves_query")).await;
    for n in 0..40 {
        let tenant = admin.tenant_create(&format!("t{n}"), false, None).await.unwrap();
        let mut w = crate::support::Writer::connect(&db.role("eaves_ingest"), tenant, &format!("s{n}")).await;
        let (value_type, value) = match n % 3 {
            0 => (ValueType::Float, "1"),
            1 => (ValueType::String, "\"no number\""),
            _ => (ValueType::Timestamp, "\"2026-01-01T00:00:00Z\""),
        };
        w.attribute("x", value_type).await;
        let e = w.entity("e").await;
        w.commit(1, &[], &[w.hot(e, 0, &format!("{{\"x\":{value}}}"))]).await.unwrap();
        client
            .batch_execute(&format!("select set_config('app.current_tenant_id', '{tenant}', false)"))
            .await
            .unwrap();
        let argument = if n % 3 == 0 { "0" } else { "\"2000-01-01T00:00:00Z\"" };
        let sql = format!(
            "select count(*) from find_entities_by_attributes('{{\"attribute\":\"x\",\"gt\":{argument}}}')"
        );
        assert_eq!(text(&client, &sql).await, "1");
    }
}

async fn uses_the_index(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    w.attribute("status", ValueType::String).await;
    db.sql
        .batch_execute(&format!(
            "insert into entities (tenant_id, external_id) select {0}, 'x' || n from generate_series(1, 20000) n;
             insert into entity_jsonb (tenant_id, entity_id, hot_attrs, hot_times, observed_at, oldest_at)
             select tenant_id, entity_id, jsonb_build_object('status', 'v' || entity_id % 2000), '{{}}', now(), now()
             from entities where tenant_id = {0};
             analyze entity_jsonb, entities",
            db.acme
        ))
        .await
        .unwrap();
    let scans =
        "select coalesce(sum(idx_scan), 0) from pg_stat_user_indexes where indexrelname ~ 'hot_attrs'";
    let client = connect(&db.role("eaves_query")).await;
    client
        .batch_execute(&format!("select set_config('app.current_tenant_id', '{}', false)", db.acme))
        .await
        .unwrap();
    let sql = r#"select count(*) from find_entities_by_attributes('{"attribute":"status","eq":"v77"}')"#;
    assert_eq!(text(&client, sql).await, "10");
    drop(client);
    crate::support::until("a scan of the GIN index", async || db.one(scans).await != "0").await;
}
