//! The search filter: parsed, checked and written again for the database.
//!
//! Scalars are passed on as their digits stood, so that a decimal is compared exactly.
//! Whether attributes exist, are hot and have the value's type is for the database to
//! say; everything else is refused here, with the path of the part that is wrong.

use crate::problem::Problem;
use eaves_model::rejection::excerpt;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// Deepest nesting of and, or, not.
const DEEPEST: usize = 8;
/// Most parts of one `and` or `or`.
const MOST_PARTS: usize = 100;
/// Most values of one `in`.
const MOST_VALUES: usize = 1000;
/// Most comparisons in all.
const MOST_COMPARISONS: usize = 500;
/// Longest filter.
const MOST_BYTES: usize = 64 * 1024;
/// Longest number, in characters, and the farthest from 1, in powers of ten.
const MOST_DIGITS: usize = 64;
const FARTHEST_POWER: f64 = 300.0;

const JOINS: [&str; 4] = ["and", "or", "not", "at_least"];
const COMPARISONS: [&str; 5] = ["eq", "gt", "gte", "lt", "lte"];
/// Comparisons by order.
const ORDERED: [&str; 4] = ["gt", "gte", "lt", "lte"];

/// A filter that the database can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    json: String,
    /// Attributes with the paths of the parts that name them, and whether those ask for a range.
    attributes: Vec<(String, String, bool)>,
    /// How many `not` the part stands under that is looked at.
    negations: usize,
}

/// What is wrong with a filter: the path of the part, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFilter {
    /// The path of the part, such as `filter.and[1].gt`.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl From<BadFilter> for Problem {
    fn from(bad: BadFilter) -> Self {
        Self::bad_filter(&bad.field, bad.message)
    }
}

impl Filter {
    /// Parses a filter's JSON.
    pub fn parse(json: &str) -> Result<Self, BadFilter> {
        if json.len() > MOST_BYTES {
            return Err(bad("filter", format!("is over {MOST_BYTES} bytes")));
        }
        let mut filter =
            Self { json: String::with_capacity(json.len()), attributes: Vec::new(), negations: 0 };
        let root: &RawValue =
            serde_json::from_str(json).map_err(|e| bad("filter", format!("is not JSON: {e}")))?;
        filter.part(root, "filter", 0)?;
        Ok(filter)
    }

