//! What API Gateway's authorizer has verified of a caller.
//!
//! The JWT authorizer hands on all claims of a token, as strings, in
//! `requestContext.authorizer.jwt.claims`; the Lambda authorizer (`functions/authorizer`) the ones of
//! [`CLAIMS`], as strings, in `requestContext.authorizer.lambda`. There API Gateway hands on whatever JSON an
//! authorizer answers, so what is no string there is not what Eaves' own has answered.

use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// The claims that decide something, and those that are noted.
pub const CLAIMS: [&str; 7] = ["tenant", "tenant_id", "operator", "scope", "scp", "sub", "exp"];

/// The claims of a verified token, from the one block that there is: `jwt` is that of the JWT
/// authorizer, `lambda` that of a Lambda authorizer (empty: none), `other` says that there is one of
/// a third kind. `None` where there is no verified token: no block, or more than one, or one that is not as the
/// authorizer makes it.
///
/// The Lambda authorizer's verdict may be one that API Gateway remembers, so `exp` is looked at again.
pub fn verified<'a>(
    jwt: Option<&'a HashMap<String, String>>,
    lambda: &HashMap<String, Value>,
    other: bool,
    now: SystemTime,
) -> Option<Cow<'a, HashMap<String, String>>> {
    match (jwt, lambda.is_empty(), other) {
        (Some(claims), true, false) => Some(Cow::Borrowed(claims)),
        (None, false, false) => handed_on(lambda, now).map(Cow::Owned),
        _ => None,
    }
}

fn handed_on(context: &HashMap<String, Value>, now: SystemTime) -> Option<HashMap<String, String>> {
    let mut claims = HashMap::new();
    for name in CLAIMS {
        match context.get(name) {
            None => {}
            Some(Value::String(text)) => drop(claims.insert(name.to_owned(), text.clone())),
            Some(_) => return None,
        }
    }
    let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    let until: f64 = claims.get("exp")?.parse().ok()?;
    (until.is_finite() && now < until).then_some(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::time::Duration;

    const NOW: u64 = 1_800_000_000;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn context(value: &Value) -> HashMap<String, Value> {
        value.as_object().unwrap().clone().into_iter().collect()
    }

    fn of_lambda(value: &Value) -> Option<HashMap<String, String>> {
        verified(None, &context(value), false, now()).map(Cow::into_owned)
    }

    #[test]
    fn one_block_is_taken_and_never_two() {
        let jwt = HashMap::from([("tenant".to_owned(), "acme".to_owned())]);
        let lambda = context(&json!({"tenant": "globex", "exp": (NOW + 60).to_string()}));
        let none = HashMap::new();
        assert_eq!(verified(Some(&jwt), &none, false, now()).unwrap()["tenant"], "acme");
        assert_eq!(verified(None, &lambda, false, now()).unwrap()["tenant"], "globex");
        assert_eq!(verified(None, &none, false, now()), None);
        assert_eq!(verified(Some(&jwt), &lambda, false, now()), None);
        assert_eq!(verified(Some(&jwt), &none, true, now()), None);
        assert_eq!(verified(None, &lambda, true, now()), None);
        assert_eq!(verified(None, &none, true, now()), None);
    }

    #[test]
    fn a_verdict_is_good_no_longer_than_the_token() {
        for (exp, good) in [
            (json!((NOW + 1).to_string()), true),
            (json!(format!("{}.5", NOW)), true),
            (json!(NOW.to_string()), false),
            (json!((NOW - 1).to_string()), false),
            (json!(NOW + 60), false),
            (json!("inf"), false),
            (json!("NaN"), false),
            (json!(""), false),
            (json!("never"), false),
            (json!(null), false),
        ] {
            let context = json!({"tenant": "acme", "exp": exp});
            assert_eq!(of_lambda(&context).is_some(), good, "{exp}");
        }
        assert_eq!(of_lambda(&json!({"tenant": "acme"})), None);
    }

    #[test]
    fn what_the_authorizer_does_not_say_is_not_handed_on() {
        let exp = (NOW + 60).to_string();
        let context =
            json!({"tenant": "acme", "exp": exp, "claims": {"tenant": "globex"}, "Tenant": "globex"});
        let claims = of_lambda(&context).unwrap();
        assert_eq!(claims, HashMap::from([("tenant".into(), "acme".into()), ("exp".into(), exp)]));
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z]{0,8}".prop_map(Value::from),
            (NOW - 5..NOW + 100).prop_map(|exp| Value::from(exp.to_string())),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[a-z]{1,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![prop::sample::select(CLAIMS.as_slice()).prop_map(str::to_owned), "[a-z]{1,6}"]
    }

    proptest! {
        /// Whatever is in the blocks: a tenant is the string of the one block's own claim, or there is none.
        #[test]
        fn no_shape_chooses_a_tenant(
            jwt in prop::option::of(prop::collection::hash_map(name(), "[a-z]{0,8}", 0..6)),
            lambda in prop::collection::hash_map(name(), json_value(), 0..8),
            other in any::<bool>(),
        ) {
            if let Some(claims) = verified(jwt.as_ref(), &lambda, other, now()) {
                prop_assert!(!other);
                match &jwt {
                    Some(jwt) => {
                        prop_assert!(lambda.is_empty());
                        prop_assert_eq!(claims.as_ref(), jwt);
                    }
                    None => {
                        for name in CLAIMS {
                            let handed_on = claims.get(name).cloned().map(Value::from);
                            prop_assert_eq!(lambda.get(name), handed_on.as_ref());
                        }
                        prop_assert!(claims.keys().all(|name| CLAIMS.contains(&name.as_str())));
                        prop_assert!(claims["exp"].parse::<f64>().unwrap() > NOW as f64);
                    }
                }
            }
        }
    }
}
