//! Search over hot attributes.

use crate::support::{Database, Server, Suite, connect, refused, text, time};
use eaves_model::{EntityId, Value, ValueType};
use eaves_store::read::{FilterRefusal, ReadError, Reader, SearchQuery, SearchSort};
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("search::filters_find_what_they_say", filters);
    suite.test("search::a_bad_filter_is_told", bad_filters);
    suite.test("search::another_tenants_type_of_the_name_does_not_matter", other_types);
    suite.test("search::equality_uses_the_index", uses_the_index);
    suite.test("search::at_least_k_of_the_conditions", at_least);
    suite.test("search::cold_attributes_by_their_latest_value", cold);
    suite.test("search::entities_without_anything_hot_are_found", without_a_row);
    suite.test("search::sorted_pages_cover_all_once", sorted);
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
        let sql = format!(
            "select coalesce(string_agg(external_id, ''), '')
             from search_entities('{filter}', null, null, 'registered', null, false, 0, null, 100)"
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
    check(r#"{"and":[{"attribute":"status","eq":"online"},{"attribute":"temp","eq":30}]}"#, "b").await;
    check(r#"{"and":[{"attribute":"temp","eq":30.000},{"attribute":"temp","eq":30}]}"#, "bd").await;
    check(r#"{"and":[{"attribute":"temp","eq":30},{"attribute":"temp","eq":20.5}]}"#, "").await;
    check(r#"{"and":[{"attribute":"ok","eq":true},{"attribute":"seen","eq":"2026-01-01T00:00:00Z"}]}"#, "a")
        .await;
    check(r#"{"and":[{"attribute":"n","eq":2,"lt":3},{"attribute":"ok","eq":false}]}"#, "b").await;
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
        let search =
            format!("search_entities('{filter}', null, null, 'registered', null, false, 0, null, 100)");
        for function in [format!("find_entities_by_attributes('{filter}')"), search] {
            assert_eq!(refused(&client, &format!("select from {function}")).await, code, "{function}");
        }
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
    // So does the plan that a connection keeps, whatever value comes, and what is read is what is found.
    let search = |value: &str| {
        format!(
            r#"select count(*) from search_entities('{{"attribute":"status","eq":"{value}"}}', null, null, 'registered',
               null, false, 0, null, 100)"#
        )
    };
    let read = "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_xact_user_tables
                where relname ~ '^entity_jsonb_p'";
    for value in 70..90 {
        client.batch_execute("begin").await.unwrap();
        let before: u64 = text(&client, read).await.parse().unwrap();
        assert_eq!(text(&client, &search(&format!("v{value}"))).await, "10");
        let touched = text(&client, read).await.parse::<u64>().unwrap() - before;
        client.batch_execute("commit").await.unwrap();
        assert!(touched <= 10, "{touched} rows were read for 10");
    }
    drop(client);
    crate::support::until("a scan of the index", async || db.one(scans).await != "0").await;
}

async fn found(db: &Database, query: SearchQuery) -> Result<String, ReadError> {
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(10));
    let rows = reader.search(&query).await?.value;
    Ok(rows.into_iter().map(|row| row.entity.external_id).collect())
}

async fn at_least(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    for name in ["a", "b", "c"] {
        w.attribute(name, ValueType::Integer).await;
    }
    // Entity n has in a, b and c the digits of n in base 3.
    let mut hot = Vec::new();
    let names: Vec<String> = (0..27_u8).map(|n| char::from(b'A' + n).to_string()).collect();
    for (n, name) in names.iter().enumerate() {
        let e = w.entity(name).await;
        let (a, b, c) = (n / 9, n / 3 % 3, n % 3);
        hot.push(w.hot(e, 0, &format!("{{\"a\":{a},\"b\":{b},\"c\":{c}}}")));
    }
    w.commit(1, &[], &hot).await.unwrap();
    for k in 1..=3 {
        let filter = format!(
            r#"{{"at_least":{{"k":{k},"of":[{{"attribute":"a","eq":1}},{{"attribute":"b","eq":2}},
               {{"attribute":"c","gt":0}}]}}}}"#
        );
        let expect: String = (0..27)
            .filter(|n| {
                let met = [n / 9 == 1, n / 3 % 3 == 2, n % 3 > 0];
                met.iter().filter(|m| **m).count() >= k
            })
            .map(|n: usize| names[n].as_str())
            .collect();
        assert_eq!(found(&db, SearchQuery::new(db.acme, filter.as_str(), 100)).await.unwrap(), expect, "{k}");
        let not = format!(r#"{{"and":[{{"not":{filter}}},{{"attribute":"a","eq":1}}]}}"#);
        let rest = found(&db, SearchQuery::new(db.acme, not, 100)).await.unwrap();
        assert!(rest.chars().all(|c| !expect.contains(c)), "{rest} {expect}");
    }
    for bad in [
        r#"{"at_least":{"k":0,"of":[{"attribute":"a","eq":1}]}}"#,
        r#"{"at_least":{"k":2,"of":[{"attribute":"a","eq":1}]}}"#,
        r#"{"at_least":{"k":1.5,"of":[{"attribute":"a","eq":1},{"attribute":"b","eq":1}]}}"#,
        r#"{"at_least":{"k":1,"of":[]}}"#,
        r#"{"at_least":{"of":[{"attribute":"a","eq":1}]}}"#,
        r#"{"at_least":7}"#,
    ] {
        let refused = found(&db, SearchQuery::new(db.acme, bad, 10)).await.unwrap_err();
        assert!(
            matches!(refused, ReadError::Filter { refusal: FilterRefusal::Malformed, .. }),
            "{bad}: {refused:?}"
        );
    }
}

