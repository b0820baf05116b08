//! What a tenant's queries may cost.

use crate::world::{Answer, World, ago, claims, send};
use axum::http::Method;
use eaves_model::tenant::Tenant;
use eaves_model::{Timestamp, Value};
use eaves_store::admin::GuardChange;
use serde_json::{Value as Json, json};

const DAY: i64 = 86_400;

async fn guards(world: &World, tenant: &Tenant, change: GuardChange) {
    world.admin().await.tenant_guards_set(&tenant.name, change).await.unwrap().unwrap();
}

pub(crate) async fn windows_are_the_tenants_own(world: &World) {
    let (tenant, usual) = (world.tenant(1).await, world.tenant(1).await);
    let change = GuardChange { longest_window_days: Some(3), default_window_days: Some(2), ..<_>::default() };
    guards(world, &tenant, change).await;
    let old = ago(3 * DAY);
    for tenant in [&tenant, &usual] {
        let values = [("hot", Value::Float(1.0)), ("cold", Value::Float(2.0))];
        world.take(tenant.id, "p", ago(5), &values).await;
        world.take(tenant.id, "p", old, &values).await;
    }
    let told = world.get(&tenant, "/v1/tenant?consistency=strong").await.ok();
    let days = |answer: &Json| {
        (answer["tenant"]["default_window_days"].clone(), answer["tenant"]["longest_window_days"].clone())
    };
    assert_eq!(days(&told.body), (json!(2), json!(3)));

    // The default decides what is seen, the longest what may be asked.
    let history = "/v1/entities/p/history/cold?consistency=strong";
    let points = async |tenant: &Tenant, path: &str| {
        world.get(tenant, path).await.ok().body["points"].as_array().unwrap().len()
    };
    assert_eq!((points(&tenant, history).await, points(&usual, history).await), (1, 2));
    let (four, from) =
        (ago(4 * DAY), |path: &str, days| format!("{path}from={}&to={}", ago(days * DAY), ago(0)));
    for path in [
        from("/v1/entities/p/history/cold?", 4),
        from("/v1/entities/p/history?attributes=cold&", 4),
        from("/v1/entities/p/history?attributes=cold&bucket=1h&", 4),
        from("/v1/attributes/cold/distribution?", 4),
    ] {
        world.get(&tenant, &path).await.problem(400, Some("from"), "at most 3 are answered");
        world.get(&usual, &path).await.ok();
    }
    world.get(&tenant, &from("/v1/entities/p/history/cold?", 3)).await.ok();
    let body = json!({"attributes": ["cold"], "from": four, "to": ago(0)});
    world.ask(&tenant, "/v1/aggregates", &body).await.problem(400, Some("from"), "at most 3");
    world.ask(&usual, "/v1/aggregates", &body).await.ok();
    let body = json!({"filter": {"attribute": "cold", "gt": 1}, "cold_within": "4d"});
    world.ask(&tenant, "/v1/entities/search", &body).await.problem(400, Some("cold_within"), "at most 3");
    world.ask(&usual, "/v1/entities/search", &body).await.ok();
    let list = "/v1/entities?fields=cold&cold_within=4d";
    world.get(&tenant, list).await.problem(400, Some("cold_within"), "at most 3");

    // The tenant chooses its default within what the operator allows.
    let set = async |days: Json| {
        let claims = Some(claims(&tenant, "settings:write"));
        let body = json!({"default_window_days": days}).to_string();
        world.send(Method::PATCH, "/v1/tenant", claims, &[], &body).await
    };
    assert_eq!(days(&set(json!(3)).await.ok().body), (json!(3), json!(3)));
    assert_eq!(points(&tenant, history).await, 1, "three days and a moment ago");
    let further = format!("{history}&from={old}&to={}", old.plus_micros(3 * DAY * 1_000_000));
    assert_eq!(points(&tenant, &further).await, 2);
    for days in [0, 4, 400] {
        set(json!(days)).await.problem(400, Some("default_window_days"), "from 1 to 3");
    }
    set(json!("3")).await.problem(400, Some("body"), "cannot be read");
    let longest = json!({"longest_window_days": 100}).to_string();
    let own = Some(claims(&tenant, "settings:write"));
    world.send(Method::PATCH, "/v1/tenant", own, &[], &longest).await.problem(
        400,
        Some("body"),
        "unknown field",
    );
}

