//! Migrations from nothing, again, at the same time, and as another role.

use crate::support::{Server, Suite, connect, role, text};
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("migrate::from_empty_and_again", from_empty_and_again);
    suite.test("migrate::several_at_once", several_at_once);
    suite.test("migrate::what_was_counted_before_counts_on", counted_before);
}

async fn from_empty_and_again(server: Arc<Server>) {
    let settings = server.empty().await;
    let first = eaves_store::migrate(&settings).await.unwrap();
    assert!(first.len() >= 19, "{first:?}");
    assert!(eaves_store::migrate(&settings).await.unwrap().is_empty());
    // Later migrations need no superuser.
    assert!(eaves_store::migrate(&role(&settings, "eaves_migrate")).await.unwrap().is_empty());
    let client = connect(&role(&settings, "eaves_migrate")).await;
    client
        .batch_execute("begin; set local role eaves_owner; create table later (tenant_id int4); rollback")
        .await
        .unwrap();
    let superuser_owns = "select count(*) from pg_class c where relnamespace = 'public'::regnamespace
                          and pg_get_userbyid(relowner) not in ('eaves_owner', 'eaves_pipeline')";
    assert_eq!(text(&connect(&settings).await, superuser_owns).await, "0");
}

async fn several_at_once(server: Arc<Server>) {
    let settings = server.empty().await;
    let all = futures_util::future::join_all((0..4).map(|_| eaves_store::migrate(&settings))).await;
    let applied: Vec<usize> = all.into_iter().map(|r| r.unwrap().len()).collect();
    assert_eq!(applied.iter().filter(|n| **n > 0).count(), 1, "{applied:?}");
}

/// V94 begins to tell ranges from other filters: what was counted before must not lose its index to the first search.
async fn counted_before(server: Arc<Server>) {
    let settings = server.empty().await;
    eaves_store::migrate_to(&settings, 93).await.unwrap();
    let client = connect(&settings).await;
    client
        .batch_execute(
            "insert into tenants (name) values ('acme');
             insert into attributes (tenant_id, attribute_name, value_type)
             select t.tenant_id, v.value_type, v.value_type
             from tenants t, unnest('{float,timestamp,string,boolean}'::text[]) as v (value_type);
             insert into attribute_statistics (tenant_id, attribute_id, period, \"values\", bytes, compared, changed,
                                               queries, filters, returns, query_us)
             select tenant_id, attribute_id, 1, 0, 0, 0, 0, 7, 7, 0, 0 from attributes",
        )
        .await
        .unwrap();
    eaves_store::migrate(&settings).await.unwrap();
    let ranges = "select string_agg(a.attribute_name || s.ranges, ' ' order by a.attribute_name)
                  from attribute_statistics s join attributes a using (tenant_id, attribute_id)";
    assert_eq!(text(&client, ranges).await, "boolean0 float7 string0 timestamp7");
}