async fn without_a_row(server: Arc<Server>) {
    let db = server.database().await;
    let tenant = db.admin().await.tenant_create("few", false, Some(1)).await.unwrap();
    let mut w = crate::support::Writer::connect(&db.role("eaves_ingest"), tenant, "s").await;
    w.attribute("hot", ValueType::Integer).await;
    let cold = w.attribute("cold", ValueType::Integer).await;
    let (mut points, mut hot) = (Vec::new(), Vec::new());
    for (n, name) in ["p", "q", "r"].into_iter().enumerate() {
        let e = w.entity(name).await;
        points.push(w.point(e, cold, 10, Value::Integer(n as i64)));
        if name == "p" {
            hot.push(w.hot(e, 0, r#"{"hot":1}"#));
        }
    }
    w.commit(1, &points, &hot).await.unwrap();
    db.drain().await;
    // What it would cost is asked of all entities, not of those with a row: there are ten thousand without.
    db.sql
        .batch_execute(&format!(
            "begin; insert into entities (tenant_id, external_id)
               select {tenant}, 'more' || n from generate_series(1, 10000) n; commit; analyze entities"
        ))
        .await
        .unwrap();
    let guarded = |most: f64| SearchQuery {
        cold_from: Some(time(0)),
        most_cost: Some(most),
        ..SearchQuery::new(tenant, r#"{"attribute":"cold","gt":0}"#, 10)
    };
    let refused = found(&db, guarded(10_000.0)).await.unwrap_err();
    assert!(matches!(refused, ReadError::TooExpensive(_)), "{refused:?}");
    assert_eq!(found(&db, guarded(1e9)).await.unwrap(), "qr");
    let sql = format!("delete from entities where tenant_id = {tenant} and external_id like 'more%'");
    db.sql.batch_execute(&sql).await.unwrap();
    for (filter, expect) in [
        ("{}", "pqr"),
        (r#"{"attribute":"cold","gt":0}"#, "qr"),
        (r#"{"not":{"attribute":"hot","exists":true}}"#, "qr"),
        (r#"{"attribute":"hot","exists":false}"#, "qr"),
        (r#"{"not":{"attribute":"hot","eq":1}}"#, "qr"),
        (r#"{"or":[{"attribute":"hot","eq":1},{"attribute":"cold","eq":2}]}"#, "pr"),
        (r#"{"and":[{"attribute":"hot","eq":1},{"attribute":"cold","gte":0}]}"#, "p"),
        (r#"{"at_least":{"k":1,"of":[{"attribute":"hot","gt":0},{"attribute":"cold","gt":1}]}}"#, "pr"),
        (r#"{"at_least":{"k":2,"of":[{"attribute":"hot","lt":9},{"attribute":"cold","gte":0}]}}"#, "p"),
    ] {
        for sort in [SearchSort::Registered, SearchSort::ExternalId, SearchSort::Attribute("hot".into())] {
            let query = SearchQuery {
                cold_from: Some(time(0)),
                sort: sort.clone(),
                ..SearchQuery::new(tenant, filter, 10)
            };
            assert_eq!(found(&db, query).await.unwrap(), expect, "{filter} {sort:?}");
        }
    }
}

async fn cold(server: Arc<Server>) {
    let db = server.database().await;
    let tenant = db.admin().await.tenant_create("few", false, Some(1)).await.unwrap();
    let mut w = crate::support::Writer::connect(&db.role("eaves_ingest"), tenant, "s").await;
    w.attribute("hot", ValueType::String).await;
    let types = [
        ("f", ValueType::Float),
        ("i", ValueType::Integer),
        ("t", ValueType::String),
        ("b", ValueType::Boolean),
        ("d", ValueType::Decimal),
        ("at", ValueType::Timestamp),
    ];
    let mut ids = Vec::new();
    for (name, value_type) in types {
        ids.push(w.attribute(name, value_type).await);
    }
    let (mut points, mut hot) = (Vec::new(), Vec::new());
    for (n, name) in ["p", "q", "r"].into_iter().enumerate() {
        let e = w.entity(name).await;
        let n = n as i64;
        hot.push(w.hot(e, 0, if n < 2 { r#"{"hot":"on"}"# } else { r#"{"hot":"off"}"# }));
        for late in [false, true] {
            // The later values are those that count.
            let (at, n) = if late { (100, n) } else { (10, 90 - n) };
            let values = [
                Value::Float(n as f64 / 10.0),
                Value::Integer((1 << 60) + n),
                Value::String(format!("it's %s {n}").into()),
                Value::Boolean(n == 1),
                Value::Decimal(eaves_model::Decimal::new(n, 28)),
                Value::Timestamp(time(n)),
            ];
            points.extend(ids.iter().zip(values).map(|(id, value)| w.point(e, *id, at, value)));
        }
    }
    w.commit(1, &points, &hot).await.unwrap();
    db.drain().await;
    let check = async |filter: &str, since: i64, expect: &str| {
        let query = SearchQuery { cold_from: Some(time(since)), ..SearchQuery::new(tenant, filter, 10) };
        assert_eq!(found(&db, query).await.unwrap(), expect, "{filter}");
    };
    check(r#"{"attribute":"f","eq":0.1}"#, 0, "q").await;
    check(r#"{"attribute":"f","gte":0.1,"lt":9}"#, 0, "qr").await;
    check(r#"{"attribute":"i","gt":1152921504606846976}"#, 0, "qr").await;
    check(r#"{"attribute":"i","in":[1152921504606846978,1]}"#, 0, "r").await;
    check(r#"{"attribute":"t","eq":"it's %s 1"}"#, 0, "q").await;
    check(r#"{"attribute":"t","gt":"it's %s 0"}"#, 0, "qr").await;
    check(r#"{"attribute":"b","eq":true}"#, 0, "q").await;
    check(r#"{"attribute":"d","lt":0.0000000000000000000000000002}"#, 0, "pq").await;
    check(r#"{"attribute":"at","gte":"2026-01-01T00:00:01Z"}"#, 0, "qr").await;
    check(r#"{"attribute":"f","exists":true}"#, 0, "pqr").await;
    check(r#"{"attribute":"f","exists":true}"#, 101, "").await;
    check(r#"{"attribute":"f","exists":false}"#, 101, "pqr").await;
    check(r#"{"not":{"attribute":"f","gt":0}}"#, 0, "p").await;
    check(r#"{"and":[{"attribute":"hot","eq":"on"},{"attribute":"f","gt":0}]}"#, 0, "q").await;
    let k = r#"{"at_least":{"k":2,"of":[{"attribute":"hot","eq":"on"},{"attribute":"f","gt":0},{"attribute":"b","eq":true}]}}"#;
    check(k, 0, "q").await;
    let refusal = |e: ReadError| match e {
        ReadError::Filter { refusal, subject } => (refusal, subject),
        other => panic!("{other:?}"),
    };
    let cold = SearchQuery::new(tenant, r#"{"attribute":"f","gt":0}"#, 10);
    let refused = found(&db, cold.clone()).await.unwrap_err();
    assert_eq!(refusal(refused), (FilterRefusal::NotHot, "f".into()), "without a time to look back to");
    let wrong = SearchQuery {
        cold_from: Some(time(0)),
        ..SearchQuery::new(tenant, r#"{"attribute":"f","gt":"x"}"#, 10)
    };
    assert_eq!(refusal(found(&db, wrong).await.unwrap_err()), (FilterRefusal::WrongType, "f".into()));
    let others = SearchQuery { cold_from: Some(time(0)), tenant: db.other, ..cold };
    assert_eq!(refusal(found(&db, others).await.unwrap_err()), (FilterRefusal::UnknownAttribute, "f".into()));
}

async fn sorted(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    for (name, value_type) in [
        ("n", ValueType::Integer),
        ("s", ValueType::String),
        ("b", ValueType::Boolean),
        ("at", ValueType::Timestamp),
    ] {
        w.attribute(name, value_type).await;
    }
    let mut hot = Vec::new();
    let mut input = Vec::new();
    for i in 0..23_i64 {
        let name = format!("e{:02}", i * 7 % 23);
        let e = w.entity(&name).await;
        let value = i * 5 % 11;
        // Equal values, and some entities without one.
        if i % 6 != 0 {
            let attrs = format!(
                r#"{{"n":{value},"s":"{value:02}","b":{},"at":"2026-01-01T00:00:{value:02}Z"}}"#,
                value > 4
            );
            hot.push(w.hot(e, 0, &attrs));
        } else {
            hot.push(w.hot(e, 0, r#"{"x":1}"#));
        }
        input.push((name, (i % 6 != 0).then_some(value), i));
    }
    w.commit(1, &[], &hot).await.unwrap();
    let reader = Reader::new(&db.role("eaves_query"), Duration::from_secs(10));
    let pages = async |sort: SearchSort, descending: bool| -> Vec<String> {
        let mut query = SearchQuery { sort, descending, limit: 4, ..SearchQuery::new(db.acme, "{}", 4) };
        let mut names = Vec::new();
        loop {
            let rows = reader.search(&query).await.unwrap().value;
            let Some(last) = rows.last() else { return names };
            query.after = last.entity.entity;
            query.after_key = match query.sort {
                SearchSort::ExternalId => Some(last.entity.external_id.clone()),
                _ => last.key.clone(),
            };
            names.extend(rows.into_iter().map(|r| r.entity.external_id));
        }
    };
    type Found = (String, Option<i64>, i64);
    for descending in [false, true] {
        let by = |key: &dyn Fn(&Found) -> (bool, i64, i64)| -> Vec<String> {
            let mut all = input.clone();
            all.sort_by_key(|e| key(e));
            all.into_iter().map(|e| e.0).collect()
        };
        let sign = if descending { -1 } else { 1 };
        assert_eq!(pages(SearchSort::Registered, descending).await, by(&|e| (false, 0, sign * e.2)));
        let mut names: Vec<String> = input.iter().map(|e| e.0.clone()).collect();
        names.sort();
        if descending {
            names.reverse();
        }
        assert_eq!(pages(SearchSort::ExternalId, descending).await, names);
        let of = |name: &str| SearchSort::Attribute(name.into());
        let expect = by(&|e| (e.1.is_none(), sign * e.1.unwrap_or(0), e.2));
        for name in ["n", "s", "at"] {
            assert_eq!(pages(of(name), descending).await, expect, "{name}");
        }
        let expect = by(&|e| (e.1.is_none(), sign * i64::from(e.1.unwrap_or(0) > 4), e.2));
        assert_eq!(pages(of("b"), descending).await, expect);
    }
    let bad = SearchQuery {
        sort: SearchSort::Attribute("n".into()),
        after: EntityId(1),
        after_key: Some("x".into()),
        ..SearchQuery::new(db.acme, "{}", 4)
    };
    let refused = reader.search(&bad).await.unwrap_err();
    assert!(matches!(refused, ReadError::Filter { refusal: FilterRefusal::Malformed, .. }), "{refused:?}");
    let others = SearchQuery { sort: SearchSort::ExternalId, ..SearchQuery::new(db.other, "{}", 4) };
    assert!(reader.search(&others).await.unwrap().value.is_empty());
}