/// 40,000 values of one entity and 2,000 entities in the hot projection.
async fn filled(world: &World, tenant: &Tenant) {
    let values = [("hot", Value::Float(1.0)), ("cold", Value::Float(2.0))];
    world.take(tenant.id, "p", ago(5), &values).await;
    world.until(tenant, "/v1/entities/p/history/cold", |a| a.body["points"][0].is_object()).await;
    world
        .execute(&format!(
            "insert into entities (tenant_id, external_id, entity_type) select {0}, 'e' || i, 'pump' from generate_series(1, 2000) i;
             insert into entity_jsonb (tenant_id, entity_id, oldest_at, observed_at, hot_attrs, hot_times)
               select tenant_id, entity_id, to_timestamp(0), to_timestamp(0),
                      jsonb_build_object('hot', entity_id % 100), jsonb_build_object('hot', 0)
               from entities where tenant_id = {0} and external_id <> 'p';
             insert into entity_values_ts (tenant_id, entity_id, attribute_id, observed_at, ingested_at, value_float)
               select h.tenant_id, h.entity_id, h.attribute_id, h.observed_at - i * interval '15 s', h.ingested_at, i
               from entity_values_ts h join attributes a using (tenant_id, attribute_id), generate_series(1, 40000) i
               where h.tenant_id = {0} and a.attribute_name = 'cold';
             analyze entity_values_ts; analyze entity_jsonb; analyze entities;",
            tenant.id
        ))
        .await;
}

/// It was read for analytics, and says why.
#[track_caller]
fn moved(answer: Answer) -> Answer {
    let answer = answer.ok();
    let freshness = &answer.body["metadata"]["freshness"];
    assert_eq!(freshness["consistency"], "analytics", "{freshness}");
    let reason = freshness["route_reason"].as_str().unwrap();
    assert!(reason.starts_with("redirected to analytics because of its cost"), "{reason}");
    answer
}

