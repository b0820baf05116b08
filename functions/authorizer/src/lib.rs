//! The authorizer Lambda: who may come in, for issuers that sign with ES256 or EdDSA.
//!
//! API Gateway's JWT authorizer takes RSA keys alone. This one stands in its place (payload format 2.0,
//! simple responses): it verifies with the code of the local front, and answers the claims that the
//! functions behind it read. It has no credentials but those to write its log.

use eaves_auth::{Authorized, Refused, Remote};
use eaves_model::caller::CLAIMS;
use eaves_telemetry::metrics::{self, Unit, emit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What API Gateway sends, as far as it is looked at.
///
/// The token is taken from the identity source and not from the headers: were verdicts remembered, it
/// would be what they are remembered by.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    version: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    identity_source: Option<Vec<String>>,
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Whether the request is let in.
    pub is_authorized: bool,
    /// Claims of the token: what API Gateway hands on in `requestContext.authorizer.lambda`. All are
    /// strings, as its own authorizer hands them on.
    pub context: BTreeMap<&'static str, String>,
}

/// Why there is no verdict: the invocation fails, and the client's answer is a 500.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizerError {
    /// Not what API Gateway sends to an authorizer that is set up as the template does it.
    #[error("the event is none of an HTTP API's authorizer in payload format 2.0: {0}")]
    Event(String),
    /// The issuer's keys cannot be had, so nothing can be said about the token.
    #[error(transparent)]
    Issuer(Refused),
}

impl Verdict {
    fn good(authorized: &Authorized) -> Self {
        let claim = |name: &'static str| Some((name, authorized.claims.get(name)?.clone()));
        Self { is_authorized: true, context: CLAIMS.into_iter().filter_map(claim).collect() }
    }

    fn bad() -> Self {
        Self { is_authorized: false, context: BTreeMap::new() }
    }
}

/// Answers one event.
pub async fn handle(issuer: &Remote, event: Value) -> Result<Verdict, AuthorizerError> {
    let event: Event = serde_json::from_value(event).map_err(|e| AuthorizerError::Event(e.to_string()))?;
    if event.version != "2.0" || event.kind != "REQUEST" {
        return Err(AuthorizerError::Event(format!("version {:?}, type {:?}", event.version, event.kind)));
    }
    let header = match event.identity_source.as_deref() {
        Some([header]) => Some(header.as_str()),
        None | Some([]) => None,
        Some(more) => return Err(AuthorizerError::Event(format!("{} identity sources", more.len()))),
    };
    let checked = issuer.check(header).await;
    let failures = issuer.take_failures();
    if failures > 0 {
        emit("authorizer", &[(metrics::ISSUER_FAILURES, Unit::Count, failures as f64)]);
    }
    match checked {
        Ok(authorized) => Ok(Verdict::good(&authorized)),
        Err(Refused::Denied(why)) => {
            tracing::info!(reason = %why, "refused");
            Ok(Verdict::bad())
        }
        Err(away) => Err(AuthorizerError::Issuer(away)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eaves_auth::Source;
    use proptest::prelude::*;
    use serde_json::json;
    use std::time::Duration;

    /// Of an issuer that is not there: the port was somebody's a moment ago.
    fn away() -> Remote {
        let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/jwks.json", taken.local_addr().unwrap());
        let second = Duration::from_secs(1);
        let source = Source { url, timeout: second, ttl: second, pause: second * 60, stale: second * 60 };
        Remote::new(source, "https://issuer.example", "eaves").unwrap()
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn verdicts_are_as_api_gateway_reads_them() {
        let claims = [
            ("tenant", "acme"),
            ("tenant_id", "7"),
            ("scope", "query:read"),
            ("exp", "1800000000"),
            ("iss", "https://issuer.example"),
            ("email", "a@example.com"),
        ];
        let claims = claims.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let verdict = serde_json::to_value(Verdict::good(&Authorized { claims })).unwrap();
        let context = json!({"tenant": "acme", "tenant_id": "7", "scope": "query:read", "exp": "1800000000"});
        assert_eq!(verdict, json!({"isAuthorized": true, "context": context}));
        let refused = serde_json::to_value(Verdict::bad()).unwrap();
        assert_eq!(refused, json!({"isAuthorized": false, "context": {}}));
    }

    #[test]
    fn without_a_token_it_is_refused_and_without_keys_there_is_no_verdict() {
        let event = |source: Value| json!({"version": "2.0", "type": "REQUEST", "identitySource": source});
        let issuer = away();
        for none in [json!(null), json!([]), json!([""]), json!(["Basic dXNlcjpwYXNz"])] {
            assert_eq!(run(handle(&issuer, event(none.clone()))).unwrap(), Verdict::bad(), "{none}");
        }
        let lost = run(handle(&issuer, event(json!(["Bearer a.b.c"])))).unwrap_err();
        assert!(matches!(lost, AuthorizerError::Issuer(Refused::Away)), "{lost}");
    }

    #[test]
    fn other_events_are_none_of_its_business() {
        let issuer = away();
        let good = json!({"version": "2.0", "type": "REQUEST", "identitySource": ["Bearer a.b.c"]});
        let with = |name: &str, value: Value| {
            let mut event = good.clone();
            event[name] = value;
            event
        };
        for event in [
            json!(null),
            json!({}),
            json!([]),
            json!({"Records": []}),
            with("version", json!("1.0")),
            with("version", json!(2.0)),
            with("type", json!("TOKEN")),
            with("identitySource", json!("Bearer a.b.c")),
            with("identitySource", json!(["Bearer a.b.c", "Bearer d.e.f"])),
            with("identitySource", json!([{"token": "a.b.c"}])),
        ] {
            let error = run(handle(&issuer, event.clone())).unwrap_err();
            assert!(matches!(error, AuthorizerError::Event(_)), "{event}: {error}");
        }
    }

    proptest! {
        /// Whatever the event says: without the issuer's keys nobody is let in, and nothing panics.
        #[test]
        fn no_event_lets_anybody_in_without_keys(
            version in prop_oneof![Just("2.0".to_owned()), ".{0,4}"],
            kind in prop_oneof![Just("REQUEST".to_owned()), ".{0,8}"],
            source in prop::option::of(prop::collection::vec(".{0,60}", 0..3)),
            extra in prop::collection::hash_map("[a-zA-Z]{1,12}", ".{0,20}", 0..4),
        ) {
            let mut event = json!(extra);
            event["version"] = json!(version);
            event["type"] = json!(kind);
            event["identitySource"] = json!(source);
            if let Ok(verdict) = run(handle(&away(), event)) {
                prop_assert!(!verdict.is_authorized && verdict.context.is_empty());
            }
        }
    }
}