    /// The filter as the database takes it.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The attributes that it compares, as often as it does.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|(name, ..)| name.as_str())
    }

    /// The same, each with whether it is compared by order, or asked for being there: what an index of its
    /// ranges would answer.
    pub fn comparisons(&self) -> impl Iterator<Item = (&str, bool)> {
        self.attributes.iter().map(|(name, _, range)| (name.as_str(), *range))
    }

    /// The path of the first part that names the attribute.
    pub fn path_of(&self, attribute: &str) -> &str {
        let found = self.attributes.iter().find(|(name, ..)| name == attribute);
        found.map_or("filter", |(_, path, _)| path)
    }

    fn part(&mut self, part: &RawValue, path: &str, depth: usize) -> Result<(), BadFilter> {
        if depth > DEEPEST {
            return Err(bad(path, format!("is nested deeper than {DEEPEST} levels")));
        }
        let shape = "is not a filter such as {\"attribute\": \"status\", \"eq\": \"online\"}, \
                     {\"and\": […]}, {\"or\": […]}, {\"not\": …} or {\"at_least\": {\"k\": 2, \"of\": […]}}";
        let members =
            Members::of(part).ok_or_else(|| bad(path, format!("{} {shape}", excerpt(part.get()))))?;
        members.refuse_twice(path)?;
        match members.0.as_slice() {
            [(key, list)] if key == "and" || key == "or" => self.list(key, list, path, depth),
            [(key, inner)] if key == "not" => {
                self.json.push_str("{\"not\":");
                self.negations += 1;
                self.part(inner, &format!("{path}.not"), depth + 1)?;
                self.negations -= 1;
                self.json.push('}');
                Ok(())
            }
            [(key, inner)] if key == "at_least" => self.at_least(inner, path, depth),
            parts if parts.iter().any(|(key, _)| key == "attribute") => self.comparison(parts, path),
            parts => match parts.iter().find(|(key, _)| JOINS.contains(&key.as_str())) {
                Some((key, _)) => {
                    Err(bad(path, format!("has other keys beside {key:?}: put them into one \"and\"")))
                }
                None => Err(bad(path, shape.to_owned())),
            },
        }
    }

    fn list(&mut self, key: &str, list: &RawValue, path: &str, depth: usize) -> Result<(), BadFilter> {
        _ = write!(self.json, "{{\"{key}\":");
        self.parts(list, &format!("{path}.{key}"), depth)?;
        self.json.push('}');
        Ok(())
    }

    /// The filters of a list; returns how many there are.
    fn parts(&mut self, list: &RawValue, path: &str, depth: usize) -> Result<usize, BadFilter> {
        let parts: Vec<&RawValue> =
            serde_json::from_str(list.get()).map_err(|_| bad(path, "is not a list of filters".into()))?;
        if parts.is_empty() || parts.len() > MOST_PARTS {
            return Err(bad(path, format!("has {} parts: give 1 to {MOST_PARTS}", parts.len())));
        }
        self.json.push('[');
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                self.json.push(',');
            }
            self.part(part, &format!("{path}[{i}]"), depth + 1)?;
        }
        self.json.push(']');
        Ok(parts.len())
    }

    fn at_least(&mut self, inner: &RawValue, path: &str, depth: usize) -> Result<(), BadFilter> {
        let path = format!("{path}.at_least");
        let members = Members::of(inner).map(|m| m.0).unwrap_or_default();
        let of = |name: &str| members.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        let (Some(k), Some(list), 2) = (of("k"), of("of"), members.len()) else {
            return Err(bad(&path, "is not of the form {\"k\": 2, \"of\": [filter, …]}".into()));
        };
        self.json.push_str("{\"at_least\":{\"of\":");
        let parts = self.parts(list, &format!("{path}.of"), depth)?;
        let number = k.get().parse::<usize>().ok().filter(|k| (1..=parts).contains(k));
        let Some(number) = number else {
            let message = format!("{} is not a number from 1 to {parts}", excerpt(k.get()));
            return Err(bad(&format!("{path}.k"), message));
        };
        _ = write!(self.json, ",\"k\":{number}}}}}");
        Ok(())
    }

    fn comparison(&mut self, parts: &[(String, &RawValue)], path: &str) -> Result<(), BadFilter> {
        let at = |key: &str| {
            let shown: String = key.chars().take(40).collect();
            format!("{path}.{shown}")
        };
        let mut out = String::from("{");
        for (key, value) in parts {
            let path = at(key);
            if out.len() > 1 {
                out.push(',');
            }
            if key == "attribute" {
                let name = text(value, &path)?;
                eaves_model::reading::check_name(&path, &name).map_err(|r| bad(&path, r.message))?;
                _ = write!(out, "\"attribute\":{}", quoted(&name));
                let ordered = |(key, value): &(String, &RawValue)| {
                    ORDERED.contains(&key.as_str()) || (key == "exists" && value.get() == "true")
                };
                let range = self.negations == 0 && parts.iter().any(ordered);
                self.attributes.push((name, path, range));
            } else if COMPARISONS.contains(&key.as_str()) {
                _ = write!(out, "\"{key}\":{}", scalar(value, &path)?);
            } else if key == "exists" {
                let wanted: bool = serde_json::from_str(value.get())
                    .map_err(|_| bad(&path, "is neither true nor false".into()))?;
                _ = write!(out, "\"exists\":{wanted}");
            } else if key == "in" {
                let values: Vec<&RawValue> = serde_json::from_str(value.get())
                    .map_err(|_| bad(&path, "is not a list of values".into()))?;
                if values.is_empty() || values.len() > MOST_VALUES {
                    return Err(bad(&path, format!("has {} values: give 1 to {MOST_VALUES}", values.len())));
                }
                let mut list = Vec::with_capacity(values.len());
                for (i, value) in values.iter().enumerate() {
                    list.push(scalar(value, &format!("{path}[{i}]"))?);
                }
                _ = write!(out, "\"in\":[{}]", list.join(","));
            } else {
                let known = "attribute, eq, gt, gte, lt, lte, in and exists";
                return Err(bad(&path, format!("is no comparison; known are {known}")));
            }
        }
        if parts.len() < 2 {
            return Err(bad(path, "compares with nothing: add eq, gt, gte, lt, lte, in or exists".into()));
        }
        if self.attributes.len() > MOST_COMPARISONS {
            return Err(bad(
                path,
                format!("is the comparison after {MOST_COMPARISONS} others: that is too many"),
            ));
        }
        out.push('}');
        self.json.push_str(&out);
        Ok(())
    }
}