pub(crate) async fn what_would_cost_too_much_is_refused_before_it_is_run(world: &World) {
    let (tenant, small) = (world.tenant(1).await, world.tenant(1).await);
    filled(world, &tenant).await;
    let values = [("hot", Value::Float(1.0)), ("cold", Value::Float(2.0))];
    world.take(small.id, "p", ago(5), &values).await;
    let strict = world.instance(&[("EAVES_QUERY_COST_LIMIT", "900")]);
    let open = world.instance(&[("EAVES_QUERY_COST_LIMIT", "0")]);
    let day = format!("from={}&to={}", ago(6 * DAY), ago(0));
    let hour = format!("from={}&to={}", ago(3600), ago(0));
    let read = |tenant: &Tenant| Some(claims(tenant, "query:read"));
    let get = async |instance: &axum::Router, tenant: &Tenant, path: &str| {
        send(instance, Method::GET, path, read(tenant), &[], "").await
    };
    let post = async |instance: &axum::Router, tenant: &Tenant, path: &str, body: &Json| {
        send(instance, Method::POST, path, read(tenant), &[], body.to_string()).await
    };
    let distribution = format!("/v1/attributes/cold/distribution?{day}");
    let refused = get(&strict, &tenant, &distribution).await;
    refused.problem(400, Some("from"), "take a shorter window");
    assert_eq!(refused.body["type"], "/docs#too-expensive");
    let estimate = &refused.body["estimate"];
    assert!(estimate["rows"].as_f64().unwrap() > 10_000.0, "{estimate}");
    assert!(estimate["cost"].as_f64().unwrap() > 900.0 && estimate["limit"] == 900.0, "{estimate}");
    get(&open, &tenant, &distribution).await.ok();
    get(&strict, &tenant, &format!("/v1/attributes/cold/distribution?{hour}")).await.ok();
    let aggregates = json!({"attributes": ["cold"], "from": ago(6 * DAY), "to": ago(0)});
    post(&strict, &tenant, "/v1/aggregates", &aggregates).await.problem(
        400,
        Some("from"),
        "a type of entity",
    );
    post(&open, &tenant, "/v1/aggregates", &aggregates).await.ok();
    // Analytics may spend more, where the caller lets the question be moved there.
    moved(get(&strict, &tenant, &format!("{distribution}&on_expensive=analytics")).await);
    moved(post(&strict, &tenant, "/v1/aggregates?on_expensive=analytics", &aggregates).await);
    let path = "/v1/aggregates?on_expensive=ignore";
    post(&strict, &tenant, path, &aggregates).await.problem(400, Some("on_expensive"), "neither");
    // The same question about little.
    post(&strict, &small, "/v1/aggregates", &aggregates).await.ok();

    let buckets = |window: &str| format!("/v1/entities/p/history?attributes=cold&bucket=1h&{window}");
    get(&strict, &tenant, &buckets(&day)).await.problem(400, Some("from"), "shorter window");
    get(&strict, &tenant, &buckets(&hour)).await.ok();
    let moving = format!("{}&on_expensive=analytics", buckets(&day));
    let cheap = get(&open, &tenant, &moving).await.ok();
    assert_eq!(
        cheap.body["metadata"]["freshness"]["consistency"], "eventual",
        "it costs too much for nobody"
    );
    let found = moved(get(&strict, &tenant, &moving).await);
    assert_eq!(found.body["series"], cheap.body["series"]);
    // A strong read is moved nowhere, and nothing is said of what it cannot have.
    let strong = get(&strict, &tenant, &format!("{moving}&consistency=strong")).await;
    strong.problem(400, Some("from"), "shorter window");
    assert!(!strong.text.contains("on_expensive"), "{}", strong.text);
    let path = format!("/v1/entities/p/history?attributes=cold&{day}&on_expensive=analytics");
    get(&strict, &tenant, &path).await.problem(400, Some("on_expensive"), "goes with bucket");
    // A page of a history is bounded by its limit.
    get(&strict, &tenant, &format!("/v1/entities/p/history/cold?{day}&limit=10")).await.ok();

    let search = "/v1/entities/search";
    let cold = json!({"filter": {"attribute": "cold", "gt": 1}});
    let refused = post(&strict, &tenant, search, &cold).await;
    refused.problem(400, Some("filter"), "an equality of a hot attribute");
    let estimate = &refused.body["estimate"];
    assert!(estimate["rows"].as_f64().unwrap() >= 1000.0, "{}", refused.text);
    // Moved to analytics it may cost ten times as much, and not more.
    let cost = estimate["cost"].as_f64().unwrap();
    let limited = |limit: f64| world.instance(&[("EAVES_QUERY_COST_LIMIT", &format!("{limit:.0}"))]);
    let moving = "/v1/entities/search?on_expensive=analytics";
    let found = moved(post(&limited(cost / 5.0), &tenant, moving, &cold).await);
    assert_eq!(found.body["entities"][0]["external_id"], "p");
    let again =
        post(&limited(cost / 5.0), &tenant, "/v1/entities/search?consistency=analytics", &cold).await.ok();
    assert_eq!(again.body["entities"], found.body["entities"]);
    for asked in [moving, "/v1/entities/search?consistency=analytics"] {
        let refused = post(&limited(cost / 20.0), &tenant, asked, &cold).await;
        refused.problem(400, Some("filter"), "an equality of a hot attribute");
        assert!(!refused.text.contains("on_expensive"), "{}", refused.text);
    }
    let narrowed =
        json!({"filter": {"and": [{"attribute": "cold", "gt": 1}, {"attribute": "hot", "eq": 1}]}});
    let found = post(&open, &tenant, search, &narrowed).await.ok();
    assert_eq!(found.body["entities"][0]["external_id"], "p");
    let roomy = world.instance(&[("EAVES_QUERY_COST_LIMIT", "1500")]);
    post(&roomy, &tenant, search, &cold).await.problem(400, Some("filter"), "hot attribute");
    post(&roomy, &tenant, search, &narrowed).await.ok();
    post(&strict, &tenant, search, &json!({"filter": {"attribute": "hot", "eq": 7}})).await.ok();
    post(&roomy, &tenant, search, &json!({"filter": {"attribute": "hot", "gt": 90}})).await.ok();
    // What is wrong with a filter is told first.
    let wrong = json!({"filter": {"attribute": "nix", "gt": 1}});
    post(&strict, &tenant, search, &wrong).await.problem(400, Some("filter.attribute"), "nix");
}

