//! The search filter's parser under random input.

use eaves_fn_query::testing::Filter;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Something like a filter, right and wrong in all places.
fn filter() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let value =
        prop_oneof![4 => scalar.clone(), 1 => prop::collection::vec(scalar, 0..4).prop_map(Value::from)];
    let key = prop_oneof!["(eq|gt|gte|lt|lte|in|exists|attribute|and|or|not|at_least)", ".{0,6}"];
    let leaf = prop_oneof![
        3 => ("[a-z]{1,5}", "(eq|gt|gte|lt|lte|in|exists)", value.clone())
            .prop_map(|(name, op, value)| json!({"attribute": name, op: value})),
        1 => prop::collection::btree_map(key.clone(), value, 0..4).prop_map(|m| json!(m)),
    ];
    leaf.prop_recursive(10, 64, 4, move |inner| {
        let key = key.clone();
        prop_oneof![
            ("(and|or)", prop::collection::vec(inner.clone(), 0..4))
                .prop_map(|(op, parts)| json!({op: parts})),
            inner.clone().prop_map(|part| json!({"not": part})),
            (0..5_usize, prop::collection::vec(inner.clone(), 0..4))
                .prop_map(|(k, parts)| json!({"at_least": {"k": k, "of": parts}})),
            (key, inner).prop_map(|(key, part)| json!({key: part})),
        ]
    })
}

fn check(text: &str) -> Result<(), TestCaseError> {
    match Filter::parse(text) {
        // What was written again means the same, and is taken again as it is.
        Ok(parsed) => {
            let again = Filter::parse(parsed.json());
            prop_assert_eq!(again.as_ref().map(Filter::json), Ok(parsed.json()));
            let value = serde_json::from_str::<Value>(parsed.json());
            prop_assert!(value.is_ok_and(|v| v.is_object()));
            prop_assert!(!parsed.json().contains("\\u0000"));
        }
        Err(bad) => {
            prop_assert!(bad.field.starts_with("filter"), "{}", bad.field);
            prop_assert!(!bad.message.is_empty() && bad.message.len() < 600, "{}", bad.message);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_parsed_or_refused_with_its_place(text in ".*") {
        check(&text)?;
    }

    #[test]
    fn any_filter_is_parsed_or_refused_with_its_place(filter in filter()) {
        check(&filter.to_string())?;
    }

    #[test]
    fn a_cut_or_changed_filter_is_refused_with_its_place(filter in filter(), at: prop::sample::Index, c: char) {
        let text = filter.to_string();
        let mut cut = at.index(text.len() + 1);
        while !text.is_char_boundary(cut) { cut -= 1; }
        check(&text[..cut])?;
        check(&format!("{}{c}{}", &text[..cut], &text[cut..]))?;
    }
}
