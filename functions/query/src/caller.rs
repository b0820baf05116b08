//! Who asks: the tenant and scopes of a token that API Gateway has verified.

use crate::context::Context;
use crate::problem::Problem;
use crate::window::Windows;
use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;
use eaves_model::caller;
use eaves_model::rejection::excerpt;
use eaves_model::tenant::Tenant;
use eaves_store::read::TenantGuards;
use lambda_http::request::RequestContext;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

/// Lets a caller send readings.
pub(crate) const TELEMETRY_WRITE: &str = "telemetry:write";
/// Lets a caller query.
pub(crate) const QUERY_READ: &str = "query:read";
/// Lets a caller change the tenant's settings and describe its attributes.
pub(crate) const SETTINGS_WRITE: &str = "settings:write";
/// Lets a caller change what decides about the tenant's data: plugins, and what is hot.
pub(crate) const PLUGINS_WRITE: &str = "plugins:write";
/// Lets a caller do everything to its tenant.
pub(crate) const ADMIN: &str = "admin";

/// The claim of those who operate the platform. A tenant's admin does not have it.
const OPERATOR: &str = "operator";

/// A caller with a verified token.
#[derive(Clone)]
pub(crate) struct Caller {
    /// The tenant, as registered.
    pub(crate) tenant: Tenant,
    /// Whom the token was made for, to be noted beside what is done with it.
    pub(crate) subject: String,
    /// What the tenant's queries may cost.
    pub(crate) guards: TenantGuards,
    scopes: Vec<String>,
}

/// A caller that is known already to the layer in front of the handlers: for the one of them that asks.
#[derive(Clone)]
pub(crate) struct Known(pub(crate) Caller);

/// Somebody who operates the platform: a verified token with the scope `admin` and the claim
/// `operator`. It needs no tenant.
pub(crate) struct Operator {
    /// Whom the token was made for: to be noted with what is read.
    pub(crate) subject: String,
}

impl Caller {
    /// How long the tenant's windows are.
    pub(crate) fn windows(&self) -> Windows {
        Windows::of(&self.guards)
    }

    /// Refuses callers whose token lacks the scope.
    pub(crate) fn need(&self, scope: &str) -> Result<(), Problem> {
        if self.scopes.iter().any(|s| s == scope) {
            return Ok(());
        }
        Err(Problem::forbidden(format!("the token lacks the scope {scope}")))
    }

    /// Refuses callers whose token has none of the scopes.
    pub(crate) fn need_any(&self, any: &[&str]) -> Result<(), Problem> {
        if self.scopes.iter().any(|s| any.contains(&s.as_str())) {
            return Ok(());
        }
        Err(Problem::forbidden(format!("the token has none of the scopes {}", any.join(", "))))
    }
}

impl FromRequestParts<Arc<Context>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, Problem> {
        if let Some(Known(caller)) = parts.extensions.remove() {
            return Ok(caller);
        }
        let jwt = verified(&parts.extensions)?;
        let name = claim(&jwt.claims, "tenant")
            .ok_or_else(|| Problem::unauthenticated("the token names no tenant"))?;
        let scopes = scopes(&jwt.claims, jwt.matched);
        let Some(tenant) = context.tenant(name).await? else {
            return Err(Problem::forbidden(format!(
                "the token's tenant {} is not registered",
                excerpt(name)
            )));
        };
        // The name decides; an id that says otherwise means that the token was made for
        // another platform, or for a tenant that is gone.
        if claim(&jwt.claims, "tenant_id").is_some_and(|id| id != tenant.id.to_string()) {
            return Err(Problem::forbidden("the token's tenant and tenant_id belong to different tenants"));
        }
        let guards = context.tenant_guards(tenant.id).await;
        Ok(Self { tenant, subject: subject(&jwt.claims), guards, scopes })
    }
}

impl FromRequestParts<Arc<Context>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Context>) -> Result<Self, Problem> {
        let jwt = verified(&parts.extensions)?;
        if !scopes(&jwt.claims, jwt.matched).iter().any(|scope| scope == ADMIN) {
            return Err(Problem::forbidden("the token lacks the scope admin"));
        }
        if claim(&jwt.claims, OPERATOR) != Some("true") {
            return Err(Problem::forbidden(
                "the token is not an operator's: it lacks the claim operator=true",
            ));
        }
        if claim(&jwt.claims, "sub").is_none() {
            return Err(Problem::forbidden("the token names nobody (sub) who could be noted"));
        }
        Ok(Self { subject: subject(&jwt.claims) })
    }
}

/// What an authorizer has verified.
struct Verified<'a> {
    claims: Cow<'a, HashMap<String, String>>,
    /// Scopes that the route demands and the token has.
    matched: Option<&'a [String]>,
}

/// The authorizer's verdict. It is trusted, and nothing that a client can send: no header is
/// looked at here.
fn verified(extensions: &Extensions) -> Result<Verified<'_>, Problem> {
    find(extensions).ok_or_else(|| Problem::unauthenticated("send a token: Authorization: Bearer <token>"))
}

fn find(extensions: &Extensions) -> Option<Verified<'_>> {
    let Some(RequestContext::ApiGatewayV2(gateway)) = extensions.get() else { return None };
    let authorizer = gateway.authorizer.as_ref()?;
    let jwt = authorizer.jwt.as_ref();
    let claims = jwt.map(|jwt| &jwt.claims);
    let claims = caller::verified(claims, &authorizer.fields, authorizer.iam.is_some(), SystemTime::now())?;
    Some(Verified { claims, matched: jwt.and_then(|jwt| jwt.scopes.as_deref()) })
}

