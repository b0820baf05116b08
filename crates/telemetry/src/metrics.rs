//! Metric names, and the writer for CloudWatch's Embedded Metric Format
//! (docs: "Specification: Embedded metric format", AWS CloudWatch user guide).

use serde_json::{Value, json};
use std::io::Write as _;
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
/// Time of one ingest batch, milliseconds.
pub const INGEST_MS: &str = "ingest_ms";
/// Plugin calls that trapped or ran out of a limit, count.
pub const PLUGIN_FAILURES: &str = "plugin_failures";
/// Cache writes that failed, count.
pub const CACHE_FAILURES: &str = "cache_failures";
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

/// A metric's unit, as CloudWatch names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A count.
    Count,
    /// Milliseconds.
    Milliseconds,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

/// One EMF line: `values` under [`NAMESPACE`] with the given function as dimension.
pub fn emf_line(function: &str, values: &[(&'static str, Unit, f64)]) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let metrics: Vec<Value> =
        values.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit.name()})).collect();
    let mut line = json!({
        "_aws": {
            "Timestamp": since.as_millis() as u64,
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE, "Dimensions": [["function"]], "Metrics": metrics,
            }],
        },
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
        let metric = &line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0];
        assert_eq!(metric, &json!({"Name": "ingest_ms", "Unit": "Milliseconds"}));
    }
}
