//! What is decided about the hot projection: by a run, by hand, and what is kept of it.

use crate::support::{Database, Server, Suite, connect, text};
use eaves_model::hot::step::{Pin, Standing};
use eaves_model::{TenantId, Value, ValueType};
use eaves_store::admin::TenantChange;
use eaves_store::hot::{ByHand, Decided};
use eaves_store::read::{Asked, DecidingPlugin, HeldProposal, HotDecision, HotRun, Reader, RunDecision};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("decisions::a_run_is_queued_and_kept_with_what_it_saw", run);
    suite.test("decisions::who_decides_by_hand_is_not_overruled", by_hand);
    suite.test("decisions::a_pin_is_kept_and_can_be_taken_away", pins);
    suite.test("decisions::a_failing_plugin_is_told_once", failures);
    suite.test("decisions::the_newest_thousand_are_kept", retention);
    suite.test("decisions::health_tells_how_far_fills_are", progress);
    suite.test("decisions::runs_at_once_decide_once", at_once);
}

fn reader(db: &Database) -> Reader {
    Reader::new(&db.role("eaves_query"), Duration::from_secs(10))
}

/// Attributes `a` (hot), `b` and `c`, which queries ask for, with values of one entity.
async fn attributes(db: &Database) {
    db.sql.batch_execute("update tenants set hot_limit = 1 where name = 'acme'").await.unwrap();
    let mut w = db.writer("s").await;
    let e = w.entity("e").await;
    let mut points = Vec::new();
    for name in ["a", "b", "c"] {
        let id = w.attribute(name, ValueType::Integer).await;
        points.push(w.point(e, id, 1, Value::Integer(1)));
    }
    let hot = [w.hot(e, 1, "{\"a\":1}")];
    w.commit(1, &points, &hot).await.unwrap();
    db.drain().await;
    let asked = |name: &str| Asked {
        name: name.into(),
        queries: 3,
        filters: 3,
        ranges: 1,
        returns: 1,
        query_us: 6000,
    };
    reader(db).add_queries(db.acme, &[asked("b"), asked("c")]).await.unwrap();
    db.flusher().await.fold_statistics().await.unwrap();
}

fn decided(attribute: &str, change: &'static str) -> RunDecision {
    RunDecision {
        attribute: attribute.into(),
        change,
        code: "asked_for".into(),
        reason: "for the test".into(),
        statistics: json!({"filters_per_second": 0.5}),
    }
}

async fn of(reader: &Reader, tenant: TenantId, decisions: Vec<RunDecision>) -> HotRun {
    let seen = reader.hot_statistics(tenant).await.unwrap().value;
    HotRun {
        seen_at: seen.read_at.unwrap().as_micros(),
        rule: "default",
        by: "the built-in rule".into(),
        plugin: None,
        attributes: 3,
        failure: None,
        held: Vec::new(),
        decisions,
    }
}

fn plugin() -> Option<DecidingPlugin> {
    Some(DecidingPlugin { name: "p".into(), version: "1".into(), digest: "d".repeat(64) })
}

async fn kept(reader: &Reader, tenant: TenantId) -> Vec<HotDecision> {
    reader.hot_decisions(tenant, None, i64::MAX, 500).await.unwrap().value.0
}

fn named(decisions: &[HotDecision]) -> Vec<(&str, &str, &str)> {
    decisions.iter().map(|d| (d.attribute.as_deref().unwrap_or("-"), &*d.change, &*d.rule)).collect()
}

