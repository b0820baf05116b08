use super::*;
use proptest::prelude::*;

const FILE: &str = r#"
settings: {highest: 90}
attributes:
  temperature: {type: float, unit: degC}
cases:
  - name: hot
    previous:
      - values: {temperature: 20}
    readings:
      - type: pump
        values: {temperature: 95, status: online, price: {type: decimal, value: "12.30"}}
        expect: {temperature: {reject: too_hot}, price: {replace: "1.30"}, status: accept}
        derive: {near: true}
      - observed_at: 2026-01-01T00:00:01Z
        values: {temperature: 91}
        expect:
          temperature: {reject: {code: too_hot, text: 91 is over 90}}
  - name: wrong settings
    settings: {highest: high}
    settings_fault: highest
  - name: places
    statistics: {attributes: {temperature: {type: float, hot: true}}, byte_budget: 9}
    decide: {temperature: {demote: hardly_read}}
"#;

#[test]
fn a_file_becomes_batches_and_expectations() {
    let mut cases = parse(FILE, false).unwrap();
    assert_eq!(cases[1].settings_fault.as_deref(), Some("highest"));
    let case = cases.remove(0);
    assert_eq!(case.settings, r#"{"highest":90}"#);
    let price = Value::Decimal("1.30".parse().unwrap());
    let reject = |text: Option<&str>| Expected::Reject("too_hot".into(), text.map(Into::into));
    let mut expected = case.expected.clone();
    expected.sort_by_key(|e| format!("{e:?}"));
    assert_eq!(
        expected,
        [Expected::Accept, reject(None), reject(Some("91 is over 90")), Expected::Replace(price)]
    );
    assert_eq!(case.derived[0].1, [("near".into(), Value::Boolean(true))]);
    let batch = case.into_batch(&["temperature".into()]);
    let temperature = batch.attributes.iter().find(|a| &*a.name == "temperature").unwrap();
    assert_eq!((temperature.value_type, &*temperature.unit), (ValueType::Float, "degC"));
    assert_eq!((batch.rows.len(), &*batch.entities[0].entity_type), (4, "pump"));
    // Only of the first row, and as the attribute's type.
    let [previous] = batch.previous.as_slice() else { panic!("{:?}", batch.previous) };
    assert_eq!(previous.value, Value::Float(20.0));
    assert_eq!(batch.rows[previous.row as usize].observed_at.seconds_since(previous.observed_at), 60.0);
    assert_eq!(batch.rows[3].observed_at.seconds_since(batch.rows[0].observed_at), 1.0);
}

#[test]
fn a_file_that_is_wrong_says_where() {
    for (from, to, says) in [
        ("name: hot", "nam: hot", "nam"),
        ("{reject: too_hot}", "{refuse: too_hot}", "refuse"),
        ("expect: {temperature", "expect: {temperatur", "expect.temperatur"),
        ("temperature: 95", "temperature: warm", "values.temperature"),
        ("replace: \"1.30\"", "replace: dear", "expect.price.replace"),
        ("type: float", "type: number", "number"),
        ("settings_fault: highest", "entity: e", "entity"),
    ] {
        let text = FILE.replacen(from, to, 1);
        assert_ne!(text, FILE);
        let why = format!("{:#}", parse(&text, false).unwrap_err());
        assert!(why.contains(says), "{to}: {why}");
    }
    assert!(parse("cases: []", false).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever stands in a file, reading it ends with cases or with a reason.
    #[test]
    fn nothing_in_a_file_is_a_crash(text in ".{0,200}", at in 0..FILE.len(), cut in 0..40_usize) {
        let _ = parse(&text, true);
        let _ = parse(&text, false);
        let broken: String = FILE.chars().take(at).chain(text.chars()).chain(FILE.chars().skip(at + cut)).collect();
        let _ = parse(&broken, false);
    }

    /// Values come through as the platform would take them.
    #[test]
    fn values_are_those_that_were_written(number in any::<i64>(), text in "[a-z]{1,20}", float in -1e300..1e300_f64) {
        let file = serde_json::json!({"cases": [{"name": "c", "readings": [
            {"values": {"i": number, "s": text, "f": {"type": "float", "value": float}}, "expect": {"i": {"replace": number}}}]}]});
        // JSON is YAML.
        let case = parse(&file.to_string(), false).unwrap().remove(0);
        prop_assert_eq!(&parse(&file.to_string(), true).unwrap()[0].expected, &case.expected);
        prop_assert!(case.expected.contains(&Expected::Replace(Value::Integer(number))));
        let batch = case.into_batch(&[]);
        let of = |name: &str| {
            let at = batch.attributes.iter().position(|a| &*a.name == name).unwrap() as u32;
            batch.rows.iter().find(|r| r.attribute == at).unwrap().value.clone()
        };
        prop_assert_eq!(of("i"), Value::Integer(number));
        prop_assert_eq!(of("s"), Value::String(text.into()));
        prop_assert_eq!(of("f"), Value::Float(float));
    }
}
