//! Who asks: the tenant and scopes of a token that API Gateway has verified.

use crate::context::Context;
use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use eaves_model::TenantId;
use eaves_model::caller::verified;
use eaves_model::rejection::excerpt;
use lambda_http::request::RequestContext;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

/// Lets a caller look at plugins.
const READ: &str = "plugins:read";
/// Lets a caller change them.
const WRITE: &str = "plugins:write";
/// Lets a caller do everything to its tenant, limits and publishers included.
const ADMIN: &str = "admin";

/// A caller with a verified token.
pub(crate) struct Caller {
    /// The tenant.
    pub(crate) tenant: TenantId,
    /// Whom the token was made for: named in the audit trail.
    pub(crate) subject: String,
    scopes: Vec<String>,
}

impl Caller {
    /// Refuses callers who may not look.
    pub(crate) fn reads(&self) -> Result<(), Problem> {
        self.need(&[READ, WRITE, ADMIN])
    }

    /// Refuses callers who may not change anything.
    pub(crate) fn writes(&self) -> Result<(), Problem> {
        self.need(&[WRITE, ADMIN])
    }

    /// Refuses callers who are no administrator.
    pub(crate) fn administers(&self) -> Result<(), Problem> {
        self.need(&[ADMIN])
    }

    fn need(&self, any: &[&str]) -> Result<(), Problem> {
        if self.scopes.iter().any(|s| any.contains(&s.as_str())) {
            return Ok(());
        }
        Err(Problem::forbidden(format!("the token has none of the scopes {}", any.join(", "))))
    }
}

impl FromRequestParts<Arc<Context>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Arc<Context>) -> Result<Self, Problem> {
        // The authorizer's verdict is trusted, and nothing that a client can send.
        let authorizer = match parts.extensions.get::<RequestContext>() {
            Some(RequestContext::ApiGatewayV2(gateway)) => gateway.authorizer.as_ref(),
            _ => None,
        };
        let jwt = authorizer.and_then(|a| a.jwt.as_ref());
        let claims = authorizer.and_then(|a| {
            verified(jwt.map(|jwt| &jwt.claims), &a.fields, a.iam.is_some(), SystemTime::now())
        });
        let Some(claims) = claims else {
            return Err(Problem::unauthenticated("send a token: Authorization: Bearer <token>"));
        };
        let matched = jwt.and_then(|jwt| jwt.scopes.as_deref()).unwrap_or_default();
        let name =
            claim(&claims, "tenant").ok_or_else(|| Problem::unauthenticated("the token names no tenant"))?;
        let Some(tenant) = context.tenant(name).await? else {
            let detail = format!("the token's tenant {} is not registered", excerpt(name));
            return Err(Problem::forbidden(detail));
        };
        if claim(&claims, "tenant_id").is_some_and(|id| id != tenant.to_string()) {
            return Err(Problem::forbidden("the token's tenant and tenant_id belong to different tenants"));
        }
        let text = claim(&claims, "scope").or_else(|| claim(&claims, "scp")).unwrap_or_default();
        // API Gateway hands on `scope` as it stands, lists as `[a b]`.
        let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        let listed = text.split_whitespace().map(str::to_owned);
        let scopes = listed.chain(matched.iter().cloned()).collect();
        let subject = claim(&claims, "sub").unwrap_or("unnamed");
        let subject = subject.chars().filter(|c| !c.is_control()).take(200).collect();
        Ok(Self { tenant, subject, scopes })
    }
}

fn claim<'a>(claims: &'a HashMap<String, String>, name: &str) -> Option<&'a str> {
    claims.get(name).map(String::as_str).filter(|v| !v.is_empty())
}