async fn run(server: Arc<Server>) {
    let db = server.database().await;
    attributes(&db).await;
    let reader = reader(&db);
    assert_eq!(reader.hot_tenants(10).await.unwrap(), [db.acme, db.other]);
    let held = HeldProposal { attribute: "c".into(), change: "promote", why: "no_room", reason: "r".into() };
    let decisions = vec![decided("a", "demote"), decided("b", "promote"), decided("none", "promote")];
    let run = HotRun { held: vec![held], ..of(&reader, db.acme, decisions).await };
    assert_eq!(reader.hot_run(db.acme, &run).await.unwrap(), 2);
    // The same again changes nothing more: an answer that was lost is asked for again.
    assert_eq!(reader.hot_run(db.acme, &run).await.unwrap(), 0);

    let (all, last) = reader.hot_decisions(db.acme, None, i64::MAX, 500).await.unwrap().value;
    assert_eq!(named(&all), [("b", "promote", "default"), ("a", "demote", "default")]);
    let first = &all[0];
    assert_eq!(
        (&*first.by, &*first.code, &*first.reason),
        ("the built-in rule", "asked_for", "for the test")
    );
    let seen: Json = serde_json::from_str(&first.statistics_json).unwrap();
    assert_eq!((&seen["filters_per_second"], &first.plugin), (&json!(0.5), &None));
    let last = last.unwrap();
    assert_eq!((last.attributes, last.changes, last.failure), (3, 0, None));
    let held: Json = serde_json::from_str(&last.held_json).unwrap();
    assert_eq!(held[0]["why"], "no_room");
    // In pages, and of one attribute.
    let page = reader.hot_decisions(db.acme, None, first.id, 1).await.unwrap().value.0;
    assert_eq!(named(&page), [("a", "demote", "default")]);
    let one = reader.hot_decisions(db.acme, Some("b"), i64::MAX, 500).await.unwrap().value.0;
    assert_eq!(named(&one), [("b", "promote", "default")]);

    // They are in the queue, and what is being filled counts as hot for the next run.
    let changes = reader.hot_changes_of(db.acme, None).await.unwrap().value;
    let queued: Vec<_> = changes.iter().map(|c| (&*c.attribute, &*c.change, &*c.state)).collect();
    assert_eq!(queued, [("b", "promote", "waiting"), ("a", "demote", "waiting")]);
    assert_eq!(changes[0].requested_by, "the built-in rule");
    let one = reader.hot_changes_of(db.acme, Some("a")).await.unwrap().value;
    assert_eq!(one.len(), 1);
    let seen = reader.hot_statistics(db.acme).await.unwrap().value;
    let hot: Vec<bool> = seen.statistics.attributes.iter().map(|a| a.hot).collect();
    assert_eq!(hot, [false, true, false]);
    assert_eq!(seen.standing[0], Standing { pin: None, recent_changes: 1 });
    assert_eq!((seen.statistics.byte_budget, seen.auto), (1600, true));

    // Who was decided for comes last; who does not want to be, never.
    assert_eq!(reader.hot_tenants(10).await.unwrap(), [db.other, db.acme]);
    let change = TenantChange { hot_auto: Some(false), hot_bytes: Some(4000), ..TenantChange::default() };
    db.admin().await.tenant_set("acme", change).await.unwrap();
    assert_eq!(reader.hot_tenants(10).await.unwrap(), [db.other]);
    let seen = reader.hot_statistics(db.acme).await.unwrap().value;
    assert_eq!((seen.statistics.byte_budget, seen.auto), (4000, false));
    let settings = db.admin().await.tenant_settings().await.unwrap().remove(0);
    assert_eq!((settings.hot_bytes, settings.hot_auto, settings.hot_limit), (4000, false, 1));

    // Another tenant sees and changes nothing of it; without a tenant nobody does.
    assert_eq!(kept(&reader, db.other).await, []);
    assert_eq!(reader.hot_changes_of(db.other, None).await.unwrap().value, []);
    let other = of(&reader, db.other, vec![decided("c", "promote")]).await;
    assert_eq!(reader.hot_run(db.other, &other).await.unwrap(), 0);
    let query = connect(&db.role("eaves_query")).await;
    assert_eq!(text(&query, "select count(*) from hot_decisions, hot_runs").await, "0");
    assert_eq!(
        text(&query, "select hot_run('{}') is null, hot_decide_own('c', 'promote', '', '') is null").await,
        "t|t"
    );
    assert_eq!(db.one("select count(*) from hot_decisions").await, "2");
}

async fn by_hand(server: Arc<Server>) {
    let db = server.database().await;
    attributes(&db).await;
    let reader = reader(&db);
    let late =
        of(&reader, db.acme, vec![decided("a", "demote"), decided("b", "demote"), decided("c", "promote")])
            .await;
    // While the run thinks, somebody decides otherwise.
    let me = ("me@acme", "searched by support");
    assert_eq!(reader.hot_decide_own(db.acme, "b", ByHand::Promote, me).await.unwrap(), Decided::Filling);
    assert_eq!(reader.hot_decide_own(db.acme, "a", ByHand::Pin(Pin::Hot), me).await.unwrap(), Decided::Hot);
    assert_eq!(reader.hot_run(db.acme, &late).await.unwrap(), 1);
    let all = kept(&reader, db.acme).await;
    assert_eq!(
        named(&all),
        [("c", "promote", "default"), ("a", "pin_hot", "hand"), ("b", "promote", "hand")]
    );
    assert_eq!((&*all[2].by, &*all[2].reason, &*all[2].code), ("me@acme", "searched by support", "by_hand"));
    // With the figures of then.
    let seen: Json = serde_json::from_str(&all[2].statistics_json).unwrap();
    assert_eq!((&seen["hot"], &seen["pin"]), (&json!(false), &Json::Null), "{seen}");
    assert!(seen["filters_per_second"].as_f64().unwrap() > 0.0, "{seen}");
    assert_eq!(seen["value_bytes"].as_f64(), Some(8.0), "{seen}");
    // The operator, likewise; of another tenant there is nothing to decide.
    let admin = db.admin().await;
    let me = ("operator", "");
    assert_eq!(admin.hot_decide(db.acme, "c", ByHand::Demote, me).await.unwrap(), Decided::Cold);
    assert_eq!(admin.hot_decide(db.acme, "none", ByHand::Demote, me).await.unwrap(), Decided::Unknown);
    assert_eq!(reader.hot_decide_own(db.other, "a", ByHand::Unpin, me).await.unwrap(), Decided::Unknown);
    // What is so already is no decision.
    assert_eq!(admin.hot_decide(db.acme, "c", ByHand::Demote, me).await.unwrap(), Decided::Cold);
    assert_eq!(kept(&reader, db.acme).await.len(), 4);
}

