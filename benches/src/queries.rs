//! What a client asks over HTTP, of a million entities and twenty million values: through the front, the
//! Runtime API and the real query function, beside plain SQL as superuser.

use crate::million::{ATTRIBUTES, Million, Part};
use crate::processor::Used;
use crate::results::{Figure, percentile};
use crate::rig::Rig;
use anyhow::{Context as _, Result, ensure};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

pub(crate) const NAMES: &[&str] = &[
    "query_entity_p95_ms",
    "query_filter_1200_p95_ms",
    "query_cold_1h_p95_ms",
    "query_aggregate_24h_p95_ms",
    "query_mixed_100_p95_ms",
    "query_aggregate_million_ms",
    "query_entity_reads_per_s",
    "query_calm_beside_noisy_p95_ms",
];

/// Each window, each filter and each entity once: figures of what is in memory.
const WARM_UP: usize = 50;
const HOUR_US: i64 = 3_600_000_000;
/// Entities that are asked for.
const ENTITIES: i64 = 2_000;
/// Clients that ask at once, and how long.
const CLIENTS: usize = 8;
const ASKING: Duration = Duration::from_secs(8);
/// How long they ask before, unmeasured: an answer may be 5 s old.
const WARMING: Duration = Duration::from_secs(6);
/// A calm tenant's dashboard asks so often.
const CALM: Duration = Duration::from_millis(40);
/// Reads a minute that the noisy tenant has.
const NOISY: &str = "reads=12000";

/// One figure: requests, what their answers must have, and the same as SQL.
struct Asked<'a> {
    name: &'static str,
    note: String,
    n: usize,
    warm_up: usize,
    request: &'a dyn Fn(usize) -> RequestBuilder,
    right: &'a dyn Fn(&Value) -> bool,
    sql: &'a dyn Fn(usize) -> String,
}

pub(crate) async fn measure(
    rig: &Rig,
    million: &Million,
    wanted: &impl Fn(&[&str]) -> bool,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let fleet = million.fleet();
    let token = rig.token(&fleet.name).await?;
    let plain = rig.admin().await?;
    let url = rig.http_url().to_owned();
    let get = |path: String| http.get(format!("{url}{path}")).bearer_auth(&token);
    let post = |path: &str, body: Value| {
        let text = body.to_string();
        http.post(format!("{url}{path}"))
            .bearer_auth(&token)
            .header("content-type", "application/json")
            .body(text)
    };
    let until = million.until_us;
    let time = |us: i64| jiff::Timestamp::from_microsecond(us).unwrap_or_default().to_string();
    let tenant = fleet.tenant;
    let entity = |n: usize| fleet.first_entity + (n as i64 % ENTITIES * 7_919) % fleet.entities;
    let site = |n: usize| format!("site-{}", n % 50);
    let online = |n: usize| json!({"and": [{"attribute": "site", "eq": site(n)}, {"attribute": "status", "eq": "online"}]});
    // Another hour, or day, each time.
    let window =
        |n: usize, hours: i64| (until - (n as i64 % 40 + hours) * HOUR_US, until - n as i64 % 40 * HOUR_US);
    let aggregate = |n: usize, hours: i64| {
        let (from, to) = window(n, hours);
        post("/v1/aggregates", json!({"attributes": ["temperature"], "from": time(from), "to": time(to)}))
    };
    let temperature = fleet.attributes[0];
    let aggregate_sql = move |(from, to): (i64, i64)| {
        format!(
            "select count(*), avg(value_float), min(value_float), max(value_float),
               percentile_disc(array[0.5, 0.95, 0.99]) within group (order by value_float)
             from entity_values_ts where tenant_id = {tenant} and attribute_id = {temperature}
               and observed_at >= to_timestamp({from} / 1e6) and observed_at < to_timestamp({to} / 1e6)"
        )
    };
    let filter_sql = |n: usize| {
        format!(
            r#"select h.entity_id, h.hot_attrs from entity_jsonb h where h.tenant_id = {tenant}
               and h.hot_attrs @> '{{"site": "{}", "status": "online"}}'
             order by h.entity_id limit 101"#,
            site(n)
        )
    };
    let battery = fleet.attributes[10];
    let mixed_sql = |n: usize| {
        format!(
            "select f.*, l.value_float from ({}) f left join lateral (
               select v.value_float from entity_values_ts v where v.tenant_id = {tenant} and v.entity_id = f.entity_id
                 and v.attribute_id = {battery} and v.observed_at >= to_timestamp({until} / 1e6) - interval '30 days'
               order by v.observed_at desc limit 1) l on true",
            filter_sql(n)
        )
    };
    let million_hours = 300;
    let all = [
        Asked {
            name: NAMES[0],
            note: format!("GET /v1/entities, {ENTITIES} in turn"),
            n: 4_000,
            warm_up: ENTITIES as usize,
            request: &|n| get(format!("/v1/entities/{}", fleet.external_id(entity(n)))),
            right: &|a| a["entity"]["attributes"]["temperature"].is_object(),
            sql: &|n| {
                format!(
                    "select e.*, h.* from entities e join entity_jsonb h using (tenant_id, entity_id)
                     where e.tenant_id = {tenant} and e.external_id = '{}'",
                    fleet.external_id(entity(n))
                )
            },
        },
        Asked {
            name: NAMES[1],
            note: "POST /v1/entities/search, two attributes, about 1,200 match, a page of 100".into(),
            n: 200,
            warm_up: WARM_UP,
            request: &|n| post("/v1/entities/search", json!({"filter": online(n)})),
            right: &|a| a["entities"].as_array().is_some_and(|e| !e.is_empty()),
            sql: &filter_sql,
        },
        Asked {
            name: NAMES[2],
            note: "POST /v1/aggregates of an attribute of all of the fleet, 1 h (3,333 values)".into(),
            n: 200,
            warm_up: WARM_UP,
            request: &|n| aggregate(n, 1),
            right: &|a| a["groups"][0]["figures"]["count"].as_i64().is_some_and(|n| n > 0),
            sql: &|n| aggregate_sql(window(n, 1)),
        },
        Asked {
            name: NAMES[3],
            note: "the same over 24 h (80,000 values)".into(),
            n: 60,
            warm_up: WARM_UP,
            request: &|n| aggregate(n, 24),
            right: &|a| a["groups"][0]["figures"]["count"].as_i64().is_some_and(|n| n > 0),
            sql: &|n| aggregate_sql(window(n, 24)),
        },
        Asked {
            name: NAMES[4],
            note: "the hot filter, and of 100 the latest value of an attribute that is not hot".into(),
            n: 200,
            warm_up: WARM_UP,
            request: &|n| {
                let fields = json!(["status", "temperature", "battery"]);
                post(
                    "/v1/entities/search",
                    json!({"filter": online(n), "fields": fields, "cold_within": "30d"}),
                )
            },
            right: &|a| a["entities"].as_array().is_some_and(|e| !e.is_empty()),
            sql: &mixed_sql,
        },
        Asked {
            name: NAMES[5],
            note: "count, avg, min, max and three percentiles of an attribute over 300 h, median".into(),
            n: 10,
            warm_up: 10,
            request: &|n| aggregate(n, million_hours),
            right: &|a| a["groups"][0]["figures"]["count"].as_i64().is_some_and(|n| n > 0),
            sql: &|n| aggregate_sql(window(n, million_hours)),
        },
    ];
    for asked in all.iter().filter(|a| wanted(&[a.name])) {
        figures.push(ask(asked, &plain, million).await?);
    }
    if wanted(&[NAMES[6]]) {
        figures.push(reads(&http, &url, &token, fleet, million).await?);
    }
    if wanted(&[NAMES[7]]) {
        figures.push(calm(rig, &http, &token, million).await?);
    }
    Ok(())
}