fn subject(claims: &HashMap<String, String>) -> String {
    claim(claims, "sub").unwrap_or("unnamed").replace('\0', "").chars().take(200).collect()
}

fn claim<'a>(claims: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    claims.get(name).map(String::as_str).filter(|v| !v.is_empty())
}

/// API Gateway hands on `scope` as it stands, lists as `[a b]`.
fn scopes(claims: &HashMap<String, String>, matched: Option<&[String]>) -> Vec<String> {
    let text = claim(claims, "scope").or_else(|| claim(claims, "scp")).unwrap_or_default();
    let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let listed = text.split_whitespace().map(str::to_owned);
    listed.chain(matched.unwrap_or_default().iter().cloned()).collect()
}

/// The tenant that the request's verified token names, registered or not.
pub(crate) fn claimed_tenant(extensions: &Extensions) -> Option<String> {
    claim(&find(extensions)?.claims, "tenant").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    /// What a request with this `requestContext.authorizer` is taken for; the event is refused as a whole where it is
    /// none that API Gateway sends.
    fn tenant(authorizer: &Value) -> Option<String> {
        let context = json!({
            "accountId": "0", "stage": "$default", "requestId": "r", "apiId": "a", "timeEpoch": 0,
            "http": {"method": "GET", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "t"},
            "authorizer": authorizer,
        });
        let mut extensions = Extensions::new();
        extensions.insert(RequestContext::ApiGatewayV2(serde_json::from_value(context).ok()?));
        claimed_tenant(&extensions)
    }

    #[test]
    fn a_tenant_comes_from_one_authorizer_and_its_own_claim() {
        let exp = "4102444800";
        let jwt = json!({"claims": {"tenant": "acme"}, "scopes": null});
        let lambda = json!({"tenant": "globex", "exp": exp});
        for (authorizer, expected) in [
            (json!({"jwt": jwt}), Some("acme")),
            (json!({"jwt": jwt, "lambda": null}), Some("acme")),
            (json!({"lambda": lambda}), Some("globex")),
            (json!({"lambda": lambda, "jwt": null}), Some("globex")),
            (
                json!({"lambda": {"tenant": "globex", "exp": exp, "other": {"tenant": "acme"}}}),
                Some("globex"),
            ),
            (json!({"jwt": jwt, "lambda": lambda}), None),
            (json!({"jwt": {"claims": {}}, "lambda": lambda}), None),
            (json!({"lambda": lambda, "iam": {"accessKey": "a"}}), None),
            (json!({"lambda": {"tenant": "globex"}}), None),
            (json!({"lambda": {"tenant": "globex", "exp": "1"}}), None),
            (json!({"lambda": {"tenant": "globex", "exp": 4_102_444_800_u64}}), None),
            (json!({"lambda": {"tenant": ["globex"], "exp": exp}}), None),
            (json!({"lambda": {"tenant": {"tenant": "globex"}, "exp": exp}}), None),
            (json!({"lambda": {"tenant": 7, "exp": exp}}), None),
            (json!({"lambda": {"tenant": null, "exp": exp}}), None),
            (json!({"lambda": {"tenant": "globex", "scope": ["admin"], "exp": exp}}), None),
            (json!({"lambda": {"claims": {"tenant": "globex"}, "exp": exp}}), None),
            (json!({"lambda": {"jwt": jwt, "exp": exp}}), None),
            (json!({"lambda": "globex"}), None),
            (json!({"lambda": [lambda]}), None),
            (json!({"tenant": "globex", "exp": exp}), None),
            (json!({"claims": {"tenant": "globex"}}), None),
            (json!({}), None),
            (json!(null), None),
        ] {
            assert_eq!(tenant(&authorizer).as_deref(), expected, "{authorizer}");
        }
    }

    fn anything() -> impl Strategy<Value = Value> {
        let names = ["jwt", "lambda", "iam", "claims", "tenant", "exp", "scopes", "scope"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<u32>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            prop::sample::select(vec!["acme", "globex", "4102444800", ""]).prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map(prop::sample::select(names.to_vec()), inner, 0..6).prop_map(
                    |map| {
                        Value::Object(map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
                    }
                ),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_authorizer_block_chooses_a_tenant_by_its_shape(authorizer in anything()) {
            if let Some(tenant) = tenant(&authorizer) {
                let (jwt, lambda) = (&authorizer["jwt"]["claims"]["tenant"], &authorizer["lambda"]["tenant"]);
                let said = if authorizer["jwt"].is_null() { lambda } else { jwt };
                prop_assert_eq!(said, &Value::from(tenant));
                let no_jwt = authorizer["jwt"].is_null();
                let no_lambda = [json!(null), json!({})].contains(&authorizer["lambda"]);
                prop_assert!(no_jwt != no_lambda);
                prop_assert!(authorizer["iam"].is_null());
            }
        }
    }

    #[test]
    fn scopes_come_as_text_or_list() {
        let claims = |scope: &str| HashMap::from([("scope".to_owned(), scope.to_owned())]);
        assert_eq!(scopes(&claims("a:b c"), None), ["a:b", "c"]);
        assert_eq!(scopes(&claims("[a:b c]"), None), ["a:b", "c"]);
        assert_eq!(scopes(&HashMap::new(), Some(&["x".to_owned()])), ["x"]);
    }
}
