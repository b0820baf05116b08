//! Calls of the HTTP API.

use super::Common;
use crate::target::Target;
use crate::token;
use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use reqwest::{Method, Url};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// What the tokens made here allow.
const SCOPE: &str = "plugins:read plugins:write";
/// How long they hold: a backtest may be watched for a while.
const TTL: Duration = Duration::from_secs(3600);
/// Longest wait for an answer: an upload is compiled meanwhile.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of a component that a request can carry: Lambda takes 6 MB, base64 a third of that.
pub(super) const IN_A_REQUEST: usize = 4 << 20;

/// The API with a token.
pub(super) struct Api {
    base: Url,
    token: String,
    client: reqwest::Client,
}

impl Api {
    pub(super) async fn find(common: &Common) -> Result<Self> {
        let target = match (&common.url, &common.token) {
            (Some(_), Some(_)) => None,
            _ => Some(Target::find(&common.data)?),
        };
        let base = match (&common.url, &target) {
            (Some(url), _) => url.clone(),
            (None, Some(target)) => target.api_url()?,
            (None, None) => bail!("give --url"),
        };
        let token = match (&common.token, &target, &common.tenant) {
            (Some(token), _, _) => token.clone(),
            (None, Some(target), Some(tenant)) => token::sign(target, tenant, SCOPE, TTL).await.context(
                "give a token with --token or EAVES_TOKEN, or --tenant with a platform on this machine",
            )?,
            (None, _, _) => {
                bail!("whose plugins? Give --tenant NAME, or a token with --token or EAVES_TOKEN")
            }
        };
        let base = base.trim_end_matches('/');
        let base =
            Url::parse(base).with_context(|| format!("{base:?} is no URL such as http://127.0.0.1:8080"))?;
        Ok(Self { base, token, client: reqwest::Client::builder().timeout(TIMEOUT).build()? })
    }

    fn url(&self, path: &[&str]) -> Result<Url> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().push("v1").extend(path),
            Err(()) => bail!("{} is no URL such as http://127.0.0.1:8080", self.base),
        };
        Ok(url)
    }

    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.client.request(Method::GET, url)).await
    }

    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.send(self.client.request(Method::POST, self.url(path)?).json(body)).await
    }

    /// Puts a large component where the API says. Returns the upload's number.
    pub(super) async fn put_component(&self, wasm: Vec<u8>) -> Result<String> {
        let body = serde_json::json!({"bytes": wasm.len(), "sha256": hex::encode(Sha256::digest(&wasm))});
        let place = self.post(&["plugins", "uploads"], &body).await?;
        let word = |v: &Value| v.as_str().map(str::to_owned);
        let url = word(&place["url"]).context("the API named no place for the component")?;
        let mut put = self.client.put(url);
        for (name, value) in place["headers"].as_object().into_iter().flatten() {
            // The body brings its own length.
            if name != "content-length" {
                put = put.header(name, value.as_str().unwrap_or_default());
            }
        }
        let answer = put.body(wasm).send().await.context("the object store does not answer")?;
        if !answer.status().is_success() {
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap_or_default());
            bail!("the object store did not take the component ({status}): {text}");
        }
        word(&place["upload"]).context("the API gave the upload no number")
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        let unreachable = || format!("the API at {} does not answer", self.base);
        let answer = request.bearer_auth(&self.token).send().await.with_context(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.with_context(unreachable)?;
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(body);
        }
        let word = |name: &str| body[name].as_str().map(str::to_owned);
        let detail = word("detail").or_else(|| word("message")).unwrap_or(text);
        let detail: String = detail.chars().take(1000).collect();
        match word("field") {
            Some(field) => bail!("{field} ({}): {detail}", status.as_u16()),
            None => bail!("{} ({}): {detail}", word("title").unwrap_or_default(), status.as_u16()),
        }
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
