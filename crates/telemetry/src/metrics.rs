//! Metric names, and the writer for CloudWatch's Embedded Metric Format
//! (docs: "Specification: Embedded metric format", AWS CloudWatch user guide).

use serde_json::{Value, json};
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// CloudWatch namespace of every metric.
pub const NAMESPACE: &str = "Eaves";
/// Values accepted, count.
pub const VALUES_ACCEPTED: &str = "values_accepted";
/// Values rejected, count.
pub const VALUES_REJECTED: &str = "values_rejected";
/// Records sent to quarantine, count.
pub const RECORDS_QUARANTINED: &str = "records_quarantined";
/// Records skipped because the checkpoint already covers them, count.
pub const RECORDS_DUPLICATE: &str = "records_duplicate";
/// Batches that could not be written just now and were handed back to the stream, count: an alarm.
/// (Such an invocation does not fail, so Lambda's own `Errors` does not count it.)
pub const BATCHES_HANDED_BACK: &str = "batches_handed_back";
/// Time of one ingest batch, milliseconds.
pub const INGEST_MS: &str = "ingest_ms";
/// Plugin calls that trapped or ran out of a limit, count.
pub const PLUGIN_FAILURES: &str = "plugin_failures";
/// Versions in force in an instance that kept failing and are not asked, a gauge: an alarm.
pub const PLUGIN_BREAKERS_OPEN: &str = "plugin_breakers_open";
/// Cache writes that failed, count.
pub const CACHE_FAILURES: &str = "cache_failures";
/// Entities answered from the cache, count.
pub const CACHE_HITS: &str = "cache_hits";
/// Entities that the cache had nothing young enough for, count.
pub const CACHE_MISSES: &str = "cache_misses";
/// Requests that waited for what another one was reading already, count.
pub const CACHE_WAITS: &str = "cache_waits";
/// The greatest age of an entry that the cache answered with, milliseconds.
pub const CACHE_STALENESS_MS: &str = "cache_staleness_ms";
/// The longest time from a miss to the entry being there, milliseconds.
pub const CACHE_FILL_MS: &str = "cache_fill_ms";
/// Requests that were told to come back (503) because an instance, its connections or the primary's
/// share for such reads were in use, count.
pub const REQUESTS_SHED: &str = "requests_shed";
/// Answers that were older than the budget they are measured against (`sla_met: false`), count.
pub const BUDGETS_MISSED: &str = "budgets_missed";
/// Rows moved from staging to history, count.
pub const ROWS_FLUSHED: &str = "rows_flushed";
/// Rows left in staging after a flush, count.
pub const STAGING_BACKLOG: &str = "staging_backlog";
/// Age of the oldest staged row, milliseconds.
pub const FLUSH_LAG_MS: &str = "flush_lag_ms";
/// Times staging was found emptied by a crash or failover, count.
pub const STAGING_LOST: &str = "staging_lost";
/// Records read again from the stream after staging was lost, count.
pub const RECORDS_REPLAYED: &str = "records_replayed";
/// Ranges of the stream found missing that nobody has acknowledged, a gauge: an alarm.
pub const STREAM_LOSSES: &str = "stream_losses";

/// Attributes that were decided to become hot, or to cease to be, count.
pub const HOT_CHANGES: &str = "hot_changes";

/// Rows written to history's files in object storage, copies included, count.
pub const OLAP_ROWS: &str = "olap_rows";
/// Replication slots found lost, each followed by a copy of history, count: an alarm.
pub const OLAP_RESYNCS: &str = "olap_resyncs";
/// How far those files are behind history, milliseconds: an alarm.
pub const OLAP_LAG_MS: &str = "olap_lag_ms";
/// Log that the database keeps for their slot, bytes, a gauge.
pub const OLAP_SLOT_BYTES: &str = "olap_slot_bytes";
/// Fetches of the issuer's public keys that failed, count: an alarm.
pub const ISSUER_FAILURES: &str = "issuer_failures";

/// A metric: what dashboards and alarms may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// The functions that write it: values of the dimension `function`.
    pub functions: &'static [&'static str],
}

