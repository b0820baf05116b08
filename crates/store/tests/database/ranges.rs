//! Ranges of numbers, times and texts, and whether an attribute is there, from an index: which, from when on, and
//! that nothing is missing.

use crate::support::{Database, Server, Suite, connect, text};
use eaves_model::{EntityId, TenantId, Timestamp, ValueType};
use eaves_store::flush::Pace;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("ranges::what_searches_filter_by_most_gets_an_index", chosen);
    suite.test("ranges::a_range_is_looked_up_and_not_scanned_for", looked_up);
    suite.test("ranges::bounds_beyond_a_float_are_bounds", extremes);
    suite.test("ranges::times_are_told_apart_below_the_second_and_beyond_the_years", times);
    suite.test("ranges::texts_are_told_apart_beyond_their_beginning", texts);
    suite.test("ranges::no_interleaving_loses_a_match", interleavings);
}

const NOW: Option<Duration> = Some(Duration::ZERO);

/// As if searches had filtered by ranges so often.
async fn asked(db: &Database, tenant: TenantId, ranges: &[(&str, i64)]) {
    for (name, count) in ranges {
        let sql = format!(
            "insert into attribute_statistics (tenant_id, attribute_id, period, \"values\", bytes, compared, changed,
               queries, filters, ranges, returns, query_us)
             select tenant_id, attribute_id, 1, 0, 0, 0, 0, {count}, {count}, {count}, 0, 0 from attributes
             where tenant_id = {tenant} and attribute_name = '{name}'
             on conflict (tenant_id, attribute_id, period) do update set ranges = excluded.ranges"
        );
        db.sql.batch_execute(&sql).await.unwrap();
    }
}

/// The places of a tenant: names, those without one as `-`, and which of them are ready.
async fn places(db: &Database, tenant: TenantId) -> String {
    db.one(&format!(
        "select array_to_string(names, ' ', '-'), array_to_string(ready, ' ') from hot_ranges where tenant_id = {tenant}"
    ))
    .await
}

async fn chosen(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let numbers = ["a", "b", "c", "d", "e"].map(|name| (name, ValueType::Float));
    w.store.register_attributes(w.tenant, &numbers, true).await.unwrap();
    w.store.register_attributes(w.tenant, &[("text", ValueType::String)], true).await.unwrap();
    let flusher = db.flusher().await;
    assert_eq!(flusher.choose_ranges().await.unwrap(), 0, "nobody asked for anything");
    // What is asked for by equality needs no index of ranges.
    asked(&db, w.tenant, &[("text", 100), ("c", 100)]).await;
    db.sql.batch_execute("update attribute_statistics set ranges = 0").await.unwrap();
    assert_eq!(flusher.choose_ranges().await.unwrap(), 0);
    asked(&db, w.tenant, &[("a", 5), ("b", 9)]).await;
    assert_eq!(flusher.choose_ranges().await.unwrap(), 1);
    assert_eq!(flusher.choose_ranges().await.unwrap(), 0, "it is chosen already");
    assert_eq!(places(&db, w.tenant).await, "b a - -|f f f f");
    assert_eq!(flusher.range_step(10, None).await.unwrap(), None, "writers may not know of it yet");
    let step = flusher.range_step(10, NOW).await.unwrap().unwrap();
    assert!(step.done && step.tenant == w.tenant.0, "{step:?}");
    assert_eq!(places(&db, w.tenant).await, "b a - -|t t f f");
    // Places that are free are given; who has one keeps it, and its index, until another is asked for far more.
    asked(&db, w.tenant, &[("text", 3), ("d", 2), ("e", 4)]).await;
    assert_eq!(flusher.choose_ranges().await.unwrap(), 1);
    assert_eq!(places(&db, w.tenant).await, "b a e text|t t f f");
    asked(&db, w.tenant, &[("d", 8)]).await;
    assert_eq!(flusher.choose_ranges().await.unwrap(), 0);
    asked(&db, w.tenant, &[("d", 9)]).await;
    assert_eq!(flusher.choose_ranges().await.unwrap(), 1);
    assert_eq!(places(&db, w.tenant).await, "b a e d|t t f f");
    // What ceases to be hot gives its place up.
    let sql = format!(
        "update attributes set is_hot = false where tenant_id = {} and attribute_name <> 'a'",
        w.tenant
    );
    db.sql.batch_execute(&sql).await.unwrap();
    assert_eq!(flusher.choose_ranges().await.unwrap(), 1);
    assert_eq!(places(&db, w.tenant).await, "- a - -|f t f f");
    db.sql.batch_execute("update attributes set is_hot = false").await.unwrap();
    assert_eq!(flusher.choose_ranges().await.unwrap(), 1);
    assert_eq!(places(&db, w.tenant).await, "- - - -|f f f f");
}

