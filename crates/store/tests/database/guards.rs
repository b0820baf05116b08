//! What functions ask before they read: what a query would cost, what a tenant may spend, whether records
//! are there, how long a fill should rest; and what a superadmin is advised. Directly and through a pooler.

use crate::support::{Database, Server, Suite, connect, position, refused, time};
use eaves_model::tenant::{TenantLimits, TenantQuotas, TenantRates};
use eaves_model::{ConsistencyToken, Value, ValueType};
use eaves_store::admin::GuardChange;
use eaves_store::flush::Pace;
use eaves_store::read::{
    Aggregate, AggregateQuery, Awaited, BucketQuery, DistributionQuery, Reader, TenantGuards, awaiting,
};
use eaves_store::superadmin::{Purpose, Superadmin};
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("guards::costs_are_told_before_anything_is_read", costs);
    suite.test("guards::a_tenant_sets_its_window_within_the_longest", windows);
    suite.test("guards::an_operator_sets_rates_and_quotas_apart", limits);
    suite.test("guards::records_are_awaited", awaited);
    suite.test("guards::a_paced_fill_fills", paced);
    suite.test("guards::advice_needs_a_purpose", advice);
}

fn reader(db: &Database) -> Reader {
    Reader::new(&db.role("eaves_query"), Duration::from_secs(10))
}

async fn costs(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (entity, attribute) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let points: Vec<_> = (0..500).map(|n| w.point(entity, attribute, n, Value::Integer(n))).collect();
    w.commit(1, &points, &[]).await.unwrap();
    db.drain().await;
    let (reader, tenant, types) = (reader(&db), db.acme, vec![(attribute, ValueType::Integer)]);
    let (from, to) = (time(0), time(1000));
    let aggregates = AggregateQuery {
        tenant,
        attributes: types.clone(),
        from,
        to,
        entity_type: None,
        by_entity_type: false,
        wanted: Aggregate::ALL.to_vec(),
        min_count: 1,
        limit: 100,
    };
    let buckets = BucketQuery {
        tenant,
        entity,
        attributes: types,
        from,
        to,
        bucket_micros: 60_000_000,
        with_staging: false,
    };
    let distribution = DistributionQuery {
        tenant,
        attribute,
        value_type: ValueType::Integer,
        from,
        to,
        entity_type: None,
        parts: 7,
    };
    for cost in [
        reader.aggregates_cost(&aggregates).await.unwrap().value,
        reader.history_buckets_cost(&buckets).await.unwrap().value,
        reader.distribution_cost(&distribution).await.unwrap().value,
    ] {
        assert!(cost.total > 0.0 && cost.rows >= 1.0, "{cost:?}");
    }
}

async fn windows(server: Arc<Server>) {
    let db = server.database().await;
    let reader = reader(&db);
    let before = reader.tenant_guards(db.acme).await.unwrap().unwrap();
    assert_eq!(before, TenantGuards::default());
    assert_eq!(reader.own_window_set(db.acme, 3).await.unwrap(), before.longest_window_days);
    // Longer than the longest: refused, and said how long that is.
    assert_eq!(reader.own_window_set(db.acme, 400).await.unwrap(), before.longest_window_days);
    let after = reader.tenant_guards(db.acme).await.unwrap().unwrap();
    assert_eq!(after, TenantGuards { default_window_days: 3, ..before });
    assert_eq!(reader.tenant_guards(db.other).await.unwrap().unwrap(), before, "another tenant's");
}