async fn ask(asked: &Asked<'_>, plain: &Client, million: &Million) -> Result<Figure> {
    let (mut took, mut bare) = (Vec::new(), Vec::new());
    for n in 0..asked.warm_up + asked.n {
        let request = (asked.request)(n);
        let began = Instant::now();
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        let ms = began.elapsed().as_secs_f64() * 1e3;
        let value: Value = serde_json::from_slice(&body)?;
        let told = || String::from_utf8_lossy(&body).chars().take(600).collect::<String>();
        ensure!(status.is_success() && (asked.right)(&value), "{}: {status} {}", asked.name, told());
        let sql = (asked.sql)(n);
        let began = Instant::now();
        plain.simple_query(&sql).await?;
        let plain_ms = began.elapsed().as_secs_f64() * 1e3;
        if n >= asked.warm_up {
            took.push(ms);
            bare.push(plain_ms);
        }
    }
    let (median, plain_median) = (percentile(&mut took, 50.0), percentile(&mut bare, 50.0));
    let p = if asked.name.contains("_p95_") { 95.0 } else { 50.0 };
    let (value, baseline) = (percentile(&mut took, p), percentile(&mut bare, p));
    let note = format!(
        "{}; one client; median {median:.2} ms, plain SQL {plain_median:.2} ms; {}; baseline: plain SQL on the primary without row-level security, the same percentile",
        asked.note,
        million.size()
    );
    Ok(Figure::new(asked.name, value, "ms", baseline, took.len() as u64, note))
}

