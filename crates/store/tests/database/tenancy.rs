//! No row of another tenant, ever; no tenant set, no rows.

use crate::support::{Database, Server, Suite, Writer, connect, refused, text};
use eaves_model::{Code, Rejection, Value, ValueType};
use eaves_store::ingest::{PluginFigures, PluginVersion, QuarantineKind, Quarantined};
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("tenancy::every_table_shows_the_tenant_its_own", own_rows);
    suite.test("tenancy::no_tenant_no_rows", no_tenant);
    suite.test("tenancy::one_connection_for_both", one_connection);
    suite.test("tenancy::a_reader_cannot_write_or_change_sides", cannot_write);
}

const TABLES: [&str; 11] = [
    "tenants",
    "entities",
    "attributes",
    "plugin_versions",
    "plugin_metrics",
    "plugin_events",
    "entity_values_ts",
    "entity_value_corrections",
    "entity_jsonb",
    "ingest_ledger",
    "quarantine",
];

/// Both tenants with a row in every table, and one staged value each.
pub async fn filled(server: &Server) -> Database {
    let db = server.database().await;
    let mut writers = Vec::new();
    for (n, tenant) in [db.acme, db.other].into_iter().enumerate() {
        let mut w = Writer::connect(&db.role("eaves_ingest"), tenant, &format!("s{n}")).await;
        let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
        w.store.register_plugin(tenant, "rules", "d", "s").await.unwrap();
        let version =
            PluginVersion { name: "rules", version: "1", digest: "d", settings_digest: "s", validated: true };
        w.store.plugin_event_add(tenant, "breaker_opened", &version, "it fails").await.unwrap();
        let figures = PluginFigures {
            tenant: tenant.0,
            name: "rules".into(),
            digest: "d".into(),
            role: "active".into(),
            ..PluginFigures::default()
        };
        w.store.plugin_metrics_add(&[figures]).await.unwrap();
        let refused = Quarantined {
            tenant: Some(tenant),
            kind: QuarantineKind::Record,
            rejection: Rejection::new(Code::BAD_SHAPE, "record", "no"),
            payload: vec![1],
            sequence: "1".into(),
            sub: 0,
            plugin_digest: None,
            item: 0,
            pieces: 1,
            named: None,
            arrived: None,
            redrive_of: None,
            attempts: 0,
        };
        let value = 10 + n as i64;
        let points = [w.point(e, a, 0, Value::Integer(value))];
        let hot = [w.hot(e, 0, &format!(r#"{{"a":{value}}}"#))];
        w.commit_all(1, &points, &hot, &[refused]).await.unwrap();
        let staged = w.point(e, a, 1, Value::Integer(value + 10));
        let corrected = format!(
            "insert into entity_value_corrections values ({tenant}, {e}, {a}, now(), now(), null, {value}, null, null,
             null, null, now(), 'stream', 's', 1, 0, 1)"
        );
        db.sql.batch_execute(&corrected).await.unwrap();
        writers.push((w, staged));
    }
    db.drain().await;
    for (w, staged) in &mut writers {
        w.commit(2, std::slice::from_ref(staged), &[]).await.unwrap();
    }
    db.flusher().await.refresh_statistics().await.unwrap();
    db
}

async fn own_rows(server: Arc<Server>) {
    let db = filled(&server).await;
    let client = connect(&db.role("eaves_query")).await;
    for (tenant, value) in [(db.acme, 10), (db.other, 11)] {
        client
            .batch_execute(&format!("begin; select set_config('app.current_tenant_id', '{tenant}', true)"))
            .await
            .unwrap();
        for table in TABLES {
            let found = text(&client, &format!("select distinct tenant_id from {table}")).await;
            assert_eq!(found, tenant.to_string(), "{table}");
        }
        assert_eq!(text(&client, "select value_int from entity_values_ts").await, value.to_string());
        let staged = "select p.value_int from entities e, attributes a,
                      staged_points(e.entity_id, a.attribute_id, '2020-01-01', '2030-01-01') p";
        assert_eq!(text(&client, staged).await, (value + 10).to_string());
        let found = text(&client, "select hot_attrs from find_entities_by_attributes('{}')").await;
        assert_eq!(found, format!(r#"{{"a": {value}}}"#));
        // Asking for the other's by name or number finds nothing.
        let other = if tenant == db.acme { db.other } else { db.acme };
        for table in TABLES {
            let sql = format!("select count(*) from {table} where tenant_id = {other}");
            assert_eq!(text(&client, &sql).await, "0", "{table}");
        }
        client.batch_execute("rollback").await.unwrap();
    }
}

async fn no_tenant(server: Arc<Server>) {
    let db = filled(&server).await;
    let client = connect(&db.role("eaves_query")).await;
    let check = async || {
        for table in TABLES.iter().chain(&["entity_attribute_stats", "find_entities_by_attributes('{}')"]) {
            assert_eq!(text(&client, &format!("select count(*) from {table}")).await, "0", "{table}");
        }
    };
    check().await;
    // After a transaction that had one, the setting is '' and not null.
    client
        .batch_execute(&format!(
            "begin; select set_config('app.current_tenant_id', '{}', true); commit",
            db.acme
        ))
        .await
        .unwrap();
    check().await;
}

async fn one_connection(server: Arc<Server>) {
    let db = filled(&server).await;
    let client = connect(&db.role("eaves_query")).await;
    for round in 0..60 {
        let tenant = if round % 2 == 0 { db.acme } else { db.other };
        client
            .batch_execute(&format!("begin; select set_config('app.current_tenant_id', '{tenant}', true)"))
            .await
            .unwrap();
        assert_eq!(text(&client, "select tenant_id from entities").await, tenant.to_string());
        // Ends well, by an error, or is given up.
        match round % 3 {
            0 => client.batch_execute("commit").await.unwrap(),
            1 => {
                refused(&client, "select 1 / 0").await;
                client.batch_execute("commit").await.unwrap();
            }
            _ => client.batch_execute("rollback").await.unwrap(),
        }
        assert_eq!(text(&client, "select count(*) from entities").await, "0");
    }
}

async fn cannot_write(server: Arc<Server>) {
    let db = filled(&server).await;
    let client = connect(&db.role("eaves_query")).await;
    for table in TABLES {
        assert_eq!(refused(&client, &format!("delete from {table}")).await, "42501", "{table}");
    }
    for sql in [
        "select from mv_entity_attribute_stats",
        "select from entity_values_ingest",
        "select from staging_batches",
        "select stage_flush()",
        "select upsert_hot_attrs(1, 1, '{}')",
        "select search_condition(1, '{}')",
        "set role eaves_pipeline",
        "create table public.t (n int)",
    ] {
        assert_eq!(refused(&client, sql).await, "42501", "{sql}");
    }
    let ingest = connect(&db.role("eaves_ingest")).await;
    for sql in [
        "select from entity_values_ingest_0",
        "delete from entity_values_ingest_0",
        "truncate entity_values_ingest_0",
        "select from entities",
        "select from entity_values_ts",
        "select stage_flush()",
    ] {
        assert_eq!(refused(&ingest, sql).await, "42501", "{sql}");
    }
}