async fn limits(server: Arc<Server>) {
    let db = server.database().await;
    let (reader, admin) = (reader(&db), db.admin().await);
    let set = async |change: GuardChange| {
        assert_eq!(admin.tenant_guards_set("acme", change).await.unwrap(), Some(db.acme));
        let read = reader.tenant_guards(db.acme).await.unwrap().unwrap();
        let listed = admin.tenant_settings().await.unwrap().into_iter().find(|t| t.id == db.acme).unwrap();
        let own = reader.own_settings(db.acme).await.unwrap().value;
        assert_eq!((listed.guards, own.guards), (read, read));
        read.limits
    };
    let none = GuardChange::default();
    assert_eq!(set(none).await, TenantLimits::default());
    let quotas = set(GuardChange {
        reads_per_day: Some(Some(5_000_000)),
        expensive_per_day: Some(Some(0)),
        values_per_day: Some(Some(u64::MAX)),
        ..none
    })
    .await;
    let most = i64::MAX.unsigned_abs();
    let expected = TenantQuotas { reads: Some(5_000_000), expensive: Some(0), values: Some(most) };
    assert_eq!(quotas, TenantLimits { rates: TenantRates::default(), quotas: expected });
    // Rates leave quotas alone, and quotas what is not named.
    let rates = set(GuardChange { reads: Some(Some(6000)), ..none }).await;
    assert_eq!((rates.rates.reads, rates.quotas), (Some(6000), expected));
    let usual = set(GuardChange { values_per_day: Some(None), ..none }).await;
    let expected = TenantQuotas { values: None, ..expected };
    assert_eq!((usual.rates.reads, usual.quotas), (Some(6000), expected));
    // The command line of the release before knows no quotas.
    let operator = connect(&db.role("eaves_admin")).await;
    let before = "select tenant_guards_set('acme', 2, null, -1, 60, null)";
    operator.batch_execute(before).await.unwrap();
    let after = set(none).await;
    assert_eq!((after.rates.reads, after.rates.expensive, after.quotas), (None, Some(60), expected));

    assert_eq!(admin.tenant_guards_set("nobody", none).await.unwrap(), None);
    let other = reader.tenant_guards(db.other).await.unwrap().unwrap();
    assert_eq!(other, TenantGuards::default(), "another tenant's");
    let set = "select tenant_guards_set('acme', null, null, null, null, null, -2, null, null)";
    assert_eq!(refused(&operator, set).await, "23514");
    // No tenant gives itself more.
    assert_eq!(refused(&connect(&db.role("eaves_query")).await, set).await, "42501");
}

async fn awaited(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (entity, attribute) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    w.commit(1, &[w.point(entity, attribute, 0, Value::Integer(1))], &[]).await.unwrap();
    // These tests' batches come by another name than those of functions.
    db.sql.batch_execute("update ingest_checkpoints set consumer = 'ingest'").await.unwrap();
    let reader = reader(&db);
    for (last, there) in [(1, true), (2, false)] {
        let mut token = ConsistencyToken::default();
        token.add("s", position(last));
        let records = Arc::new(Awaited::of(&token, "stream"));
        assert_eq!(reader.reached(records.clone()).await.unwrap().value.ingested, there, "{last}");
        // Each read tells by itself while they are awaited.
        let read = awaiting(records, reader.tenant_guards(db.acme)).await.unwrap();
        assert!(read.is_some());
    }
}

async fn paced(server: Arc<Server>) {
    let db = server.database().await;
    let (flusher, mut pace) = (db.flusher().await, Pace::default());
    // Nothing becomes hot: nothing to fill, and nothing to rest for.
    assert!(flusher.paced_hot_step(None, &mut pace).await.unwrap().is_none());
}

async fn advice(server: Arc<Server>) {
    let db = server.database().await;
    let superadmin = Superadmin::new(&db.role("eaves_superadmin"));
    let why = Purpose { who: "somebody", reason: "a test of what is advised" };
    superadmin.advice(why, 1000.0, 1).await.unwrap();
    assert!(superadmin.advice(Purpose { reason: "", ..why }, 1000.0, 1).await.is_err());
    // From the command line it is noted likewise, and there is no other way.
    let admin = Superadmin::new(&db.role("eaves_admin"));
    admin.advice(Purpose { who: "jane", ..why }, 1000.0, 1).await.unwrap();
    let noted = "select who, what, role_name from admin_reads order by opened_at";
    assert_eq!(db.one(noted).await, "somebody|advice|eaves_superadmin\njane|advice|eaves_admin");
    let client = connect(&db.role("eaves_admin")).await;
    assert_eq!(refused(&client, "select * from query_advice()").await, "EV008");
    assert_eq!(refused(&client, "select * from query_advice_found()").await, "42501");
}