fn bad(field: &str, message: String) -> BadFilter {
    BadFilter { field: field.to_owned(), message }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A string that PostgreSQL can hold.
fn text(value: &RawValue, path: &str) -> Result<String, BadFilter> {
    let text: String = serde_json::from_str(value.get())
        .map_err(|_| bad(path, format!("{} is not a string", excerpt(value.get()))))?;
    if text.contains('\0') {
        return Err(bad(path, "contains the character U+0000".into()));
    }
    Ok(text)
}

/// A string, number or boolean, written again.
fn scalar(value: &RawValue, path: &str) -> Result<String, BadFilter> {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') => Ok(quoted(&text(value, path)?)),
        Some(b't' | b'f') => Ok(raw.to_owned()),
        Some(b'-' | b'0'..=b'9') => {
            let number: f64 = raw.parse().unwrap_or(f64::NAN);
            let power = if number == 0.0 { 0.0 } else { number.abs().log10().abs() };
            // An underflow to zero has digits other than 0 before its exponent.
            let mantissa = raw.split(['e', 'E']).next().unwrap_or(raw);
            let vanished = number == 0.0 && mantissa.bytes().any(|b| (b'1'..=b'9').contains(&b));
            let zero_with_exponent = number == 0.0 && mantissa.len() < raw.len();
            if raw.len() > MOST_DIGITS || !number.is_finite() || vanished || power > FARTHEST_POWER {
                return Err(bad(
                    path,
                    format!("{} is beyond the numbers that can be compared", excerpt(raw)),
                ));
            }
            Ok(if zero_with_exponent { "0".into() } else { raw.to_owned() })
        }
        _ => Err(bad(path, format!("{} is not a string, number or boolean", excerpt(raw)))),
    }
}

