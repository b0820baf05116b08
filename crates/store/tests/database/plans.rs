//! How filters on hot attributes are answered: by the index, and with what plain arithmetic finds.
//!
//! The server's own counters of the transaction say how many rows were looked at.

use crate::support::{Server, Suite, connect, text};
use eaves_model::ValueType;
use std::sync::Arc;
use tokio_postgres::Client;

/// Entities of the tenant.
const ENTITIES: i64 = 20_000;
/// Rows that are tried to choose a plan, and the first and last one.
const TRIED: i64 = 64 + 2;
/// Most that are looked at in order for a page of a hundred, if one in 32 matches.
const WALKED: i64 = 4_000;

pub fn add(suite: &mut Suite) {
    suite.test("plans::no_filter_scans_a_tenant", no_scan);
    suite.test("plans::terms_of_numbers_keep_their_order", order);
    suite.test("plans::names_and_values_of_all_kinds_are_found", kinds);
}

/// Looks for a filter as the query function's role; how many were found, and rows looked at by a
/// scan of the table and by an index.
async fn search(client: &Client, filter: &str, limit: i64) -> (i64, i64, i64) {
    client.batch_execute("begin").await.unwrap();
    let sql = "select count(*) from search_entities($1::text::jsonb, null, null, 'registered', null, false, 0, null, $2::int8::int4)";
    let found = client.query_one(sql, &[&filter, &limit]).await.unwrap().get(0);
    let sql = "select sum(seq_tup_read)::int8, sum(idx_tup_fetch)::int8 from pg_stat_xact_user_tables
               where relname ~ '^entity_jsonb_p'";
    let row = client.query_one(sql, &[]).await.unwrap();
    client.batch_execute("commit").await.unwrap();
    (found, row.get(0), row.get(1))
}

