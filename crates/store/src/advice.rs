//! What an operator could do about slow queries (`V63__query_advice.sql`), in words.

use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;

pub(crate) const SQL: &str = "select kind, tenant, subject, weight, figures from query_advice($1, $2)";

/// One thing that could be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// `slow_statement`, `no_time_filter`, `promote_attribute`, `unused_index` or `statements_off`.
    pub kind: String,
    /// Whose attribute it is; `None` where it is nobody's.
    pub tenant: Option<String>,
    /// A statement's text, an attribute or an index.
    pub subject: String,
    /// What it costs: milliseconds of queries, or of an index MiB. The greatest comes first of a kind.
    pub weight: f64,
    /// What the advice follows from.
    pub figures: Value,
    /// What to do.
    pub advice: String,
}

pub(crate) fn advice(row: &Row) -> Result<Advice, tokio_postgres::Error> {
    let (kind, tenant, subject): (String, String, String) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let figures: Value = row.try_get(4)?;
    let advice = words(&kind, &tenant, &subject, &figures);
    let tenant = Some(tenant).filter(|t| !t.is_empty());
    Ok(Advice { kind, tenant, subject, weight: row.try_get(3)?, figures, advice })
}

fn words(kind: &str, tenant: &str, subject: &str, figures: &Value) -> String {
    let of = |name: &str| match &figures[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match kind {
        "slow_statement" => format!(
            "takes {} ms on average over {} calls: shorten the window its callers ask for, filter by a hot attribute or a \
             type first, or send it to the replica with consistency=eventual",
            of("mean_ms"),
            of("calls")
        ),
        "no_time_filter" => "reads history without a condition on observed_at, so no partition can be left out: give it a \
                             window"
            .into(),
        "promote_attribute" if of("pin") == "cold" => format!(
            "{} queries filtered by it in 12 to 24 hours, each with look-ups in history, and it is pinned cold: unpin it, \
             or tell its users to filter by something hot as well",
            of("filters")
        ),
        "promote_attribute" => format!(
            "{} queries filtered by it in 12 to 24 hours, each with look-ups in history ({} ms on average): `eaves hot \
             promote {subject} --tenant {tenant}`",
            of("filters"),
            of("mean_ms")
        ),
        "unused_index" => format!(
            "no query has used it since {}, and each write keeps its {} MiB up to date: drop it in a migration, unless \
             it serves something rare",
            of("counted_since"),
            of("mib")
        ),
        "statements_off" => {
            "pg_stat_statements is not loaded, so nothing is known of statements: put it into shared_preload_libraries \
             and restart"
                .into()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::words;
    use serde_json::json;

    #[test]
    fn each_kind_says_what_to_do() {
        let figures = json!({"filters": 812, "mean_ms": 44.1, "pin": null});
        let text = words("promote_attribute", "acme", "serial", &figures);
        assert!(
            text.contains("812 queries") && text.contains("eaves hot promote serial --tenant acme"),
            "{text}"
        );
        let pinned = words("promote_attribute", "acme", "serial", &json!({"filters": 1, "pin": "cold"}));
        assert!(pinned.contains("unpin"), "{pinned}");
        for kind in ["slow_statement", "no_time_filter", "unused_index", "statements_off"] {
            assert!(!words(kind, "", "x", &json!({})).is_empty(), "{kind}");
        }
    }
}