/// An object's members in order, keys as often as they stand there.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn of(part: &'a RawValue) -> Option<Self> {
        serde_json::from_str(part.get()).ok()
    }

    fn refuse_twice(&self, path: &str) -> Result<(), BadFilter> {
        for (i, (key, _)) in self.0.iter().enumerate() {
            if self.0[..i].iter().any(|(earlier, _)| earlier == key) {
                return Err(bad(path, format!("has the key {} twice", excerpt(key))));
            }
            // No comparison has so many keys, and the search above is quadratic.
            if i > 16 {
                return Err(bad(path, "has too many keys".into()));
            }
        }
        Ok(())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        d.deserialize_map(Collect).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: Result<&str, (&str, &str)>) {
        match (Filter::parse(json), expect) {
            (Ok(filter), Ok(text)) => assert_eq!(filter.json(), text),
            (Err(bad), Err((field, message))) => {
                assert_eq!(bad.field, field, "{json}: {}", bad.message);
                assert!(bad.message.contains(message), "{json}: {}", bad.message);
            }
            (got, _) => panic!("{json}: {got:?}"),
        }
    }

    #[test]
    fn filters_are_written_again_with_their_digits() {
        check(
            r#" {"attribute" : "status", "eq": "on\u006cine"} "#,
            Ok(r#"{"attribute":"status","eq":"online"}"#),
        );
        check(
            r#"{"attribute":"p","gte":12.300000000000000000001,"lt":1e2}"#,
            Ok(r#"{"attribute":"p","gte":12.300000000000000000001,"lt":1e2}"#),
        );
        check(
            r#"{"and":[{"attribute":"a","in":[1,2]},{"not":{"or":[{"attribute":"b","exists":true}]}}]}"#,
            Ok(r#"{"and":[{"attribute":"a","in":[1,2]},{"not":{"or":[{"attribute":"b","exists":true}]}}]}"#),
        );
        check(
            r#"{"at_least":{"k":1,"of":[{"attribute":"a","eq":1}]}}"#,
            Ok(r#"{"at_least":{"of":[{"attribute":"a","eq":1}],"k":1}}"#),
        );
    }

    #[test]
    fn what_an_index_of_ranges_answers_is_told_apart() {
        let filter = Filter::parse(
            r#"{"and":[{"attribute":"a","eq":1},{"attribute":"b","eq":1,"lt":5},{"attribute":"c","exists":true},
                {"attribute":"d","exists":false},{"attribute":"e","in":[1]},
                {"not":{"and":[{"attribute":"f","gt":1},{"attribute":"g","exists":true}]}},
                {"or":[{"attribute":"h","gte":1},{"attribute":"a","lte":"x"}]}]}"#,
        )
        .unwrap();
        let ranges: String = filter.comparisons().filter(|(_, range)| *range).map(|(name, _)| name).collect();
        assert_eq!(ranges, "bcha");
    }

    #[test]
    fn every_fault_names_its_place() {
        check("[]", Err(("filter", "is not a filter")));
        check("{}", Err(("filter", "is not a filter")));
        check("{", Err(("filter", "is not JSON")));
        check(r#"{"attribute":"a"}"#, Err(("filter", "compares with nothing")));
        check(r#"{"attribute":"","eq":1}"#, Err(("filter.attribute", "is empty")));
        check(r#"{"attribute":7,"eq":1}"#, Err(("filter.attribute", "is not a string")));
        check(r#"{"attribute":"a","like":"b"}"#, Err(("filter.like", "is no comparison")));
        check(r#"{"attribute":"a","eq":null}"#, Err(("filter.eq", "is not a string, number or boolean")));
        check(r#"{"attribute":"a","eq":1,"eq":2}"#, Err(("filter", "twice")));
        check(r#"{"attribute":"a","in":[]}"#, Err(("filter.in", "has 0 values")));
        check(r#"{"attribute":"a","in":[1,[2]]}"#, Err(("filter.in[1]", "is not a string")));
        check(r#"{"attribute":"a","eq":1e999}"#, Err(("filter.eq", "beyond")));
        check(r#"{"attribute":"a","eq":1e-999999}"#, Err(("filter.eq", "beyond")));
        check(r#"{"attribute":"a","eq":"\u0000"}"#, Err(("filter.eq", "U+0000")));
        check(r#"{"and":[]}"#, Err(("filter.and", "has 0 parts")));
        check(r#"{"and":[{"attribute":"a","eq":1},{"or":1}]}"#, Err(("filter.and[1].or", "is not a list")));
        check(r#"{"and":[],"attribute":"a"}"#, Err(("filter.and", "is no comparison")));
        let of = |k: &str| format!(r#"{{"at_least":{{"k":{k},"of":[{{"attribute":"a","eq":1}}]}}}}"#);
        for k in ["0", "2", "1.0", "\"1\"", "-1"] {
            check(&of(k), Err(("filter.at_least.k", "is not a number from 1 to 1")));
        }
        check(r#"{"at_least":[]}"#, Err(("filter.at_least", "is not of the form")));
        check(r#"{"at_least":{"k":1,"of":[1]}}"#, Err(("filter.at_least.of[0]", "is not a filter")));
        check(r#"{"at_least":{"k":1,"k":1}}"#, Err(("filter.at_least", "is not of the form")));
        check(r#"{"and":[],"or":[]}"#, Err(("filter", "other keys")));
        let deep = format!("{}{}{}", r#"{"not":"#.repeat(9), r#"{"attribute":"a","eq":1}"#, "}".repeat(9));
        assert!(Filter::parse(&deep).unwrap_err().message.contains("deeper than 8"));
    }

    #[test]
    fn the_path_of_an_attribute_is_known() {
        let filter = Filter::parse(r#"{"and":[{"attribute":"a","eq":1},{"attribute":"b","eq":1}]}"#).unwrap();
        assert_eq!(filter.path_of("b"), "filter.and[1].attribute");
    }
}