async fn no_scan(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    for (name, value_type) in [
        ("s", ValueType::String),
        ("i", ValueType::Integer),
        ("f", ValueType::Float),
        ("d", ValueType::Decimal),
        ("t", ValueType::Timestamp),
        ("b", ValueType::Boolean),
        ("rare", ValueType::Integer),
        ("half", ValueType::String),
    ] {
        w.attribute(name, value_type).await;
    }
    // In the same partition stand the rows of others: hash partitions are for several tenants.
    let fill = |tenant: &str| {
        format!(
            "insert into entities (tenant_id, external_id) select {tenant}, 'x' || n from generate_series(1, {ENTITIES}) n;
             insert into entity_jsonb (tenant_id, entity_id, hot_attrs, hot_times, observed_at, oldest_at)
             select tenant_id, entity_id, jsonb_build_object('s', 'v' || n % 2000, 'i', n, 'f', (n - 10000) / 4.0,
               'd', n + 0.25, 't', to_char(timestamp '2026-01-01' + n * interval '1 minute', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
               'b', n % 2 = 0, 'half', 'h' || n % 2)
               || case when n % 4000 = 0 then '{{\"rare\": 1}}' else '{{}}' end::jsonb, '{{}}', now(), now()
             from entities cross join lateral (select substr(external_id, 2)::int8) as x (n) where tenant_id = {tenant} and external_id like 'x%';"
        )
    };
    db.sql.batch_execute(&fill(&db.acme.to_string())).await.unwrap();
    db.sql.batch_execute("analyze entity_jsonb, entities").await.unwrap();
    let client = connect(&db.role("eaves_query")).await;
    // The same rows are tried in every run.
    let set = format!("select set_config('app.current_tenant_id', '{}', false), setseed(0.5)", db.acme);
    client.batch_execute(&set).await.unwrap();

    // Each with the entities that it is right for.
    type Right = fn(i64) -> bool;
    let few: [(&str, Right); 17] = [
        (r#"{"attribute":"s","eq":"v77"}"#, |n| n % 2000 == 77),
        (r#"{"attribute":"s","in":["v7","v8","none"]}"#, |n| [7, 8].contains(&(n % 2000))),
        (r#"{"attribute":"i","eq":4711}"#, |n| n == 4711),
        (r#"{"attribute":"i","gte":500,"lt":540}"#, |n| (500..540).contains(&n)),
        (r#"{"attribute":"i","gt":19970}"#, |n| n > 19_970),
        (r#"{"attribute":"f","lte":-2495.25}"#, |n| n - 10_000 <= -9981),
        (r#"{"attribute":"f","gt":-2,"lt":2.25}"#, |n| n - 10_000 > -8 && n - 10_000 < 9),
        (r#"{"attribute":"f","in":[0.25,-0.25]}"#, |n| (n - 10_000).abs() == 1),
        (r#"{"attribute":"d","gt":777.25,"lte":790.25}"#, |n| n > 777 && n <= 790),
        (r#"{"attribute":"t","gte":"2026-01-03T00:00:00Z","lt":"2026-01-03T00:20:00Z"}"#, |n| {
            (2880..2900).contains(&n)
        }),
        (r#"{"attribute":"t","gt":"2026-01-14T21:00:00Z"}"#, |n| n > 13 * 1440 + 21 * 60),
        (r#"{"attribute":"t","eq":"2026-01-01T02:00:00+01:00"}"#, |n| n == 60),
        (r#"{"attribute":"rare","exists":true}"#, |n| n % 4000 == 0),
        (r#"{"and":[{"attribute":"half","eq":"h1"},{"attribute":"i","lt":60}]}"#, |n| n % 2 == 1 && n < 60),
        (r#"{"and":[{"attribute":"s","eq":"v9"},{"not":{"attribute":"i","gt":9000}}]}"#, |n| {
            n % 2000 == 9 && n <= 9000
        }),
        (r#"{"or":[{"attribute":"s","eq":"v9"},{"attribute":"i","lte":9}]}"#, |n| n % 2000 == 9 || n <= 9),
        (
            r#"{"at_least":{"k":2,"of":[{"attribute":"i","lt":60},{"attribute":"s","eq":"v5"},{"attribute":"rare","exists":true}]}}"#,
            |n| i64::from(n < 60) + i64::from(n % 2000 == 5) + i64::from(n % 4000 == 0) >= 2,
        ),
    ];
    for (filter, right) in few {
        let expected = (1..=ENTITIES).filter(|n| right(*n)).count() as i64;
        let (found, scanned, fetched) = search(&client, filter, 1000).await;
        assert_eq!(found, expected, "{filter}");
        assert_eq!(scanned, 0, "{filter}");
        // Terms are a little coarser than values, and of k conditions any may hold.
        assert!(fetched <= TRIED + 2 * expected + 100, "{filter}: {fetched} rows for {expected}");
    }
    // What many meet: a page in order.
    let many: [(&str, Right); 5] = [
        (r#"{"attribute":"half","eq":"h1"}"#, |n| n % 2 == 1),
        (r#"{"attribute":"i","gt":100}"#, |n| n > 100),
        (r#"{"attribute":"s","exists":true}"#, |_| true),
        (r#"{"not":{"attribute":"b","eq":true}}"#, |n| n % 2 == 1),
        (r#"{"attribute":"rare","exists":false}"#, |n| n % 4000 != 0),
    ];
    for (filter, right) in many {
        let expected = (1..=ENTITIES).filter(|n| right(*n)).count().min(100) as i64;
        let (found, scanned, fetched) = search(&client, filter, 100).await;
        assert_eq!((found, scanned), (expected, 0), "{filter}");
        assert!(fetched <= WALKED, "{filter}: {fetched} rows for a page");
    }
    // Nor does somebody else's tenant see anything of it.
    let set = format!("select set_config('app.current_tenant_id', '{}', false)", db.other);
    client.batch_execute(&set).await.unwrap();
    let mut other = crate::support::Writer::connect(&db.role("eaves_ingest"), db.other, "o").await;
    other.attribute("i", ValueType::Integer).await;
    assert_eq!(search(&client, r#"{"attribute":"i","gt":-1e300}"#, 10).await.0, 0);
}

/// Prefixes of a range cover what is in it, and none of what is far from it.
async fn order(server: Arc<Server>) {
    let db = server.database().await;
    let numbers = "(values (-1e29), (-123456.75), (-1), (-0.5), (-1e-28), (0), (1e-28), (0.25), (1), (2), (97.003), (1e9), \
                    (9007199254740993), (1e29)) as n (x)";
    let sql = format!(
        "select count(*) from {numbers} cross join {numbers2} cross join {numbers3}
         where a.x <= b.x and n.x between a.x and b.x
           and not hot_terms(1, jsonb_build_object('n', n.x)) @@ search_number_terms(1, 'n', a.x, b.x)::tsquery",
        numbers2 = numbers.replace("as n (x)", "as a (x)"),
        numbers3 = numbers.replace("as n (x)", "as b (x)")
    );
    assert_eq!(db.one(&sql).await, "0", "values of a range that its terms miss");
    let sql = format!(
        "select string_agg(a.x || ' ' || b.x || ' ' || n.x, ', ') from {numbers} cross join {numbers2} cross join {numbers3}
         where a.x <= b.x and (n.x < a.x or n.x > b.x)
           and hot_terms(1, jsonb_build_object('n', n.x)) @@ search_number_terms(1, 'n', a.x, b.x)::tsquery
           and abs(n.x) not between 0.99 * least(abs(a.x), abs(b.x)) and 1.01 * greatest(abs(a.x), abs(b.x))",
        numbers2 = numbers.replace("as n (x)", "as a (x)"),
        numbers3 = numbers.replace("as n (x)", "as b (x)")
    );
    assert_eq!(db.one(&sql).await, "", "values far from a range that its terms meet");
    let open = "select bool_and(hot_terms(1, jsonb_build_object('n', n.x)) @@ search_number_terms(1, 'n', null, n.x)::tsquery
                  and hot_terms(1, jsonb_build_object('n', n.x)) @@ search_number_terms(1, 'n', n.x, null)::tsquery) from ";
    assert_eq!(db.one(&format!("{open}{numbers}")).await, "t");
    let times = "select bool_and(
        hot_terms(1, jsonb_build_object('t', hot_timestamp(t))) @@ search_time_terms(1, 't', t - l * interval '1 s', t + r * interval '1 s')::tsquery
        and hot_terms(1, jsonb_build_object('t', hot_timestamp(t))) @@ search_time_terms(1, 't', null, t)::tsquery
        and hot_terms(1, jsonb_build_object('t', hot_timestamp(t))) @@ search_time_terms(1, 't', t, null)::tsquery)
      from (values (timestamptz '2026-01-01 00:00:00Z'), ('2026-12-31 23:59:59.999999Z'), ('1969-12-31 23:59:59Z'), ('9999-12-31 23:59:59Z'),
        ('0001-01-01 00:00:00Z')) as t (t), unnest(array[0, 1, 3601, 864000, 40000000]) as l, unnest(array[0, 0.5, 59, 86400]) as r
      where t + r * interval '1 s' <= '9999-12-31 23:59:59Z'";
    assert_eq!(db.one(times).await, "t");
}

async fn kinds(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let long = "n".repeat(200);
    let names = ["plain", "it's", r"back\slash", "a:b", "ключ", &long];
    for name in names {
        w.attribute(name, ValueType::String).await;
    }
    let values =
        ["", "x", "it's", r"\", "a & b | !c:*", "日本", &"v".repeat(500), "2026-01-01T00:00:00Z", "404900"];
    let mut hot = Vec::new();
    for (n, value) in values.iter().enumerate() {
        let attrs: serde_json::Map<_, _> =
            names.iter().map(|name| ((*name).to_owned(), (*value).into())).collect();
        let e = w.entity(&format!("e{n}")).await;
        hot.push(w.hot(e, 0, &serde_json::Value::Object(attrs).to_string()));
    }
    w.commit(1, &[], &hot).await.unwrap();
    let client = connect(&db.role("eaves_query")).await;
    let set = format!("select set_config('app.current_tenant_id', '{}', false)", db.acme);
    client.batch_execute(&set).await.unwrap();
    for name in names {
        for (n, value) in values.iter().enumerate() {
            let filter = serde_json::json!({"attribute": name, "eq": value}).to_string().replace('\'', "''");
            let sql =
                format!("select string_agg(external_id, ' ') from find_entities_by_attributes('{filter}')");
            assert_eq!(text(&client, &sql).await, format!("e{n}"), "{filter}");
        }
    }
}
