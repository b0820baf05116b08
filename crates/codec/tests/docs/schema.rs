//! As much of JSON Schema 2020-12 as the wire format's schema uses. A keyword that is not
//! known here fails the test rather than passing by.

use regex::Regex;
use serde_json::Value;

pub(crate) struct Schema(Value);

impl Schema {
    pub(crate) fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).unwrap())
    }

    pub(crate) fn takes(&self, json: &Value) -> bool {
        self.check(&self.0, json)
    }

    fn check(&self, schema: &Value, json: &Value) -> bool {
        let Some(keywords) = schema.as_object() else { return schema.as_bool().unwrap() };
        keywords.iter().all(|(keyword, wanted)| self.keyword(schema, keyword, wanted, json))
    }

    fn keyword(&self, schema: &Value, keyword: &str, wanted: &Value, json: &Value) -> bool {
        let limit = || usize::try_from(wanted.as_u64().unwrap()).unwrap();
        match keyword {
            // `format` is an annotation by default; here a pattern stands beside it.
            "$schema" | "$id" | "$defs" | "title" | "description" | "format" => true,
            "$ref" => {
                let name = wanted.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                self.check(&self.0["$defs"][name], json)
            }
            "type" => match wanted.as_str().unwrap() {
                "object" => json.is_object(),
                "array" => json.is_array(),
                "string" => json.is_string(),
                "boolean" => json.is_boolean(),
                "number" => json.is_number(),
                "integer" => json.as_f64().is_some_and(|n| n.fract() == 0.0),
                other => panic!("type {other}"),
            },
            "const" => wanted == json,
            "oneOf" => wanted.as_array().unwrap().iter().filter(|s| self.check(s, json)).count() == 1,
            "minimum" => json.as_f64().is_none_or(|n| n >= wanted.as_f64().unwrap()),
            "maximum" => json.as_f64().is_none_or(|n| n <= wanted.as_f64().unwrap()),
            "minLength" => json.as_str().is_none_or(|s| s.chars().count() >= limit()),
            "maxLength" => json.as_str().is_none_or(|s| s.chars().count() <= limit()),
            "pattern" => {
                json.as_str().is_none_or(|s| Regex::new(wanted.as_str().unwrap()).unwrap().is_match(s))
            }
            "minItems" => json.as_array().is_none_or(|a| a.len() >= limit()),
            "maxItems" => json.as_array().is_none_or(|a| a.len() <= limit()),
            "items" => json.as_array().is_none_or(|a| a.iter().all(|item| self.check(wanted, item))),
            _ => json.as_object().is_none_or(|o| match keyword {
                "minProperties" => o.len() >= limit(),
                "maxProperties" => o.len() <= limit(),
                "required" => wanted.as_array().unwrap().iter().all(|k| o.contains_key(k.as_str().unwrap())),
                "propertyNames" => o.keys().all(|k| self.check(wanted, &Value::from(k.as_str()))),
                "properties" => o.iter().all(|(k, v)| wanted.get(k).is_none_or(|s| self.check(s, v))),
                "additionalProperties" => {
                    let named = |k: &str| schema.get("properties").is_some_and(|p| p.get(k).is_some());
                    o.iter().all(|(k, v)| named(k) || self.check(wanted, v))
                }
                other => panic!("keyword {other}"),
            }),
        }
    }
}
