//! An answer with its freshness, in headers and body.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use eaves_freshness::{Demand, Freshness, Lag, Route, Source};
use eaves_model::{Timestamp, Value, ValueType};
use eaves_store::read::{AttributeRow, EntityRow};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use utoipa::ToSchema;

/// How fresh the answer is, and why. The headers say the same.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FreshnessBody {
    /// 🟢 `REALTIME` (under 1 s), 🟡 `NEAR_REALTIME` (1 to 10 s), 🟠 `DELAYED` (over
    /// 10 s), 🔴 `STALE` (replication paused, or nobody knows).
    #[schema(example = "REALTIME")]
    tier: &'static str,
    /// The answer lacks at most what was committed in the last so many seconds; null if
    /// nobody knows.
    #[schema(example = 0.8)]
    lag_seconds: Option<f64>,
    /// `cache`, `read-replica` or `primary`.
    #[schema(example = "cache")]
    source: &'static str,
    /// The level asked for.
    #[schema(example = "eventual")]
    consistency: &'static str,
    /// Seconds that the lag is measured against.
    #[schema(example = 10.0)]
    sla_target: f64,
    /// Whether the lag is under the target.
    sla_met: bool,
    /// Why the answer was read there.
    #[schema(example = "cache entry is 0.8 s old, under 5 s")]
    route_reason: String,
}

impl From<&Freshness> for FreshnessBody {
    fn from(f: &Freshness) -> Self {
        Self {
            tier: f.tier.name(),
            lag_seconds: f.lag_seconds,
            source: f.source.name(),
            consistency: f.consistency.name(),
            sla_target: f.sla_target,
            sla_met: f.sla_met,
            route_reason: f.route_reason.clone(),
        }
    }
}

/// What an answer says of itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Metadata {
    /// How fresh the answer is.
    pub(crate) freshness: FreshnessBody,
}

/// How an answer was got.
pub(crate) struct Provenance {
    freshness: Freshness,
    replication_lag: Option<Lag>,
}

impl Provenance {
    pub(crate) fn new(demand: Demand, route: Route, lag: Lag, replication_lag: Option<Lag>) -> Self {
        Self { freshness: Freshness::of(demand, route, lag), replication_lag }
    }

    pub(crate) fn metadata(&self) -> Metadata {
        Metadata { freshness: FreshnessBody::from(&self.freshness) }
    }

    /// The body with the headers.
    pub(crate) fn respond(&self, body: &impl Serialize) -> Response {
        let mut response = json(StatusCode::OK, body);
        let f = &self.freshness;
        let seconds = |s: Option<f64>| s.map_or_else(|| "unknown".to_owned(), |s| format!("{s:.3}"));
        let headers = response.headers_mut();
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        set("x-data-source", f.source.name());
        set("x-data-lag-seconds", &seconds(f.lag_seconds));
        set("x-consistency-level", f.consistency.name());
        set("x-freshness-tier", f.tier.name());
        set("x-data-freshness", f.tier.label());
        if let Some(lag) = self.replication_lag {
            set("x-replication-lag", &seconds(lag.seconds()));
        }
        set("x-cache-hit", if f.source == Source::Cache { "true" } else { "false" });
        set("x-sla-met", if f.sla_met { "true" } else { "false" });
        set("x-query-timestamp", &Timestamp::now().to_string());
        // It is the caller who decides how old is good enough, request by request.
        set("cache-control", "no-store");
        response
    }
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(e) => {
            tracing::error!(error = %e, "query.encode_failed");
            crate::problem::Problem::internal().into_response()
        }
    }
}

/// The latest value of an attribute.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttributeValue {
    /// The value, exactly: integers and decimals keep all digits.
    #[schema(value_type = serde_json::Value, example = 72.5)]
    value: Box<RawValue>,
    /// `string`, `integer`, `float`, `decimal`, `boolean` or `timestamp`.
    #[serde(rename = "type")]
    #[schema(example = "float")]
    value_type: &'static str,
    /// Empty if none is set.
    #[schema(example = "")]
    unit: String,
    /// When it was seen.
    #[schema(value_type = String, format = DateTime, example = "2026-03-01T12:00:00.25Z")]
    observed_at: Option<Timestamp>,
}

/// An entity with the latest values of its hot attributes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntityBody {
    /// The tenant's own name for it.
    #[schema(example = "pump-7")]
    external_id: String,
    /// Its type; empty if unknown.
    #[serde(rename = "type")]
    #[schema(example = "pump")]
    entity_type: String,
    /// Grows with every change of its hot attributes; 0 if it has none.
    #[schema(example = 42)]
    version: i64,
    /// The newest `observed_at` of its attributes.
    #[schema(value_type = Option<String>, format = DateTime)]
    observed_at: Option<Timestamp>,
    /// By name.
    attributes: BTreeMap<String, AttributeValue>,
}

/// The attributes an entity's JSON names, to be looked up together.
pub(crate) fn attribute_names(row: &EntityRow) -> Vec<String> {
    let values: HashMap<String, &RawValue> = serde_json::from_str(&row.attrs_json).unwrap_or_default();
    values.into_keys().collect()
}

/// An entity as it is answered, with the wanted attributes or all.
pub(crate) fn entity_body(
    row: EntityRow,
    known: &HashMap<String, AttributeRow>,
    wanted: Option<&[String]>,
) -> Result<EntityBody, serde_json::Error> {
    let values: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&row.attrs_json)?;
    let times: HashMap<String, i64> = serde_json::from_str(&row.times_json)?;
    let mut attributes = BTreeMap::new();
    for (name, value) in values {
        if wanted.is_some_and(|w| !w.contains(&name)) {
            continue;
        }
        let meta = known.get(&name);
        // Being filled, and not complete; or on its way out.
        if meta.is_some_and(|m| !m.is_hot) {
            continue;
        }
        let value_type = meta.map_or_else(|| guess(&value), |m| m.value_type);
        let observed_at = times.get(&name).and_then(|t| Timestamp::from_micros(*t));
        let unit = meta.map(|m| m.unit.clone()).unwrap_or_default();
        attributes.insert(name, AttributeValue { value, value_type: value_type.name(), unit, observed_at });
    }
    let newest = times.values().max().and_then(|t| Timestamp::from_micros(*t));
    Ok(EntityBody {
        external_id: row.external_id,
        entity_type: row.entity_type,
        version: row.version,
        observed_at: newest,
        attributes,
    })
}

/// Where the registered type cannot be had (all databases away, the cache has the value).
fn guess(value: &RawValue) -> ValueType {
    match value.get().as_bytes().first() {
        Some(b'"') => ValueType::String,
        Some(b't' | b'f') => ValueType::Boolean,
        _ if value.get().parse::<i64>().is_ok() => ValueType::Integer,
        _ => ValueType::Float,
    }
}

/// A value as JSON with all its digits.
pub(crate) fn raw(value: &Value) -> Box<RawValue> {
    let mut text = String::new();
    value.write_json(&mut text);
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