async fn looked_up(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    w.attribute("temp", ValueType::Float).await;
    w.attribute("at", ValueType::Timestamp).await;
    w.attribute("site", ValueType::String).await;
    w.attribute("rare", ValueType::Float).await;
    w.attribute("alarm", ValueType::Boolean).await;
    // In the order of their registration they have nothing to do with the value.
    db.sql
        .batch_execute(&format!(
            "insert into entities (tenant_id, external_id) select {0}, 'x' || n from generate_series(1, 20000) n;
             insert into entity_jsonb (tenant_id, entity_id, hot_attrs, hot_times, observed_at, oldest_at)
             select tenant_id, entity_id,
                    case when hashint8(entity_id) % 10000 between 7000 and 7030 then '{{\"alarm\": false, \"rare\": 1}}'
                         else '{{}}' end::jsonb ||
                    jsonb_build_object('temp', hashint8(entity_id) % 10000,
                      'site', 's' || (hashint8(entity_id) % 10000 + 20000),
                      'at', to_char(timestamp '2026-01-01' + hashint8(entity_id) % 10000 * interval '1 hour',
                                    'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')),
                    '{{}}', now(), now()
             from entities where tenant_id = {0}",
            db.acme
        ))
        .await
        .unwrap();
    asked(&db, db.acme, &[("temp", 4), ("at", 3), ("site", 2), ("rare", 1)]).await;
    let flusher = db.flusher().await;
    flusher.choose_ranges().await.unwrap();
    assert_eq!(places(&db, db.acme).await, "temp at site rare|f f f f");
    let (mut rows, mut pace) = (0, Pace::default());
    while let Some(step) = flusher.paced_range_step(NOW, &mut pace).await.unwrap() {
        rows += step.rows;
    }
    assert_eq!(rows, 20_000);
    db.sql.batch_execute("vacuum analyze entity_jsonb, entities").await.unwrap();
    let client = connect(&db.role("eaves_query")).await;
    client
        .batch_execute(&format!("select set_config('app.current_tenant_id', '{}', false)", db.acme))
        .await
        .unwrap();
    // Of this session alone, and exact within a transaction.
    let read = "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_xact_user_tables
                where relname ~ '^entity_jsonb_p'";
    let scans = "select sum(pg_stat_get_xact_numscans(oid)) from pg_class
                 where relkind = 'i' and relname ~ '^entity_jsonb_p.*_case'";
    let count_of = async |sql: &str| text(&client, sql).await.parse::<u64>().unwrap();
    let count = |test: &str| {
        format!(
            "select count(*) from entities e where tenant_id = {} and hashint8(entity_id) % 10000 {test}",
            db.acme
        )
    };
    for (filter, test) in [
        (r#"{"attribute":"temp","gt":9940}"#, "> 9940"),
        (r#"{"attribute":"temp","gte":-20,"lt":15}"#, "between -20 and 14"),
        (r#"{"and":[{"attribute":"temp","lte":-9950},{"attribute":"temp","exists":true}]}"#, "<= -9950"),
        (
            r#"{"or":[{"attribute":"temp","lt":-9970},{"attribute":"temp","gt":9970.5}]}"#,
            "not between -9970 and 9970",
        ),
        (
            r#"{"attribute":"at","gte":"2026-01-02T02:00:00+02:00","lt":"2026-01-03T00:00:00Z"}"#,
            "between 24 and 47",
        ),
        (r#"{"attribute":"at","gt":"2027-02-18T11:59:59.5Z"}"#, ">= 9924"),
        (
            r#"{"attribute":"at","in":["2026-01-01T00:00:00Z","2026-01-01T05:00:00+00:00","2026-02-01T00:00:00Z",
                "2026-02-01T01:00:00Z","2026-02-01T02:00:00Z","2026-02-01T03:00:00Z","2026-02-01T04:00:00Z",
                "2026-02-01T05:00:00Z","2026-02-01T06:00:00Z","2026-02-01T07:00:00Z","2026-02-01T08:00:00Z",
                "2026-02-01T09:00:00Z","2026-02-01T10:00:00Z","2026-02-01T11:00:00Z","2026-02-01T12:00:00Z",
                "2026-02-01T13:00:00Z","2026-02-01T14:00:00Z","2026-02-01T15:00:00Z","2026-02-01T16:00:00Z",
                "2026-02-01T17:00:00Z","2026-02-01T18:00:00Z","2026-02-01T19:00:00Z","2026-02-01T20:00:00Z"]}"#,
            "in (0, 5, 744, 745, 746, 747, 748, 749, 750, 751, 752, 753, 754, 755, 756, 757, 758, 759, 760, 761, 762, 763, 764)",
        ),
        (r#"{"attribute":"site","gt":"s29940"}"#, "> 9940"),
        (r#"{"attribute":"alarm","exists":true}"#, "between 7000 and 7030"),
        (r#"{"attribute":"rare","exists":true}"#, "between 7000 and 7030"),
    ] {
        let expected: u64 = db.one(&count(test)).await.parse().unwrap();
        assert!((12..200).contains(&expected), "{filter}: {expected} are no good test");
        client.batch_execute("begin").await.unwrap();
        let (before, scanned) = (count_of(read).await, count_of(scans).await);
        let sql = format!(
            "select count(*) from search_entities('{filter}', null, null, 'registered', null, false, 0, null, 1000)"
        );
        assert_eq!(text(&client, &sql).await, expected.to_string(), "{filter}");
        // Whether a boolean is there is two equalities.
        assert!(
            count_of(scans).await > scanned || filter.contains("alarm"),
            "{filter}: no index of ranges was looked at"
        );
        let touched = count_of(read).await - before;
        client.batch_execute("commit").await.unwrap();
        // Once to be found, and once for the page.
        assert!(touched <= expected * 2 + 5, "{filter}: {touched} rows were read for {expected}");
    }
}

async fn texts(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let types = [("t", ValueType::String), ("b", ValueType::Boolean), ("n", ValueType::Float)];
    w.store.register_attributes(w.tenant, &types, true).await.unwrap();
    let mut hot = Vec::new();
    for (name, attrs) in [
        ("a", r#"{"t":""}"#),
        ("b", r#"{"t":"Zürich"}"#),
        ("c", r#"{"t":"a"}"#),
        ("d", r#"{"t":"one and the same beginning 1","b":true}"#),
        ("e", r#"{"t":"one and the same beginning 2","b":false,"n":0}"#),
        ("f", r#"{"t":"it's 100 % \\ done"}"#),
        ("g", r#"{"t":"z\u0001"}"#),
        ("h", r#"{"t":"\u00e4"}"#),
        ("i", r#"{"t":"\ud83d\ude00"}"#),
        ("j", r#"{"n":1}"#),
    ] {
        let e = w.entity(name).await;
        hot.push(w.hot(e, 0, attrs));
    }
    w.commit(1, &[], &hot).await.unwrap();
    let cases = [
        (r#"{"attribute":"t","gt":"one and the same beginning 1"}"#, "eghi"),
        (r#"{"attribute":"t","gte":"one and the same beginning 1"}"#, "deghi"),
        (r#"{"attribute":"t","lt":"one and the same beginning 2"}"#, "abcdf"),
        (r#"{"attribute":"t","gt":"one and the same be","lte":"one and the same beginning 1"}"#, "d"),
        (r#"{"attribute":"t","lt":"a"}"#, "ab"),
        (r#"{"attribute":"t","lte":""}"#, "a"),
        (r#"{"attribute":"t","gt":"","lt":"a"}"#, "b"),
        (r#"{"attribute":"t","gte":"it's 100 % \\ done","lt":"j"}"#, "f"),
        (r#"{"attribute":"t","gt":"z"}"#, "ghi"),
        (r#"{"attribute":"t","gte":"ä","lt":"😀"}"#, "h"),
        (r#"{"attribute":"t","gt":"ä"}"#, "i"),
        (r#"{"attribute":"t","exists":true}"#, "abcdefghi"),
        (r#"{"attribute":"t","exists":false}"#, "j"),
        (r#"{"attribute":"b","exists":true}"#, "de"),
        (r#"{"attribute":"n","exists":true}"#, "ej"),
        (r#"{"not":{"attribute":"n","exists":true}}"#, "abcdfghi"),
        (r#"{"or":[{"attribute":"b","exists":true},{"attribute":"n","exists":true}]}"#, "dej"),
        (r#"{"attribute":"t","exists":true,"gt":"z"}"#, "ghi"),
    ];
    for (filter, expected) in cases {
        assert_eq!(found(&db, filter).await, expected, "without an index: {filter}");
    }
    asked(&db, w.tenant, &[("t", 2), ("n", 1)]).await;
    let flusher = db.flusher().await;
    flusher.choose_ranges().await.unwrap();
    while flusher.range_step(10, NOW).await.unwrap().is_some() {}
    assert_eq!(places(&db, w.tenant).await, "t n - -|t t f f");
    for (filter, expected) in cases {
        assert_eq!(found(&db, filter).await, expected, "with an index: {filter}");
    }
}

async fn extremes(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    w.store
        .register_attributes(w.tenant, &[("n", ValueType::Integer), ("d", ValueType::Decimal)], true)
        .await
        .unwrap();
    let rows = [
        ("a", r#"{"n":9007199254740993,"d":79228162514264337593543950335}"#),
        ("b", r#"{"n":9007199254740992,"d":0.0000000000000000000000000001}"#),
        ("c", r#"{"n":-9223372036854775808,"d":-0.1}"#),
    ];
    let mut hot = Vec::new();
    for (name, attrs) in rows {
        let e = w.entity(name).await;
        hot.push(w.hot(e, 0, attrs));
    }
    w.commit(1, &[], &hot).await.unwrap();
    asked(&db, w.tenant, &[("n", 1), ("d", 1)]).await;
    let flusher = db.flusher().await;
    flusher.choose_ranges().await.unwrap();
    while flusher.range_step(1, NOW).await.unwrap().is_some() {}
    assert_eq!(places(&db, w.tenant).await, "d n - -|t t f f");
    for (filter, expected) in [
        // Neighbours that float8 cannot tell apart.
        (r#"{"attribute":"n","gt":9007199254740992}"#, "a"),
        (r#"{"attribute":"n","lt":9007199254740993}"#, "bc"),
        (r#"{"attribute":"n","gte":-1e400,"lte":1e400}"#, "abc"),
        (r#"{"attribute":"d","gt":1e-400}"#, "ab"),
        (r#"{"attribute":"d","lt":-1e-400}"#, "c"),
        (r#"{"attribute":"d","gt":79228162514264337593543950334}"#, "a"),
        (r#"{"not":{"attribute":"d","gt":0}}"#, "c"),
        (
            r#"{"at_least":{"k":2,"of":[{"attribute":"d","gt":0},{"attribute":"n","gt":0},{"attribute":"n","lt":0}]}}"#,
            "ab",
        ),
    ] {
        assert_eq!(found(&db, filter).await, expected, "{filter}");
    }
}

async fn times(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    w.store
        .register_attributes(w.tenant, &[("at", ValueType::Timestamp), ("n", ValueType::Float)], true)
        .await
        .unwrap();
    let mut hot = Vec::new();
    for (name, at) in [
        ("a", "2026-05-01T10:00:00Z"),
        ("b", "2026-05-01T10:00:00.000001Z"),
        ("c", "2026-05-01T10:00:01Z"),
        ("d", "0001-01-01T00:00:00Z"),
        ("e", "9999-12-30T00:00:00Z"),
    ] {
        let e = w.entity(name).await;
        hot.push(w.hot(e, 0, &format!(r#"{{"at":"{at}"}}"#)));
    }
    let e = w.entity("f").await;
    hot.push(w.hot(e, 0, r#"{"n":1}"#));
    w.commit(1, &[], &hot).await.unwrap();
    let cases = [
        (r#"{"attribute":"at","gt":"2026-05-01T10:00:00Z"}"#, "bce"),
        (r#"{"attribute":"at","gte":"2026-05-01T10:00:00Z","lt":"2026-05-01T10:00:01Z"}"#, "ab"),
        (r#"{"attribute":"at","lte":"2026-05-01T12:00:00+02:00"}"#, "ad"),
        (r#"{"attribute":"at","eq":"2026-05-01T08:00:00.000001-02:00"}"#, "b"),
        (r#"{"attribute":"at","in":["2026-05-01T10:00:00Z","9999-12-30T00:00:00Z"]}"#, "ae"),
        (r#"{"attribute":"at","lt":"0001-01-01T00:00:00+01:00"}"#, ""),
        (r#"{"attribute":"at","lt":"10000-01-01T00:00:00Z"}"#, "abcde"),
        (r#"{"not":{"attribute":"at","gte":"2026-05-01T10:00:00Z"}}"#, "df"),
    ];
    for (filter, expected) in cases {
        assert_eq!(found(&db, filter).await, expected, "without an index: {filter}");
    }
    asked(&db, w.tenant, &[("at", 1)]).await;
    let flusher = db.flusher().await;
    flusher.choose_ranges().await.unwrap();
    while flusher.range_step(10, NOW).await.unwrap().is_some() {}
    assert_eq!(places(&db, w.tenant).await, "at - - -|t f f f");
    for (filter, expected) in cases {
        assert_eq!(found(&db, filter).await, expected, "with an index: {filter}");
    }
}

/// By the seeds' function, and by the one that answers searches, whole and page by page.
async fn found(db: &Database, filter: &str) -> String {
    let filter = filter.replace('\'', "''");
    let rows = async |of: &str| {
        let sql = format!(
            "begin; select set_config('app.current_tenant_id', '{}', true);
             select '=' || coalesce(string_agg(external_id, '' order by external_id), '') from {of};
             commit",
            db.acme
        );
        text(&db.sql, &sql).await.split_once('=').unwrap().1.to_owned()
    };
    let found = rows(&format!("find_entities_by_attributes('{filter}', null, 0, 1000)")).await;
    let search = |after: &str, limit: u32| {
        format!("search_entities('{filter}', null, null, 'registered', null, false, {after}, null, {limit})")
    };
    assert_eq!(rows(&search("0", 1000)).await, found, "{filter}");
    let paged = format!(
        "(with recursive pages as (
            (select entity_id, external_id from {first})
            union all
            select n.entity_id, n.external_id from pages p
            cross join lateral {next} n where p.entity_id is not null
          ) select external_id from pages) p",
        first = search("0", 1),
        next = search("p.entity_id", 1)
    );
    assert_eq!(rows(&paged).await, found, "page by page: {filter}");
    found
}

/// Values come in, early and late, the choice changes, parts of it are carried out in between: whenever one
/// asks, a search by a range finds what a look at every row finds.
async fn interleavings(server: Arc<Server>) {
    let seed = std::env::var("EAVES_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    let mut rng = StdRng::seed_from_u64(seed);
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let type_of = |name: &str| match name {
        "f" => ValueType::Timestamp,
        "g" => ValueType::String,
        _ => ValueType::Float,
    };
    let types = names.map(|n| (n, type_of(n)));
    w.store.register_attributes(w.tenant, &types, true).await.unwrap();
    // A number, so many times 400 ms around the turn of a day, or a text whose end alone tells it from some.
    let literal = |name: &str, n: i64| match type_of(name) {
        ValueType::Timestamp => {
            format!("\"{}\"", Timestamp::from_micros(1_772_323_200_000_000 + n * 400_000).unwrap())
        }
        ValueType::String => format!("\"seventeen letters {}\"", n + 100),
        _ => n.to_string(),
    };
    let flusher = db.flusher().await;
    let mut entities: Vec<EntityId> = Vec::new();
    let (mut to, mut ready) = (0, 0);
    for step in 0..400 {
        match rng.random_range(0..10) {
            0..5 => {
                let mut rows = Vec::new();
                for _ in 0..rng.random_range(1..6) {
                    if entities.len() < 40 && rng.random_bool(0.3) {
                        entities.push(w.entity(&format!("e{:02}", entities.len())).await);
                    }
                    let Some(entity) = entities.get(rng.random_range(0..entities.len().max(1))).copied()
                    else {
                        continue;
                    };
                    if rows.iter().any(|r: &eaves_store::ingest::HotRow| r.entity == entity) {
                        continue;
                    }
                    let mut attrs = String::from("{");
                    for name in names {
                        if rng.random_bool(0.6) {
                            continue;
                        }
                        let comma = if attrs.len() > 1 { "," } else { "" };
                        let value = literal(name, rng.random_range(-50..50));
                        write!(attrs, "{comma}\"{name}\":{value}").unwrap();
                    }
                    rows.push(w.hot(entity, rng.random_range(0..30), &(attrs + "}")));
                }
                to += 1;
                w.commit(to, &[], &rows).await.unwrap();
            }
            5 => {
                let name = names[rng.random_range(0..names.len())];
                asked(&db, w.tenant, &[(name, rng.random_range(1..100))]).await;
                flusher.choose_ranges().await.unwrap();
            }
            6..9 => drop(flusher.range_step(rng.random_range(1..15), NOW).await.unwrap()),
            _ => {
                // It is hot again before its values are all gone, or after.
                let name = names[rng.random_range(0..names.len())];
                let sql = format!(
                    "update attributes set is_hot = not is_hot where tenant_id = {} and attribute_name = '{name}'",
                    w.tenant
                );
                db.sql.batch_execute(&sql).await.unwrap();
            }
        }
        let name = names[rng.random_range(0..names.len())];
        let hot = format!(
            "select is_hot from attributes where tenant_id = {} and attribute_name = '{name}'",
            w.tenant
        );
        if db.one(&hot).await != "t" {
            continue;
        }
        let place = format!(
            "select coalesce(bool_or(ready[array_position(names, '{name}')]), false) from hot_ranges where tenant_id = {}",
            w.tenant
        );
        ready += u32::from(db.one(&place).await == "t");
        let (low, high) =
            (literal(name, rng.random_range(-50..50)), literal(name, rng.random_range(-50..50)));
        let sql_type = match type_of(name) {
            ValueType::Timestamp => "timestamptz",
            ValueType::String => "text collate \"C\"",
            _ => "numeric",
        };
        let (low_sql, high_sql) = (low.trim_matches('"'), high.trim_matches('"'));
        let every = format!(
            "select coalesce(string_agg(external_id, '' order by external_id), '')
             from entity_jsonb h join entities e using (tenant_id, entity_id)
             where h.tenant_id = {} and (h.hot_attrs ->> '{name}')::{sql_type} > '{low_sql}'
               and (h.hot_attrs ->> '{name}')::{sql_type} <= '{high_sql}'",
            w.tenant
        );
        let filter = format!(r#"{{"attribute":"{name}","gt":{low},"lte":{high}}}"#);
        assert_eq!(
            found(&db, &filter).await,
            db.one(&every).await,
            "step {step}, EAVES_SEED={seed}: {filter}"
        );
        let there = format!(
            "select coalesce(string_agg(external_id, '' order by external_id), '')
             from entity_jsonb h join entities e using (tenant_id, entity_id)
             where h.tenant_id = {} and h.hot_attrs ? '{name}'",
            w.tenant
        );
        let filter = format!(r#"{{"attribute":"{name}","exists":true}}"#);
        assert_eq!(
            found(&db, &filter).await,
            db.one(&there).await,
            "step {step}, EAVES_SEED={seed}: {filter}"
        );
    }
    assert!(ready > 5, "the index was asked {ready} times only, EAVES_SEED={seed}");
}