/// All metrics. `scripts/dashboards.py` makes the dashboards from this list, and
/// `scripts/check_alarms.py` takes no alarm on anything else.
pub const METRICS: &[Metric] = &[
    Metric { name: VALUES_ACCEPTED, unit: Unit::Count, functions: &["ingest"] },
    Metric { name: VALUES_REJECTED, unit: Unit::Count, functions: &["ingest"] },
    Metric { name: RECORDS_QUARANTINED, unit: Unit::Count, functions: &["ingest"] },
    Metric { name: RECORDS_DUPLICATE, unit: Unit::Count, functions: &["ingest"] },
    Metric { name: BATCHES_HANDED_BACK, unit: Unit::Count, functions: &["ingest"] },
    Metric { name: INGEST_MS, unit: Unit::Milliseconds, functions: &["ingest"] },
    Metric { name: PLUGIN_FAILURES, unit: Unit::Count, functions: &["ingest", "hot-projection"] },
    Metric { name: PLUGIN_BREAKERS_OPEN, unit: Unit::Count, functions: &["ingest"] },
    Metric { name: CACHE_FAILURES, unit: Unit::Count, functions: &["ingest"] },
    Metric { name: CACHE_HITS, unit: Unit::Count, functions: &["query"] },
    Metric { name: CACHE_MISSES, unit: Unit::Count, functions: &["query"] },
    Metric { name: CACHE_WAITS, unit: Unit::Count, functions: &["query"] },
    Metric { name: CACHE_STALENESS_MS, unit: Unit::Milliseconds, functions: &["query"] },
    Metric { name: CACHE_FILL_MS, unit: Unit::Milliseconds, functions: &["query"] },
    Metric { name: REQUESTS_SHED, unit: Unit::Count, functions: &["query"] },
    Metric { name: BUDGETS_MISSED, unit: Unit::Count, functions: &["query"] },
    Metric { name: ROWS_FLUSHED, unit: Unit::Count, functions: &["flush"] },
    Metric { name: STAGING_BACKLOG, unit: Unit::Count, functions: &["flush"] },
    Metric { name: FLUSH_LAG_MS, unit: Unit::Milliseconds, functions: &["flush"] },
    Metric { name: STAGING_LOST, unit: Unit::Count, functions: &["ingest"] },
    Metric { name: RECORDS_REPLAYED, unit: Unit::Count, functions: &["ingest", "flush"] },
    Metric { name: STREAM_LOSSES, unit: Unit::Count, functions: &["flush"] },
    Metric { name: HOT_CHANGES, unit: Unit::Count, functions: &["hot-projection"] },
    Metric { name: OLAP_ROWS, unit: Unit::Count, functions: &["olap-load"] },
    Metric { name: OLAP_RESYNCS, unit: Unit::Count, functions: &["olap-load"] },
    Metric { name: OLAP_LAG_MS, unit: Unit::Milliseconds, functions: &["olap-load"] },
    Metric { name: OLAP_SLOT_BYTES, unit: Unit::Bytes, functions: &["olap-load"] },
    Metric { name: ISSUER_FAILURES, unit: Unit::Count, functions: &["authorizer"] },
];

/// A metric's unit, as CloudWatch names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A count.
    Count,
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
            Self::Bytes => "Bytes",
        }
    }
}

/// Name of the environment: metrics of several may meet in one account.
fn environment() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        std::env::var("EAVES_ENVIRONMENT").ok().filter(|v| !v.is_empty()).unwrap_or_else(|| "local".into())
    })
}

/// One EMF line: `values` under [`NAMESPACE`] with environment and function as dimensions.
pub fn emf_line(function: &str, values: &[(&'static str, Unit, f64)]) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let metrics: Vec<Value> =
        values.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit.name()})).collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": since.as_millis() as u64,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE, "Dimensions": [["environment", "function"]], "Metrics": metrics,
            }],
        },
        "environment": environment(),
        "function": function,
    });
    for (name, _, value) in values {
        line[*name] = json!(value);
    }
    line.to_string()
}

/// Writes one EMF line to standard output, where Lambda collects it.
pub fn emit(function: &str, values: &[(&'static str, Unit, f64)]) {
    let line = emf_line(function, values);
    // A closed standard output must not stop ingest.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_carries_value_unit_and_dimension() {
        let line: Value =
            serde_json::from_str(&emf_line("ingest", &[(INGEST_MS, Unit::Milliseconds, 4.5)])).unwrap();
        assert_eq!(line["ingest_ms"], 4.5);
        assert_eq!(line["function"], "ingest");
        assert_eq!(line["environment"], "local");
        let metric = &line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0];
        assert_eq!(metric, &json!({"Name": "ingest_ms", "Unit": "Milliseconds"}));
    }

    #[test]
    fn the_list_has_each_metric_once() {
        let names: std::collections::BTreeSet<_> = METRICS.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), METRICS.len());
        // A constant that is not listed would be on no dashboard.
        let source = include_str!("metrics.rs");
        let constants = source.matches("\npub const ").count();
        assert_eq!(constants, METRICS.len() + 2, "besides NAMESPACE and METRICS every constant is a metric");
    }
}
