//! Search expressions of the command line: `status=online temperature>70`.

use anyhow::{Result, bail};
use serde_json::{Value, json};

/// Longer ones first, so that `>=` is not read as `>`.
const SIGNS: [(&str, &str); 6] =
    [("!=", "ne"), (">=", "gte"), ("<=", "lte"), (">", "gt"), ("<", "lt"), ("=", "eq")];

/// The filter that an expression, or JSON, stands for.
pub(super) fn filter(text: &str) -> Result<Value> {
    let text = text.trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).map_err(|e| anyhow::anyhow!("the filter is not JSON: {e}"));
    }
    let parts: Vec<Value> = text.split_whitespace().map(comparison).collect::<Result<_>>()?;
    match parts.len() {
        0 => bail!("the filter is empty: write comparisons such as status=online temperature>70"),
        1 => Ok(parts.into_iter().next().unwrap_or_default()),
        _ => Ok(json!({"and": parts})),
    }
}

fn comparison(part: &str) -> Result<Value> {
    let at = part.find(['=', '<', '>', '!']);
    let found = at.and_then(|at| {
        let sign = SIGNS.iter().find(|(sign, _)| part[at..].starts_with(sign))?;
        Some((&part[..at], sign.1, &part[at + sign.0.len()..]))
    });
    let Some((name, operator, text)) = found.filter(|(name, _, text)| !name.is_empty() && !text.is_empty())
    else {
        bail!("{part:?} is no comparison such as status=online, temperature>=70 or status=online,idle");
    };
    let values: Vec<Value> = text.split(',').map(value).collect();
    Ok(match (operator, values.as_slice()) {
        ("eq", [value]) => json!({"attribute": name, "eq": value}),
        ("eq", values) => json!({"attribute": name, "in": values}),
        ("ne", [value]) => json!({"not": {"attribute": name, "eq": value}}),
        ("ne", values) => json!({"not": {"attribute": name, "in": values}}),
        (operator, [value]) => json!({"attribute": name, operator: value}),
        _ => bail!("{part:?}: a list of values goes with = or != only"),
    })
}

/// Numbers and booleans are what they look like; quotes make a string of them.
fn value(text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::String(_))) => value,
        _ => Value::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Value) {
        assert_eq!(filter(text).unwrap(), expect, "{text}");
    }

    #[test]
    fn comparisons_are_joined_by_and() {
        check("status=online", json!({"attribute": "status", "eq": "online"}));
        check(
            "status=online,idle temperature>=70.5 armed=true",
            json!({"and": [
                {"attribute": "status", "in": ["online", "idle"]},
                {"attribute": "temperature", "gte": 70.5},
                {"attribute": "armed", "eq": true},
            ]}),
        );
        check("a!=\"7\"", json!({"not": {"attribute": "a", "eq": "7"}}));
        check(r#"{"attribute":"a","eq":1}"#, json!({"attribute": "a", "eq": 1}));
    }

    #[test]
    fn what_is_no_comparison_is_said_so() {
        for bad in ["", "status", "=x", "a=", "a>1,2", "{"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
