//! Who asks: the tenant and scopes of a token that API Gateway has verified.

use crate::context::Context;
use crate::problem::Problem;
use crate::window::Windows;
use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;
use eaves_model::rejection::excerpt;
use eaves_model::tenant::Tenant;
use eaves_store::read::TenantGuards;
use lambda_http::aws_lambda_events::apigw::ApiGatewayRequestAuthorizerJwtDescription as Verified;
use lambda_http::request::RequestContext;
use std::collections::HashMap;
use std::sync::Arc;

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

/// A caller that is known already to the layer in front of the handlers.
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
        if let Some(Known(caller)) = parts.extensions.get() {
            return Ok(caller.clone());
        }
        let jwt = verified(parts)?;
        let name = claim(&jwt.claims, "tenant")
            .ok_or_else(|| Problem::unauthenticated("the token names no tenant"))?;
        let scopes = scopes(&jwt.claims, jwt.scopes.as_deref());
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
        let jwt = verified(parts)?;
        if !scopes(&jwt.claims, jwt.scopes.as_deref()).iter().any(|scope| scope == ADMIN) {
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

/// The authorizer's verdict. It is trusted, and nothing that a client can send: no header is
/// looked at here.
fn verified(parts: &Parts) -> Result<&Verified, Problem> {
    let jwt = match parts.extensions.get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV2(gateway)) => {
            gateway.authorizer.as_ref().and_then(|a| a.jwt.as_ref())
        }
        _ => None,
    };
    jwt.ok_or_else(|| Problem::unauthenticated("send a token: Authorization: Bearer <token>"))
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
pub(crate) fn claimed_tenant(extensions: &Extensions) -> Option<&str> {
    let Some(RequestContext::ApiGatewayV2(gateway)) = extensions.get() else { return None };
    let jwt = gateway.authorizer.as_ref()?.jwt.as_ref()?;
    claim(&jwt.claims, "tenant")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_come_as_text_or_list() {
        let claims = |scope: &str| HashMap::from([("scope".to_owned(), scope.to_owned())]);
        assert_eq!(scopes(&claims("a:b c"), None), ["a:b", "c"]);
        assert_eq!(scopes(&claims("[a:b c]"), None), ["a:b", "c"]);
        assert_eq!(scopes(&HashMap::new(), Some(&["x".to_owned()])), ["x"]);
    }
}