pub(crate) async fn a_noisy_tenant_is_held_back_and_the_others_are_not(world: &World) {
    let (calm, own) = (world.tenant(1).await, world.tenant(1).await);
    guards(world, &own, GuardChange { expensive: Some(Some(5)), reads: Some(Some(0)), ..<_>::default() })
        .await;
    let few = [("EAVES_RATE_EXPENSIVE", "3"), ("EAVES_RATE_READS", "600")];
    // Two instances share what there is.
    let (one, two) = (world.instance(&few), world.instance(&few));
    let search = async |instance: &axum::Router, tenant: &Tenant| {
        let claims = Some(claims(tenant, "query:read"));
        send(instance, Method::POST, "/v1/entities/search", claims, &[], "{}").await
    };
    // Where Redis answers late, on a busy machine, each instance counts for itself for a while.
    let (mut noisy, mut answers) = (world.tenant(1).await, Vec::new());
    for _ in 0..10 {
        for _ in 0..4 {
            answers.push(search(&one, &noisy).await);
            answers.push(search(&two, &noisy).await);
        }
        let taken = answers.iter().filter(|a| a.status == 200).count();
        assert!((3..=6).contains(&taken), "{:?}", answers.iter().map(|a| a.status).collect::<Vec<_>>());
        if taken == 3 {
            break;
        }
        (noisy, answers) = (world.tenant(1).await, Vec::new());
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(answers.iter().filter(|a| a.status == 200).count(), 3, "the instances never shared a bucket");
    let first = &answers[0];
    assert_eq!(first.header("ratelimit-policy"), "\"expensive\";q=3;w=60");
    assert!(first.header("ratelimit").starts_with("\"expensive\";r=2;t="), "{}", first.header("ratelimit"));
    let refused = answers.last().unwrap();
    refused.problem(429, None, "3 searches and figures a minute");
    assert_eq!(refused.body["type"], "/docs#rate-limited");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert!(
        refused.header("ratelimit").starts_with("\"expensive\";r=0;t="),
        "{}",
        refused.header("ratelimit")
    );
    // What is cheap goes on, and everybody else does.
    let read = async |tenant: &Tenant| {
        send(&one, Method::GET, "/v1/tenant", Some(claims(tenant, "query:read")), &[], "").await
    };
    let cheap = read(&noisy).await.ok();
    assert_eq!(cheap.header("ratelimit-policy"), "\"reads\";q=600;w=60");
    for _ in 0..3 {
        search(&two, &calm).await.ok();
    }
    // The operator's own rates for a tenant go before the settings.
    for n in 0..6 {
        assert_eq!(search(&one, &own).await.status == 200, n < 5, "{n}");
    }
    assert_eq!(read(&own).await.ok().header("ratelimit-policy"), "", "no limit");
    // Nobody is counted who has no token.
    let nobody = send(&one, Method::GET, "/v1/tenant", None, &[], "").await;
    nobody.problem(401, None, "token");
    assert_eq!(nobody.header("ratelimit"), "");
}

pub(crate) async fn values_sent_are_counted(world: &World) {
    let (tenant, other) = (world.tenant(1).await, world.tenant(1).await);
    let instance = world.instance(&[("EAVES_RATE_VALUES", "10")]);
    let post = async |tenant: &Tenant, readings: usize| {
        let reading = json!({"entity": "p", "observed_at": ago(1), "values": {"a": 1, "b": 2}});
        let claims = Some(claims(tenant, "telemetry:write"));
        let body = Json::from(vec![reading; readings]).to_string();
        let headers = [("content-type", "application/json")];
        send(&instance, Method::POST, "/v1/telemetry", claims, &headers, body).await
    };
    let first = post(&tenant, 2).await;
    assert_eq!((first.status.as_u16(), first.header("ratelimit-policy")), (202, "\"values\";q=10;w=60"));
    assert!(first.header("ratelimit").starts_with("\"values\";r=6;"), "{}", first.header("ratelimit"));
    // A large body is taken as long as anything is left, and paid for afterwards.
    assert_eq!(post(&tenant, 10).await.status, 202);
    post(&tenant, 1).await.problem(429, None, "10 values a minute");
    assert_eq!(post(&other, 1).await.status, 202);
}

/// The day's number, and the seconds until it ends.
fn today() -> (i64, i64) {
    let now = Timestamp::now().as_micros();
    (now / (DAY * 1_000_000), DAY - now / 1_000_000 % DAY)
}

/// Answers of two instances in turn to a tenant with a quota of three searches, all of one day, of instances
/// that shared a count: where Redis answers late, on a busy machine, each counts for itself for a while.
async fn six_searches(world: &World, (one, two): (&axum::Router, &axum::Router)) -> (Tenant, Vec<Answer>) {
    for _ in 0..10 {
        let tenant = world.tenant(1).await;
        guards(world, &tenant, GuardChange { expensive_per_day: Some(Some(3)), ..<_>::default() }).await;
        let ((day, _), mut answers) = (today(), Vec::new());
        for instance in [one, two].into_iter().cycle().take(6) {
            let claims = Some(claims(&tenant, "query:read"));
            answers.push(send(instance, Method::POST, "/v1/entities/search", claims, &[], "{}").await);
        }
        let taken = answers.iter().filter(|a| a.status == 200).count();
        assert!(today().0 != day || (3..=6).contains(&taken), "{taken} were taken");
        if taken == 3 && today().0 == day {
            return (tenant, answers);
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    panic!("the instances never shared a count");
}

pub(crate) async fn a_quota_of_the_day_holds_for_its_tenant_and_kind(world: &World) {
    let (one, two) = (world.instance(&[]), world.instance(&[]));
    let (tenant, answers) = six_searches(world, (&one, &two)).await;
    let policy = "\"expensive\";q=60000;w=60, \"expensive-day\";q=3;w=86400";
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status.as_u16(), if n < 3 { 200 } else { 429 }, "{n}: {}", answer.text);
        assert_eq!(answer.header("ratelimit-policy"), policy);
        let left = format!(", \"expensive-day\";r={};t=", 2_usize.saturating_sub(n));
        assert!(answer.header("ratelimit").contains(&left), "{n}: {}", answer.header("ratelimit"));
    }
    let refused = answers.last().unwrap();
    refused.problem(429, None, "3 searches and figures a day");
    assert_eq!(refused.body["type"], "/docs#quota-exceeded");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("\"expensive-day\" starts again at 20") && detail.ends_with("T00:00:00Z"),
        "{detail}"
    );
    let (wait, left) = (refused.header("retry-after").parse::<i64>().unwrap(), today().1);
    assert!((left..left + 60).contains(&wait), "{wait} s, where the day has {left}");
    let reset = refused.header("ratelimit").rsplit_once("t=").unwrap().1.to_owned();
    assert_eq!(reset, refused.header("retry-after"));

    // What is cheap goes on, and so does everybody else.
    let read = async |instance: &axum::Router, tenant: &Tenant| {
        send(instance, Method::GET, "/v1/tenant", Some(claims(tenant, "query:read")), &[], "").await
    };
    let search = async |instance: &axum::Router, tenant: &Tenant| {
        let claims = Some(claims(tenant, "query:read"));
        send(instance, Method::POST, "/v1/entities/search", claims, &[], "{}").await
    };
    assert_eq!(read(&one, &tenant).await.ok().header("ratelimit-policy"), "\"reads\";q=600000;w=60");
    let calm = world.tenant(1).await;
    for _ in 0..5 {
        let answer = search(&one, &calm).await.ok();
        assert_eq!(answer.header("ratelimit-policy"), "\"expensive\";q=60000;w=60", "no quota");
    }
    // The platform's quota is for those who have none of their own; an operator may give a larger one, or none.
    let (own, free) = (world.tenant(1).await, world.tenant(1).await);
    guards(world, &own, GuardChange { reads_per_day: Some(Some(4)), ..<_>::default() }).await;
    guards(world, &free, GuardChange { reads_per_day: Some(Some(0)), ..<_>::default() }).await;
    let few = world.instance(&[("EAVES_QUOTA_READS", "2"), ("EAVES_RATE_READS", "0")]);
    let (day, _) = today();
    let mut statuses = Vec::new();
    for tenant in [&calm, &own, &free] {
        for _ in 0..6 {
            let answer = read(&few, tenant).await;
            statuses.push(answer.status.as_u16());
            let quota = answer.header("ratelimit-policy");
            assert_eq!(quota.is_empty(), tenant.id == free.id, "{quota}");
        }
    }
    let expected: Vec<u16> =
        [2, 4, 6].into_iter().flat_map(|had| (0..6).map(move |n| if n < had { 200 } else { 429 })).collect();
    assert!(statuses == expected || today().0 != day, "{statuses:?}");
}