async fn pins(server: Arc<Server>) {
    let db = server.database().await;
    attributes(&db).await;
    let reader = reader(&db);
    let me = ("me", "");
    let decide =
        async |name: &str, change: ByHand| reader.hot_decide_own(db.acme, name, change, me).await.unwrap();
    // A pin brings the attribute to where it is pinned.
    assert_eq!(decide("b", ByHand::Pin(Pin::Hot)).await, Decided::Filling);
    assert_eq!(decide("a", ByHand::Pin(Pin::Cold)).await, Decided::Cold);
    assert_eq!(decide("b", ByHand::Pin(Pin::Hot)).await, Decided::Filling);
    assert_eq!(decide("b", ByHand::Demote).await, Decided::Pinned);
    assert_eq!(decide("a", ByHand::Promote).await, Decided::Pinned);
    assert_eq!(decide("b", ByHand::Promote).await, Decided::Filling);
    let usages = reader.attribute_usages(db.acme, "", None, 10).await.unwrap().value;
    let shown: Vec<_> = usages.iter().map(|u| (u.standing.pin, u.filling, u.attribute.is_hot)).collect();
    assert_eq!(shown, [(Some(Pin::Cold), false, false), (Some(Pin::Hot), true, false), (None, false, false)]);
    // No run changes it.
    let run = of(&reader, db.acme, vec![decided("a", "promote"), decided("b", "demote")]).await;
    assert_eq!(reader.hot_run(db.acme, &run).await.unwrap(), 0);
    // From one pin to the other, and to none: it stays, until something else is decided.
    assert_eq!(decide("b", ByHand::Pin(Pin::Cold)).await, Decided::Cold);
    assert_eq!(decide("b", ByHand::Unpin).await, Decided::Cold);
    assert_eq!(decide("b", ByHand::Unpin).await, Decided::Cold);
    let all = kept(&reader, db.acme).await;
    assert_eq!(
        named(&all),
        [
            ("b", "unpin", "hand"),
            ("b", "pin_cold", "hand"),
            ("a", "pin_cold", "hand"),
            ("b", "pin_hot", "hand")
        ]
    );
    let run = of(&reader, db.acme, vec![decided("b", "promote")]).await;
    assert_eq!(reader.hot_run(db.acme, &run).await.unwrap(), 1);
}

async fn failures(server: Arc<Server>) {
    let db = server.database().await;
    attributes(&db).await;
    let reader = reader(&db);
    let failed = async |why: &str| {
        let run = of(&reader, db.acme, Vec::new()).await;
        let run = HotRun {
            rule: "plugin",
            by: "plugin p 1".into(),
            plugin: plugin(),
            failure: Some(why.into()),
            ..run
        };
        reader.hot_run(db.acme, &run).await.unwrap()
    };
    for why in ["it trapped", "it trapped", "it trapped", "it was late"] {
        assert_eq!(failed(why).await, 0);
    }
    let (all, last) = reader.hot_decisions(db.acme, None, i64::MAX, 500).await.unwrap().value;
    assert_eq!(named(&all), [("-", "none", "plugin"), ("-", "none", "plugin")]);
    assert_eq!(
        (&*all[0].code, &*all[0].reason, &*all[1].reason),
        ("plugin_failed", "it was late", "it trapped")
    );
    assert_eq!(all[0].plugin, plugin());
    let last = last.unwrap();
    assert_eq!((last.failure.as_deref(), last.failures, last.plugin), (Some("it was late"), 4, plugin()));
    // It works again.
    let run = of(&reader, db.acme, vec![decided("b", "promote")]).await;
    let run = HotRun { rule: "plugin", plugin: plugin(), ..run };
    assert_eq!(reader.hot_run(db.acme, &run).await.unwrap(), 1);
    let (all, last) = reader.hot_decisions(db.acme, Some("b"), i64::MAX, 500).await.unwrap().value;
    assert_eq!((named(&all), &all[0].plugin), (vec![("b", "promote", "plugin")], &plugin()));
    let last = last.unwrap();
    assert_eq!((last.failure, last.failures, last.changes), (None, 0, 1));
}