/// Single entities, as many as come, by several clients at once.
async fn reads(
    http: &reqwest::Client,
    url: &str,
    token: &str,
    fleet: &Part,
    million: &Million,
) -> Result<Figure> {
    let client = async |client: usize, lasting: Duration| {
        let (mut done, mut took) = (0_u64, Vec::new());
        let end = Instant::now() + lasting;
        while Instant::now() < end {
            let n = done as i64 * CLIENTS as i64 + client as i64;
            let entity = fleet.first_entity + (n % ENTITIES * 7_919) % fleet.entities;
            let began = Instant::now();
            let answer = http.get(format!("{url}/v1/entities/{}", fleet.external_id(entity)));
            let answer = answer.bearer_auth(token).send().await?;
            let status = answer.status();
            let body = answer.bytes().await?;
            ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
            took.push(began.elapsed().as_secs_f64() * 1e3);
            done += 1;
        }
        anyhow::Ok(took)
    };
    let all = |lasting| futures_util::future::try_join_all((0..CLIENTS).map(|n| client(n, lasting)));
    // Until each instance knows the entities by name, and what it holds grows old at its pace.
    all(WARMING).await?;
    let (before, began) = (Used::so_far()?, Instant::now());
    let mut took = all(ASKING).await?.concat();
    let per_s = took.len() as f64 / began.elapsed().as_secs_f64();
    let used = Used::so_far()?;
    let us = |names: &[&str]| used.since(&before, names) * 1e6 / took.len() as f64;
    let own = [us(&["eaves-query"]), us(&["postgres"]), us(&["redis-server"])];
    let cores = std::thread::available_parallelism()?.get();
    let note = format!(
        "{CLIENTS} clients on the same {cores} cores, {} attributes an entity; p95 {:.2} ms; processor time a read: function {:.0}, \
         PostgreSQL {:.0}, Redis {:.0} µs, so that {cores} cores without client and what stands for API Gateway and Lambda have {:.0}/s; {}; \
         baseline: the target",
        ATTRIBUTES.len() - 2,
        percentile(&mut took, 95.0),
        own[0],
        own[1],
        own[2],
        cores as f64 * 1e6 / own.iter().sum::<f64>(),
        million.size()
    );
    Ok(Figure::new(NAMES[6], per_s, "1/s", 3_000.0, took.len() as u64, note))
}

/// What a tenant that asks now and then sees of one that asks without end and has used up its rate.
async fn calm(rig: &Rig, http: &reqwest::Client, noisy_token: &str, million: &Million) -> Result<Figure> {
    let (noisy, calm) = (million.fleet(), million.parts.last().context("a tenant")?);
    let (url, calm_token) = (rig.http_url(), rig.token(&calm.name).await?);
    let get = async |part: &Part, token: &str, n: i64| {
        let entity = part.first_entity + (n % ENTITIES * 7_919) % part.entities;
        let request = http.get(format!("{url}/v1/entities/{}", part.external_id(entity)));
        let answer = request.bearer_auth(token).send().await?;
        let status = answer.status();
        answer.bytes().await?;
        anyhow::Ok(status)
    };
    let asks = async || {
        let mut took = Vec::new();
        let mut turns = tokio::time::interval(CALM);
        let end = Instant::now() + ASKING;
        for n in 0.. {
            turns.tick().await;
            if Instant::now() > end {
                break;
            }
            let began = Instant::now();
            let status = get(calm, &calm_token, n).await?;
            ensure!(status.is_success(), "the calm tenant was answered {status}");
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        anyhow::Ok(took)
    };
    asks().await?;
    let mut alone = asks().await?;
    rig.eaves(&["tenant", "set", &noisy.name, "--rate-limit", NOISY]).await?;
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let refused = AtomicU64::new(0);
    let noise = (0..CLIENTS as i64).map(|client| {
        let (get, stop, answered, refused) = (&get, &stop, &answered, &refused);
        async move {
            for n in 0.. {
                if stop.load(Relaxed) {
                    break;
                }
                match get(noisy, noisy_token, n * CLIENTS as i64 + client).await? {
                    StatusCode::TOO_MANY_REQUESTS => refused.fetch_add(1, Relaxed),
                    status => {
                        ensure!(status.is_success(), "the noisy tenant was answered {status}");
                        answered.fetch_add(1, Relaxed)
                    }
                };
            }
            anyhow::Ok(())
        }
    });
    let beside = async {
        // Until its rate is used up.
        let end = Instant::now() + Duration::from_secs(60);
        while refused.load(Relaxed) == 0 {
            ensure!(Instant::now() < end, "{CLIENTS} clients have not used up {NOISY} a minute in 60 s");
            tokio::time::sleep(CALM).await;
        }
        let before = (answered.load(Relaxed), refused.load(Relaxed));
        let took = asks().await;
        stop.store(true, Relaxed);
        anyhow::Ok((took?, answered.load(Relaxed) - before.0, refused.load(Relaxed) - before.1))
    };
    let done = tokio::try_join!(futures_util::future::try_join_all(noise), beside);
    // What is kept for the next run has no limit.
    rig.eaves(&["tenant", "set", &noisy.name, "--rate-limit", "reads=default"]).await?;
    let (_, (mut took, answered, refused)) = done?;
    let median = percentile(&mut took, 50.0);
    let (value, baseline) = (percentile(&mut took, 95.0), percentile(&mut alone, 95.0));
    let each = |n: u64| n as f64 / ASKING.as_secs_f64();
    let note = format!(
        "GET /v1/entities of one tenant every {} ms, beside {CLIENTS} clients of another that ask without a pause \
         ({NOISY} a minute: {:.0}/s answered, {:.0}/s refused); median {median:.2} ms; {}; baseline: the same alone",
        CALM.as_millis(),
        each(answered),
        each(refused),
        million.size()
    );
    Ok(Figure::new(NAMES[7], value, "ms", baseline, took.len() as u64, note))
}