pub(crate) async fn values_sent_are_counted_in_the_days_quota(world: &World) {
    let (tenant, other) = (world.tenant(1).await, world.tenant(1).await);
    guards(world, &tenant, GuardChange { values_per_day: Some(Some(10)), ..<_>::default() }).await;
    let instance = world.instance(&[]);
    let post = async |tenant: &Tenant, readings: usize| {
        let reading = json!({"entity": "p", "observed_at": ago(1), "values": {"a": 1, "b": 2}});
        let claims = Some(claims(tenant, "telemetry:write"));
        let body = Json::from(vec![reading; readings]).to_string();
        let headers = [("content-type", "application/json")];
        send(&instance, Method::POST, "/v1/telemetry", claims, &headers, body).await
    };
    let (day, _) = today();
    let answers =
        [post(&tenant, 2).await, post(&tenant, 10).await, post(&tenant, 1).await, post(&other, 1).await];
    if today().0 != day {
        // The day turned in between: what it brings is seen in crates/cache.
        return;
    }
    let [first, large, refused, other] = answers;
    assert_eq!(first.status, 202, "{}", first.text);
    assert_eq!(first.header("ratelimit-policy"), "\"values\";q=6000000;w=60, \"values-day\";q=10;w=86400");
    assert!(first.header("ratelimit").contains("\"values-day\";r=6;"), "{}", first.header("ratelimit"));
    // A large body is taken as long as anything is left, and there is nothing left then.
    assert_eq!(large.status, 202);
    assert!(large.header("ratelimit").contains("\"values-day\";r=0;"), "{}", large.header("ratelimit"));
    refused.problem(429, None, "10 values a day");
    assert_eq!(refused.body["type"], "/docs#quota-exceeded");
    assert_eq!((other.status.as_u16(), other.header("ratelimit-policy")), (202, "\"values\";q=6000000;w=60"));
}