async fn retention(server: Arc<Server>) {
    let db = server.database().await;
    attributes(&db).await;
    let fill = format!(
        "insert into hot_decisions (tenant_id, change, code, reason, rule, decided_by, statistics)
         select t, 'none', '', 'n' || n, 'hand', '', '{{}}' from generate_series(1, 1200) n, unnest(array[{0}, {1}]) t;
         insert into hot_changes (tenant_id, attribute_id, change, requested_by, finished_at)
         select {0}, 1, 'demote', 'x', now() from generate_series(1, 1200);",
        db.acme, db.other
    );
    db.sql.batch_execute(&fill).await.unwrap();
    let reader = reader(&db);
    let run = of(&reader, db.acme, vec![decided("b", "promote")]).await;
    assert_eq!(reader.hot_run(db.acme, &run).await.unwrap(), 1);
    let count =
        |table: &str, tenant: TenantId| format!("select count(*) from {table} where tenant_id = {tenant}");
    assert_eq!(db.one(&count("hot_decisions", db.acme)).await, "1000");
    assert_eq!(db.one(&count("hot_decisions", db.other)).await, "1200");
    assert_eq!(db.one(&count("hot_changes", db.acme)).await, "1000");
    assert_eq!(named(&kept(&reader, db.acme).await[..1]), [("b", "promote", "default")]);
    // What is under way is kept, however old.
    assert_eq!(db.one("select count(*) from hot_changes where finished_at is null").await, "1");
}

async fn progress(server: Arc<Server>) {
    let db = server.database().await;
    attributes(&db).await;
    let admin = db.admin().await;
    let health = admin.health_check().await.unwrap();
    assert_eq!(health["hot_changes"]["under_way"], json!([]));
    admin.hot_decide(db.acme, "b", ByHand::Promote, ("me", "")).await.unwrap();
    let health = admin.health_check().await.unwrap();
    let (told, one) = (&health["hot_changes"], &health["hot_changes"]["under_way"][0]);
    assert_eq!((&told["waiting"], &told["running"]), (&json!(1), &json!(0)));
    assert_eq!(
        (&one["tenant"], &one["attribute"], &one["seconds_left"]),
        (&json!("acme"), &json!("b"), &Json::Null)
    );

    let mut w = db.writer("t").await;
    for n in 0..3 {
        w.entity(&format!("more{n}")).await;
    }
    let flusher = db.flusher().await;
    flusher.hot_step(1, Some(Duration::ZERO)).await.unwrap().unwrap();
    // It has gone on for a while: one of four.
    db.sql.batch_execute("update hot_changes set started_at = now() - interval '10 s'").await.unwrap();
    let health = admin.health_check().await.unwrap();
    let one = &health["hot_changes"]["under_way"][0];
    assert_eq!((&one["entities"], &one["of_entities"]), (&json!(1), &json!(4)));
    let left = one["seconds_left"].as_f64().unwrap();
    assert!((29.0..=40.0).contains(&left), "{left}");
    let change = reader(&db).hot_changes_of(db.acme, Some("b")).await.unwrap().value.remove(0);
    let left = change.seconds_left(eaves_model::Timestamp::now()).unwrap();
    assert!((29.0..=40.0).contains(&left), "{left}");
    while flusher.hot_step(1, Some(Duration::ZERO)).await.unwrap().is_some() {}
    let health = admin.health_check().await.unwrap();
    assert_eq!(health["hot_changes"]["running"], json!(0));
}

async fn at_once(server: Arc<Server>) {
    let db = server.database().await;
    attributes(&db).await;
    let readers: Vec<Reader> = (0..4).map(|_| reader(&db)).collect();
    let run = of(&readers[0], db.acme, vec![decided("a", "demote"), decided("b", "promote")]).await;
    let runs = readers.iter().map(|r| r.hot_run(db.acme, &run));
    let changed: u32 = futures_util::future::join_all(runs).await.into_iter().map(|r| r.unwrap()).sum();
    assert_eq!(changed, 2);
    assert_eq!(kept(&readers[0], db.acme).await.len(), 2);
    assert_eq!(db.one("select count(*) from hot_changes").await, "2");
}
